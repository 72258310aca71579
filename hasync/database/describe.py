"""The edge that reads the facts of a database, whatever it and what is in it are called.

with Psql(database, "ngp").session() as session:
    differences = compare(wanted, describe(session))
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from harness import child
from harness.errors import InputError
from hasync.database.facts import DatabaseFacts
from hasync.database.properties import DatabaseRole, Grant, Membership, Properties, Setting
from hasync.database.psql import Session, connection, environment
from hasync.database.schema import fingerprint
from hasync.database.snapshot import Snapshot, count, frozen, sequences
from hasync.database.sql import qualified
from hasync.failure import Exit, Stop

SCHEMA_S = 3600.0  # for pg_dump -s
SCHEMA_BYTES = 256 << 20
OWN_SETTINGS = "hasync."  # notes of ours on a database; never a property of the source
_VERSION = re.compile(r"\) (\d+)(?:\.(\d+))?(?:\.(\d+))?")
_DATABASE: Final = """
select to_jsonb(d) as row, pg_get_userbyid(d.datdba) as owner,
 pg_encoding_to_char(d.encoding) as encoding, t.spcname as tablespace,
 coalesce(shobj_description(d.oid, 'pg_database'), '') as comment,
 pg_database_size(d.oid) as size_bytes, current_setting('server_version_num')::int as version
from pg_database d join pg_tablespace t on t.oid = d.dattablespace
where d.datname = current_database()"""
_GRANTS: Final = """
select coalesce(r.rolname, '') as role, x.privilege_type as privilege, x.is_grantable as grantable
from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
left join pg_roles r on r.oid = x.grantee
where d.datname = current_database()"""
_SETTINGS: Final = """
select coalesce(d.datname, '') as database, coalesce(r.rolname, '') as role, c.config
from pg_db_role_setting s left join pg_database d on d.oid = s.setdatabase
left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) with ordinality c (config, place)
where s.setdatabase = 0 or d.datname = current_database() order by 1, 2, c.place"""
_ROLES: Final = """
select to_jsonb(r) as row, coalesce(shobj_description(r.oid, 'pg_authid'), '') as comment,
 (select coalesce(jsonb_agg(jsonb_build_object('role', m.rolname, 'admin', a.admin)
   order by m.rolname), '[]') from (select roleid, bool_or(admin_option) as admin
   from pg_auth_members where member = r.oid group by roleid) a
   join pg_roles m on m.oid = a.roleid) as member_of
from pg_roles r where r.rolname !~ '^pg_' order by r.rolname"""
_TABLESPACES: Final = """
select spcname as name from pg_tablespace t where spcname not in ('pg_default', 'pg_global')
 and (exists (select from pg_class c where c.reltablespace = t.oid)
  or t.oid = (select dattablespace from pg_database where datname = current_database()))
