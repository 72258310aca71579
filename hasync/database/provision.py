"""SQL that gives a new database what a dump leaves out: creation, roles, owner, rights, settings.

Law: additive only. No role is dropped or changed, and what a manifest says of the class `hasync`
is refused: those notes are ours alone.
"""

from collections.abc import Iterable, Iterator, Mapping

from harness.errors import InputError
from hasync.database.companions import MARKER
from hasync.database.properties import DatabaseRole, Properties, Setting
from hasync.database.sql import assignment, ident, literal

PROVIDERS_SINCE = 150_000  # LOCALE_PROVIDER of CREATE DATABASE
_OWN_CLASS = MARKER.partition(".")[0] + "."
_LOCALE_WORD: Mapping[str, str] = {"icu": "icu_locale", "builtin": "builtin_locale"}
_DEFAULT_TABLESPACE = "pg_default"


def create(name: str, wanted: Properties, server_version: int) -> str:
    """Return the statement that makes database *name*, empty, closed to all but superusers.

    From template0: what somebody left in template1 would be in the way of the dump.
    """
    words = [
        f"create database {ident(name)} template template0 connection limit 0",
        f"encoding {literal(wanted.encoding)}",
        f"lc_collate {literal(wanted.collate)} lc_ctype {literal(wanted.ctype)}",
    ]
    if wanted.provider != "libc" and wanted.provider not in _LOCALE_WORD:
        raise InputError("no locale provider", field="provider", value=wanted.provider)
    if server_version >= PROVIDERS_SINCE:
        words.append(f"locale_provider {wanted.provider}")
    if wanted.provider in _LOCALE_WORD and wanted.locale:
        words.append(f"{_LOCALE_WORD[wanted.provider]} {literal(wanted.locale)}")
    if wanted.tablespace != _DEFAULT_TABLESPACE:
        words.append(f"tablespace {ident(wanted.tablespace)}")
    return "\n ".join(words)


def properties(name: str, wanted: Properties) -> tuple[str, ...]:
    """Return the statements that give database *name* owner, rights, settings and comment.

    Raises:
        InputError: a setting of our own class, or one that is no setting.
    """
    database = ident(name)
    comment = literal(wanted.comment) if wanted.comment else "null"
    return (
        f"alter database {database} owner to {ident(wanted.owner)}",
        f"revoke all on database {database} from public, {ident(wanted.owner)}",
        *(
            f"grant {_privilege(grant.privilege)} on database {database} to "
            + (ident(grant.role) if grant.role else "public")
            + (" with grant option" if grant.grantable else "")
            for grant in wanted.grants
        ),
        *(_setting(setting, name) for setting in wanted.settings),
        f"comment on database {database} is {comment}",
    )


def missing_roles(wanted: Iterable[DatabaseRole], existing: frozenset[str]) -> tuple[str, ...]:
    """Return the statements that create each role that is not there, without a password."""
    missing = [role for role in wanted if role.name not in existing]
    return (*map(_create_role, missing), *(word for role in missing for word in _belongings(role)))


def roles_of(wanted: Properties) -> frozenset[str]:
    """Return the roles that the properties of a database name."""
    granted = {grant.role for grant in wanted.grants}
    named = {setting.role for setting in wanted.settings}
    return frozenset((granted | named | {wanted.owner}) - {""})


def _create_role(role: DatabaseRole) -> str:
    flags = {
        "superuser": role.superuser,
        "inherit": role.inherit,
        "createrole": role.create_role,
        "createdb": role.create_database,
        "login": role.login,
        "replication": role.replication,
        "bypassrls": role.bypass_rls,
    }
    words = [word if on else f"no{word}" for word, on in flags.items()]
    words.append(f"connection limit {role.connection_limit:d}")
    if role.valid_until:
        words.append(f"valid until {literal(role.valid_until)}")
    return f"create role {ident(role.name)} {' '.join(words)}"


def _belongings(role: DatabaseRole) -> Iterator[str]:
    """Give what can only be said once every role is there."""
    for membership in role.member_of:
        option = " with admin option" if membership.admin else ""
        yield f"grant {ident(membership.role)} to {ident(role.name)}{option}"
    for setting in role.settings:
        yield f"alter role {ident(role.name)} set {_assigned(setting)}"
    if role.comment:
        yield f"comment on role {ident(role.name)} is {literal(role.comment)}"


def _setting(setting: Setting, name: str) -> str:
    if setting.role:
        return f"alter role {ident(setting.role)} in database {ident(name)} set " + _assigned(
            setting
        )
    return f"alter database {ident(name)} set {_assigned(setting)}"


def _assigned(setting: Setting) -> str:
    if setting.name.lower().startswith(_OWN_CLASS):
        raise InputError("is ours alone", field="setting", value=setting.name)
    return assignment(setting.name, setting.value)


def _privilege(word: str) -> str:
    if word not in {"CONNECT", "CREATE", "TEMPORARY"}:
        raise InputError("no privilege on a database", field="privilege", value=word)
    return word.lower()
