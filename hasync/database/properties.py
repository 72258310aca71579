"""What a dump leaves out of a database: its properties, and the roles of its cluster.

They stay with the database's OID through a rename, so a restored one must be given them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """One `ALTER DATABASE|ROLE ... SET`; write it with `hasync.database.sql.assignment`."""

    role: str  # "": for every role
    name: str
    value: str  # as in pg_db_role_setting.setconfig; lists are still quoted


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One privilege on the database."""

    role: str  # "": PUBLIC
    privilege: str  # CONNECT, CREATE, TEMPORARY
    grantable: bool


@dataclass(frozen=True, slots=True)
class Properties:
    """What `ALTER DATABASE`, `GRANT ... ON DATABASE` and `COMMENT ON DATABASE` have set."""

    owner: str
    encoding: str  # UTF8
    collate: str
    ctype: str
    provider: str  # libc, icu, builtin
    locale: str  # of ICU or builtin; "" for libc
    collation_version: str  # "": none recorded
    tablespace: str
    connection_limit: int  # -1: none
    comment: str
    grants: tuple[Grant, ...]  # all that hold, the defaults too; sorted
    settings: tuple[Setting, ...]  # never those of the class hasync


@dataclass(frozen=True, slots=True)
class Membership:
    """A role's membership in another."""

    role: str
    admin: bool


@dataclass(frozen=True, slots=True)
class DatabaseRole:
    """One role of the cluster, without its password."""

    name: str
    superuser: bool
    inherit: bool
    create_role: bool
    create_database: bool
    login: bool
    replication: bool
    bypass_rls: bool
    connection_limit: int
    valid_until: str  # "": for ever
    comment: str
    member_of: tuple[Membership, ...]
    settings: tuple[Setting, ...]  # in every database


def differences(wanted: Properties, found: Properties) -> tuple[str, ...]:
    """Return in words where *found* is not as *wanted*.

    Not compared: the connection limit (the restore uses it to keep clients out), and the version of
    the collation (another operating system has another; a restore builds all indexes anew).
    """
    names = ("owner", "encoding", "collate", "ctype", "provider", "locale", "tablespace", "comment")
    pairs: dict[str, tuple[object, object]] = {
        name: (getattr(wanted, name), getattr(found, name)) for name in names
    } | {
        "grants": (set(wanted.grants), set(found.grants)),
        "settings": (set(wanted.settings), set(found.settings)),
    }
    return tuple(
        f"property {name}: wanted {_shown(want)}, found {_shown(have)}"
        for name, (want, have) in pairs.items()
        if want != have
    )


def _shown(value: object) -> str:
    """Return a value in one line; of a set, its members in order."""
    return repr(sorted(value, key=repr)) if isinstance(value, set) else repr(value)