order by 1"""
_EXTENSIONS: Final = "select extname as name, extversion as version from pg_extension"
_MATVIEWS: Final = """
select schemaname as schema, matviewname as name, ispopulated as populated from pg_matviews"""
_UNVALIDATED: Final = """
select n.nspname as schema, coalesce(c.relname, y.typname) as name, k.conname as part
from pg_constraint k join pg_namespace n on n.oid = k.connamespace
left join pg_class c on c.oid = k.conrelid left join pg_type y on y.oid = k.contypid
where not k.convalidated"""
_INVALID: Final = """
select n.nspname as schema, c.relname as name from pg_index i
join pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
join pg_namespace n on n.oid = c.relnamespace where not i.indisvalid and n.nspname !~ '^pg_toast'"""
_TRIGGERS: Final = """
select n.nspname as schema, c.relname as name, t.tgname || ' (' || t.tgenabled::text || ')' as part
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and t.tgenabled <> 'O'"""


def describe(session: Session) -> DatabaseFacts:
    """Return the facts of the session's database, from one snapshot of its own.

    Raises:
        Stop: a table stayed locked, a limit was reached, or pg_dump failed.
    """
    with frozen(session) as snapshot:
        text = schema_text(session, snapshot)
        return facts(session, snapshot, fingerprint(text))


def facts(
    session: Session, snapshot: Snapshot, schema: str, rows: Mapping[str, int] | None = None
) -> DatabaseFacts:
    """Return the facts in *snapshot*; *schema* is the fingerprint of its schema.

    *rows*: those of its tables, where they are counted already.
    """
    row = session.rows(_DATABASE)[0]
    settings = session.rows(_SETTINGS)
    return DatabaseFacts(
        tables=count(session, snapshot.tables) if rows is None else rows,
        unlogged=tuple(table.qualified for table in snapshot.tables if table.unlogged),
        sequences=sequences(session),
        large_objects=session.value("select count(*) from pg_largeobject_metadata"),
        fingerprint=schema,
        properties=_properties(row, session.rows(_GRANTS), settings),
        extensions={row["name"]: row["version"] for row in session.rows(_EXTENSIONS)},
        roles=tuple(_role(row, settings) for row in session.rows(_ROLES)),
        tablespaces=tuple(row["name"] for row in session.rows(_TABLESPACES)),
        matviews={_name(row): row["populated"] for row in session.rows(_MATVIEWS)},
        unvalidated=_names(session.rows(_UNVALIDATED)),
        invalid_indexes=_names(session.rows(_INVALID)),
        disabled_triggers=_names(session.rows(_TRIGGERS)),
        server_version=row["version"],
        pg_dump_version=program_version(session.psql.database.bin / "pg_dump"),
        archive_version="",
        size_bytes=row["size_bytes"],
    )


def schema_text(session: Session, snapshot: Snapshot) -> str:
    """Return what `pg_dump -s` writes of the database in *snapshot*.

    Raises:
        Stop: pg_dump failed, or did not end.
    """
    database = session.psql.database
    argv = [str(database.bin / "pg_dump"), "-s", "-w", f"--snapshot={snapshot.id}"]
    argv += [f"--encoding={dump_encoding(session)}"]
    argv += [f"--lock-wait-timeout={round(database.lock_wait_s * 1e3)}"]
    argv += ["-d", connection(database, session.psql.name)]
    done = child.run(argv, limit_s=SCHEMA_S, env=environment(), output_bytes=SCHEMA_BYTES)
    if done.exit_code != 0 or done.cut:
        code = Exit.TIMEOUT if done.exit_code is None else Exit.FAILED
        raise Stop(code, "pg_dump of the schema failed", fact=done.complaint)
    return done.stdout.decode("utf-8", "backslashreplace")


def dump_encoding(session: Session) -> str:
    """Return the encoding of a dump: UTF8, or SQL_ASCII where the bytes have none."""
    found = session.value("select current_setting('server_encoding')")
    return "SQL_ASCII" if found == "SQL_ASCII" else "UTF8"


def program_version(program: Path) -> int:
    """Return the version of one of PostgreSQL's programs, as server_version_num has it.

    Raises:
        Stop: it is not there, or says something else.
    """
    done = child.run([str(program), "--version"], limit_s=20.0, env=environment())
    if done.exit_code != 0:
        raise Stop(Exit.FAILED, "no such program", fact=done.complaint, fix="see database.bin")
    return parse_version(done.text)


def parse_version(text: str) -> int:
    """Return the number of a version such as the servers have it.

    >>> parse_version("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")
    150018
    >>> parse_version("psql (PostgreSQL) 9.6.24"), parse_version("psql (PostgreSQL) 19beta1")
    (90624, 190000)

    Raises:
        InputError: no version in it.
    """
    match = _VERSION.search(text)
    if match is None:
        raise InputError("no version of PostgreSQL", field="version", value=text)
    major, minor, patch = (int(part or 0) for part in match.groups())
    if major < 10:  # noqa: PLR2004 - the numbering changed then
        return major * 10_000 + minor * 100 + patch
    return major * 10_000 + minor


def _properties(
    found: Mapping[str, Any], grants: Iterable[Mapping[str, Any]], settings: list[dict[str, Any]]
) -> Properties:
    row = found["row"]  # all columns: those of the locale have other names in other versions
    provider = {"i": "icu", "b": "builtin"}.get(row.get("datlocprovider", "c"), "libc")
    return Properties(
        owner=found["owner"],
        encoding=found["encoding"],
        collate=row["datcollate"],
        ctype=row["datctype"],
        provider=provider,
        locale=row.get("datlocale") or row.get("daticulocale") or "",
        collation_version=row.get("datcollversion") or "",
        tablespace=found["tablespace"],
        connection_limit=row["datconnlimit"],
        comment=found["comment"],
        grants=tuple(sorted(Grant(**grant) for grant in grants)),
        settings=tuple(_setting(row) for row in settings if row["database"] and not _own(row)),
    )


def _role(found: Mapping[str, Any], settings: list[dict[str, Any]]) -> DatabaseRole:
    row = found["row"]
    name = row["rolname"]
    return DatabaseRole(
        name=name,
        superuser=row["rolsuper"],
        inherit=row["rolinherit"],
        create_role=row["rolcreaterole"],
        create_database=row["rolcreatedb"],
        login=row["rolcanlogin"],
        replication=row["rolreplication"],
        bypass_rls=row["rolbypassrls"],
        connection_limit=row["rolconnlimit"],
        valid_until=row["rolvaliduntil"] or "",
        comment=found["comment"],
        member_of=tuple(Membership(**one) for one in found["member_of"]),
        settings=tuple(
            _setting(row) for row in settings if not row["database"] and row["role"] == name
        ),
    )


def _setting(row: Mapping[str, Any]) -> Setting:
    name, _, value = row["config"].partition("=")
    return Setting(row["role"], name, value)


def _own(row: Mapping[str, Any]) -> bool:
    return str(row["config"]).startswith(OWN_SETTINGS)


def _name(row: Mapping[str, Any]) -> str:
    return qualified(row["schema"], row["name"])


def _names(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return relations, and what is called *part* of each, sorted."""
    return tuple(sorted(f"{_name(row)} {row.get('part', '')}".rstrip() for row in rows))
