"""The exchange of two databases' names in one transaction, kill-proof, in well under a second.

    begin → lock pg_database → end the sessions → rename, rename → commit

While pg_database is locked no new connection can look a name up: it waits, and then gets the new
database. So the sessions that are ended cannot come back before the names have changed, and there
is no state in between that could outlive us: a kill of this process, of psql or of the server
rolls all of it back. (Committing ALLOW_CONNECTIONS false first, as one could, leaves NAME refusing
clients when we are killed right then. RENAME alone waits for sessions with the door open.)

Each try is short, so that clients never wait for long; after a pause it is tried again. A
transaction that has pg_database locked itself (a pg_dump, a forgotten `begin`) would keep us out,
so the later tries do without that lock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from harness.clock import Clock
from hasync.database.companions import MAKING, REPLACED, Replaced
from hasync.database.databases import MAINTENANCE
from hasync.database.guard import WRITER, Permission
from hasync.database.psql import Psql, Session, SqlError
from hasync.database.sql import ident, literal
from hasync.failure import Exit, Stop
from hasync.settings import Database

LOCK_MS: Final = 250  # for each lock: new connections queue behind us
GRACE_NS: Final = 100_000_000  # for short questions to end by themselves
EMPTY_NS: Final = 400_000_000  # for the sessions to end
PAUSE_S: Final = 0.25  # between two tries: those who waited get through
LOCKED_TRIES: Final = 4
_BUSY: Final = frozenset({"55P03", "55006", "57014", "40P01"})
# lock_not_available, object_in_use, query_canceled, deadlock_detected


@dataclass(frozen=True, slots=True)
class Exchange:
    """Which database leaves the name, which one gets it."""

    name: str
    live_oid: int | None  # None: nobody has the name yet
    parked: str  # what the live one is called afterwards
    coming_oid: int
    coming: str
    connection_limit: int | None = None  # of the coming one, from the moment it is live
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class Exchanged:
    """How it went."""

    blocked_ns: int  # how long a new connection may have waited, at the most
    tries: int


class _Busy(Exception):  # noqa: N818 - a reason to try again, caught below
    """Sessions were left when the time of one try was over."""


def exchange(
    database: Database,
    swap: Exchange,
    clock: Clock,
    limit_s: float,
    permission: Permission | None = None,
) -> Exchanged:
    """Return once *swap* is committed.

    *permission* is asked anew in each try, and holds the role until the commit: whoever promotes
    this site while we try is heard between two tries. None: a person forces it.

    Raises:
        Stop: somebody held the databases for all of *limit_s*, they are not what they were, or it
            is no longer allowed; every name is as before.
    """
    deadline_ns = clock.monotonic_ns() + round(limit_s * 1e9)
    tries, why = 0, ""
    while clock.monotonic_ns() < deadline_ns or tries == 0:
        tries += 1
        with Psql(database, MAINTENANCE).session() as session:
            if tries > 1:
                session.do(f"select pg_sleep({PAUSE_S})")
            locked = tries <= LOCKED_TRIES or tries % 2 == 0
            try:
                with _held(session, permission) as again:
                    begun_ns = clock.monotonic_ns()
                    _attempt(session, swap, clock, again, locked=locked)
                    return Exchanged(clock.monotonic_ns() - begun_ns, tries)
            except (_Busy, SqlError) as error:
                if isinstance(error, SqlError) and error.sqlstate not in _BUSY:
                    raise
                why = str(error)
    raise Stop(
        Exit.TIMEOUT,
        f"{swap.name} could not be exchanged: somebody holds it",
        fact=f"{tries} tries in {limit_s:g} s, the last: {why}",
        fix="end that session, then run again",
    )


@contextmanager
def _held(session: Session, permission: Permission | None) -> Iterator[Callable[[], None] | None]:
    """Give what is asked once more when no session is left; None when a person forces it."""
    if permission is None:
        yield None
    else:
        with permission.held(session) as again:
            yield again


def _attempt(
    session: Session,
    swap: Exchange,
    clock: Clock,
    again: Callable[[], None] | None,
    *,
    locked: bool,
) -> None:
    """Return once committed; on any error the server rolls back when the session ends."""
    limit_s = LOCK_MS / 1e3
    xid = session.value("select txid_current()")
    session.do(f"begin; set local lock_timeout = {LOCK_MS}", limit_s=limit_s)
    if locked:
        session.do("lock table pg_catalog.pg_database in access exclusive mode", limit_s=limit_s)
    _empty(session, swap, clock, forced=again is None)
    if again is not None:
        again()
    _unchanged(session, swap)
    session.do(f"{_renames(swap, xid)};\ncommit", limit_s=2 * limit_s)


def _empty(session: Session, swap: Exchange, clock: Clock, *, forced: bool) -> None:
    """Return when no session is left in either database; who does not leave is ended.

    One that has written is not ended but heard, unless *forced*: somebody works here.

    A backend on its way in is seen by its lock on the database alone, before it has a place in
    pg_stat_activity.
    """
    oids = ", ".join(str(oid) for oid in (swap.live_oid, swap.coming_oid) if oid is not None)
    writes = "false" if forced else f"coalesce(a.datid = {swap.live_oid or 0} and {WRITER}, false)"
    begun_ns = clock.monotonic_ns()
    while True:
        waited_ns = clock.monotonic_ns() - begun_ns
        end = "pg_terminate_backend(q.pid)" if waited_ns >= GRACE_NS else "false"
        session.do("select pg_stat_clear_snapshot()")
        left = session.rows(
            f"select q.pid, {writes} as writes, not {writes} and {end} as ended,"  # noqa: S608 - quoted names, numbers
            " a.application_name as program from ("
            f"select pid from pg_stat_activity where datid in ({oids})"
            " union select pid from pg_locks where locktype = 'object'"
            f" and classid = 'pg_database'::regclass and objid in ({oids})"
            ") q left join pg_stat_activity a on a.pid = q.pid where q.pid <> pg_backend_pid()"
            " order by a.backend_start nulls last"
        )
        if not left:
            return
        if writing := [one for one in left if one["writes"]]:
            fact = f"pid {writing[0]['pid']}, {writing[0]['program']!r}"
            raise Stop(Exit.REFUSED, f"a client is writing to {swap.name}", fact=fact)
        if waited_ns >= EMPTY_NS:
            told = ", ".join(f"{one['pid']} ({one['program'] or 'no name'})" for one in left[:5])
            raise _Busy(f"processes that do not end: {told}")
        session.do("select pg_sleep(0.005)")


def _unchanged(session: Session, swap: Exchange) -> None:
    """Refuse when a name has come to mean another database since we last looked."""
    wanted = {swap.coming: swap.coming_oid}
    if swap.live_oid is not None:
        wanted[swap.name] = swap.live_oid
    names = ", ".join(literal(name) for name in (swap.name, swap.parked, swap.coming))
    rows = session.rows(
        f"select datname as name, oid::bigint as oid from pg_database where datname in ({names})"  # noqa: S608 - quoted names, numbers
    )
    found = {row["name"]: row["oid"] for row in rows}
    if found != wanted:
        raise Stop(
            Exit.FAILED,
            "the databases are not what they were",
            fact=f"expected {wanted}, found {found}",
            fix="run again",
        )


def _renames(swap: Exchange, xid: int) -> str:
    """Return the statements that change the names, and what goes with them."""
    words = []
    if swap.live_oid is not None:
        note = Replaced(xid, swap.rolled_back).encode()
        words += [
            f"alter database {ident(swap.name)} rename to {ident(swap.parked)}",
            f"alter database {ident(swap.parked)} set {REPLACED} = {literal(note)}",
        ]
    words += [
        f"alter database {ident(swap.coming)} rename to {ident(swap.name)}",
        f"alter database {ident(swap.name)} reset {REPLACED}",
        f"alter database {ident(swap.name)} reset {MAKING}",
        f"alter database {ident(swap.name)} allow_connections true",
    ]
    if swap.connection_limit is not None:
        words.append(
            f"alter database {ident(swap.name)} connection limit {swap.connection_limit:d}"
        )
    return ";\n".join(words)
