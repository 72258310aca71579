"""The edge that refuses a restore before it begins: versions, space, extensions, roles.

What needs no server is asked first, so that PostgreSQL is not started for nothing.
"""

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from harness.errors import InputError
from hasync import durable
from hasync.database.describe import parse_version, program_version
from hasync.database.facts import DatabaseFacts
from hasync.database.provision import roles_of
from hasync.database.psql import Session
from hasync.database.unpack import content_bytes
from hasync.failure import Exit, Stop
from hasync.settings import Settings

GROWTH: Final = (6, 5)  # a restored database against its source: indexes are built anew
SPARE_CONNECTIONS: Final = 3
_FIRST_MODERN: Final = 10  # from then on one number says the major version


def files(settings: Settings, facts: DatabaseFacts, dump: tuple[Path, ...]) -> None:
    """Return when programs, server version and free space allow the restore.

    Raises:
        Stop: too old, or no space; says which, and how much.
    """
    database = settings.database
    if database is None:
        raise InputError("there is no database here", field="database", fix="add [database]")
    newest = major(facts.pg_dump_version)
    if major(program_version(database.bin / "pg_restore")) < newest:
        raise _older("pg_restore", program_version(database.bin / "pg_restore"), newest)
    needs = [(settings.folders.work, sum(content_bytes(path) for path in dump))]
    if database.manage:  # else its data may be another user's, or on another host: `server` asks
        here = data_version(database.data)
        if major(here) < major(facts.server_version):
            raise _older("the server", here, major(facts.server_version))
        times, per = GROWTH
        needs.append((database.data, facts.size_bytes * times // per + database.reserve_bytes))
    for folder, bytes_there in _by_file_system(needs):
        free = durable.free_bytes(folder)
        if free < bytes_there:
            raise Stop(
                Exit.NO_SPACE,
                f"no space for the restore on the file system of {folder}",
                fact=f"needs {bytes_there} bytes with the reserve, has {free}",
                fix="make room, or give PGDATA a larger file system",
            )


def server(session: Session, facts: DatabaseFacts, jobs: int) -> None:
    """Return when the running server has all that the set asks of it.

    Raises:
        Stop: an extension, a tablespace, a role or connections are missing; names them.
    """
    version = session.value("select current_setting('server_version_num')::int")
    if major(version) < major(facts.server_version):
        raise _older("the server", version, major(facts.server_version))
    rows = session.rows("select name, version from pg_available_extension_versions")
    offered = {(row["name"], row["version"]) for row in rows}
    _none_missing(
        "extension",
        {f"{name} {version}" for name, version in facts.extensions.items()},
        {f"{name} {version}" for name, version in offered},
        "install its package here, of the same version or a newer one",
    )
    rows = session.rows("select spcname as name from pg_tablespace")
    fix = "create it here, with CREATE TABLESPACE"
    _none_missing("tablespace", set(facts.tablespaces), {row["name"] for row in rows}, fix)
    rows = session.rows("select rolname as name from pg_roles")
    coming = {role.name for role in facts.roles}
    fix = "create it here, with CREATE ROLE"
    _none_missing("role", roles_of(facts.properties), {row["name"] for row in rows} | coming, fix)
    free = session.value(
        "select current_setting('max_connections')::int"
        " - (select count(*) from pg_stat_activity where backend_type = 'client backend')"
    )
    if free < jobs + SPARE_CONNECTIONS:
        raise Stop(
            Exit.FAILED,
            "not enough connections for the restore",
            fact=f"{jobs} jobs need {jobs + SPARE_CONNECTIONS}, {free} are free",
            fix="use fewer jobs (-j), or raise max_connections",
        )


def data_version(data: Path) -> int:
    """Return the version that the data folder is of, as server_version_num has it.

    Raises:
        InputError: it is no data folder.
    """
    text = durable.read(data / "PG_VERSION", 100).decode("ascii", "replace").strip()
    return parse_version(f") {text}")


def major(version: int) -> tuple[int, int]:
    """Return what decides of compatibility.

    >>> major(150018), major(90624)
    ((15, 0), (9, 6))
    """
    first = version // 10_000
    return (first, 0) if first >= _FIRST_MODERN else (first, version // 100 % 100)


def _older(what: str, found: int, newest: tuple[int, int]) -> Stop:
    shown = ".".join(str(part) for part in newest if part)
    return Stop(
        Exit.FAILED,
        f"{what} is older than the set",
        fact=f"version {found}, the set needs {shown}",
        fix="install at least the version of the active site",
    )


def _none_missing(what: str, wanted: AbstractSet[str], found: AbstractSet[str], fix: str) -> None:
    if missing := sorted(wanted - found):
        raise Stop(Exit.FAILED, f"{what} missing here", fact=", ".join(missing), fix=fix)


def _by_file_system(needs: list[tuple[Path, int]]) -> list[tuple[Path, int]]:
    """Return what each file system must have, when two folders lie on one."""
    found: dict[int, tuple[Path, int]] = {}
    for folder, size_bytes in needs:
        device = folder.stat().st_dev
        first, before = found.get(device, (folder, 0))
        found[device] = first, before + size_bytes
    return list(found.values())
