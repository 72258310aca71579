"""The edge that asks every fact which could forbid a restore: role, service, peer, server.

Asked at the start and again immediately before the swap: a restore takes an hour, and in that hour
a person may have made this site the active one.

A client that only reads does not forbid: it is disconnected by the swap, and comes back to the new
content. One that has written in an open transaction does: somebody takes this site for the active
one. What it has committed by then is kept as a tail all the same.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from harness.clock import Clock
from hasync.database.companions import Place
from hasync.database.databases import Databases
from hasync.database.psql import Session
from hasync.database.sql import literal
from hasync.failure import Exit, Stop
from hasync.role import RoleFact, SiteFact, may_restore
from hasync.role_file import read, unchanged
from hasync.service import probe
from hasync.settings import Database, Settings

WRITER: Final = (  # of pg_stat_activity; autovacuum and our own sessions are none
    "(backend_xid is not null and backend_type = 'client backend' and application_name <> 'hasync')"
)
QUICK_NS: Final = 500_000_000  # a probe that takes longer is not asked while clients wait


@dataclass(frozen=True, slots=True)
class Permission:
    """What allows an exchange of databases: asked within each try, and held until its commit."""

    settings: Settings
    database: Database
    peer: SiteFact | None
    epoch: int
    clock: Clock

    @contextmanager
    def held(self, session: Session) -> Iterator[Callable[[], None]]:
        """Keep the role as it is for the block; give what asks once more when no session is left.

        A probe that takes long is not asked then: clients would wait for it.

        Raises:
            Stop: the role, its epoch, the service, the peer or a client forbids it.
        """
        with unchanged(self.settings.folders.state):
            begun_ns = self.clock.monotonic_ns()
            site(self.settings, self.peer, self.epoch)
            quick = self.clock.monotonic_ns() - begun_ns <= QUICK_NS
            server(session, self.database)
            yield self._again if quick else _nothing

    def _again(self) -> None:
        site(self.settings, self.peer, self.epoch)


def _nothing() -> None:
    return


def site(settings: Settings, peer: SiteFact | None, epoch: int | None = None) -> RoleFact:
    """Return this site's role, which allows a restore; with *epoch* it must be unchanged.

    Raises:
        Stop: the role, its epoch, the service or the peer forbids it.
    """
    role = read(settings.folders.state)
    if refusal := may_restore(role, probe(settings.service), peer):
        raise refusal
    if epoch is not None and role.epoch != epoch:
        fact = f"epoch {epoch} at the start, {role.epoch} now"
        raise Stop(Exit.REFUSED, "the role was declared anew meanwhile", fact=fact)
    return role


def cluster(session: Session, database: Database) -> None:
    """Return when the server that answers is the one of `database.data`, as far as that is ours.

    Raises:
        Stop: it is another one, or does not say.
    """
    if not database.manage:
        return
    rows = session.rows("select setting from pg_settings where name = 'data_directory'")
    found = str(rows[0]["setting"]) if rows else ""
    if not found:
        raise Stop(
            Exit.REFUSED,
            "the server does not say whose data it serves",
            fact=f"user {database.user} may not read data_directory",
            fix=f"grant pg_read_all_settings to {database.user}",
        )
    if os.path.realpath(found) != os.path.realpath(database.data):
        raise Stop(
            Exit.REFUSED,
            "the server that answers is another one than the settings name",
            fact=f"{database.socket}, port {database.port} serves {found},"
            f" database.data is {database.data}",
            fix="correct socket, port or data in [database]",
        )


def name_there(found: Databases, name: str) -> None:
    """Return unless *name* is missing while databases are there that were it once.

    No exchange of ours leaves that, so a person has done it, and only a person can mend it.

    Raises:
        Stop: it is; names what is there.
    """
    once = [one.name for place in (Place.PREVIOUS, Place.TAIL) for one in found.of(place)]
    if found.live is None and once:
        raise Stop(
            Exit.REFUSED,
            f"the database {name} is missing",
            fact=f"found {', '.join(once)}",
            fix=f"rename the right database to {name} by hand; on a standby an empty one will do",
        )


def server(session: Session, database: Database) -> None:
    """Return when nothing on the server stands against replacing the database.

    Raises:
        Stop: another server, a prepared transaction, or a client that has written.
    """
    cluster(session, database)
    name = database.name
    gid = session.value(
        f"select min(gid) as gid from pg_prepared_xacts where database = {literal(name)}"  # noqa: S608 - quoted names, numbers
    )
    if gid is not None:
        raise Stop(
            Exit.FAILED,
            f"a prepared transaction holds the database {name}",
            fact=f"gid {gid!r}",
            fix="ask its owner, then COMMIT PREPARED or ROLLBACK PREPARED",
        )
    writers = session.rows(
        "select pid, usename, application_name from pg_stat_activity"  # noqa: S608 - quoted names, numbers
        f" where datname = {literal(name)} and {WRITER} and pid <> pg_backend_pid() limit 1"
    )
    if writers:
        one = writers[0]
        raise Stop(
            Exit.REFUSED,
            f"a client is writing to {name} on this standby",
            fact=f"pid {one['pid']}, user {one['usename']}, {one['application_name']!r}",
            fix="find out who takes this site for the active one",
        )
