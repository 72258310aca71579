"""What an interrupted run has left is put right: what its journal or a note of ours names, no more.

Called at the start of every run; idempotent, and killed itself it is simply called again.

    NAME__new_* that we made      not live yet: dropped                        on a standby
    the half copy of a tail       dropped; one that got its name stays         anywhere
    our DROP of NAME__prev_*      cut short: dropped                           on a standby
    NAME with a marker            its set, and state/live.json, say so
    a swap that got through       what was replaced is kept, if written to     on a standby
    a rollback cut short          the set that was live is held back
    a server that we started      stopped                                      on a standby

Laws: nothing is renamed to NAME, opened or dropped because it looks like ours: an exchange of ours
is one transaction, so a NAME that is missing or closed is a person's doing. While the role is
unknown the server is not even asked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from logging import Logger, getLogger
from typing import Final

from harness.clock import Clock
from harness.errors import InputError
from harness.journal import Event
from hasync.database import databases, guard, live, preserve
from hasync.database.cluster import Cluster
from hasync.database.companions import Place
from hasync.database.confirm import UNCONFIRMED, confirm
from hasync.database.databases import MAINTENANCE, Databases, Known
from hasync.database.psql import Psql
from hasync.database.restore import cluster_of, leave
from hasync.database.rollback import hold
from hasync.operation import close_unfinished, unfinished
from hasync.role import Role
from hasync.role_file import read as read_role
from hasync.sets.store import Store
from hasync.settings import Database, Settings

ROLLBACK: Final = "rollback"
RESTORE: Final = "restore"
TAIL: Final = "tail"  # hasync.database.tail_copy
PROCEDURES: Final = (RESTORE, ROLLBACK, TAIL)


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing to put right: shown by `--dry-run`, or carried out."""

    would: str
    carry_out: Callable[[], str]  # gives what was done; "" when there was nothing to tell


@dataclass(frozen=True, slots=True)
class _Case:
    """One site, and what was found of interrupted runs."""

    settings: Settings
    database: Database
    store: Store
    clock: Clock
    log: Logger
    role: Role
    journals: dict[str, tuple[Event, ...]]

    @property
    def cluster(self) -> Cluster:
        return cluster_of(self.settings, self.database)

    @property
    def starts(self) -> bool:
        """Say whether the server has to be started, to look."""
        return bool(self.journals) and self.database.manage and self.role is Role.STANDBY


def recover(
    settings: Settings, store: Store, clock: Clock, log: Logger | None = None
) -> tuple[str, ...]:
    """Return in words what was found and done; () when nothing had been interrupted.

    PostgreSQL is started only for the rest of a run of ours, on a standby that may start it.

    Raises:
        Stop: something could not be put right; the journals stay, and it is tried again. REFUSED:
            only a person can.
    """
    log = log or getLogger(__name__)
    told = [f"swept {name}" for name in store.sweep()]
    journals = _journals(settings, told)
    told += [f"{name} was interrupted" for name in journals]
    role = read_role(settings.folders.state).role
    if settings.database is not None and role is not Role.UNKNOWN:
        told += _server(_Case(settings, settings.database, store, clock, log, role, journals))
        for name in journals:
            close_unfinished(settings.folders.state, name, clock)
    for line in told:
        log.info("recover found=%r", line)
    return tuple(told)


def planned(settings: Settings, store: Store, clock: Clock) -> tuple[str, ...]:
    """Return in words what `recover` would do now; nothing is changed, and no server started.

    Raises:
        Stop: what only a person can put right.
    """
    found: list[str] = []
    journals = _journals(settings, found)
    found += [f"would settle an interrupted {name}" for name in journals]
    role = read_role(settings.folders.state).role
    if settings.database is None:
        return tuple(found)
    if role is Role.UNKNOWN:
        return (*found, "would not ask the server: the role of this site is not known")
    log = getLogger(__name__)
    case = _Case(settings, settings.database, store, clock, log, role, journals)
    if case.cluster.is_up():
        found += [f"would {one.would}" for one in _remedies(case)]
        stops = role is Role.STANDBY and case.cluster.ours() is not None
        found += ["would stop PostgreSQL: it was started by hasync"] if stops else []
    elif case.starts:
        found.append("would start PostgreSQL, to look at what was left there")
    return tuple(found)


def _journals(settings: Settings, told: list[str]) -> dict[str, tuple[Event, ...]]:
    """Return the journals of the runs that did not end; () for one that cannot be read."""
    state, found = settings.folders.state, {}
    for name in PROCEDURES:
        if (state / f"{name}.jsonl").exists():
            try:
                found[name] = unfinished(state, name)
            except InputError as error:  # notes on the databases tell enough without it
                told.append(f"the journal cannot be read: {error}")
                found[name] = ()
    return found


def _server(case: _Case) -> list[str]:
    """Return what was done on the server, when it runs, or has to."""
    cluster, told = case.cluster, []
    if not cluster.is_up():
        if not case.starts:
            return []
        cluster.start()
        told.append("PostgreSQL started, to look")
    ours = cluster.ours() is not None
    try:
        told += [done for one in _remedies(case) if (done := one.carry_out())]
    finally:
        if ours and leave(case.settings, cluster):
            told.append("PostgreSQL stopped: it had been started by hasync")
    return told


def _remedies(case: _Case) -> tuple[Remedy, ...]:
    """Return what has to be done, in order.

    Raises:
        Stop: another server answers, or NAME is missing.
    """
    names = databases.companions(case.database)
    with Psql(case.database, MAINTENANCE).session() as session:
        guard.cluster(session, case.database)
        found = databases.read(session, names)
    guard.name_there(found, names.name)
    remedies = list(_drops(case, found))
    if found.live is not None:
        remedies += _recorded(case, found.live)
        remedies += _replaced(case, found, found.live)
    if ROLLBACK in case.journals:
        remedies.append(_held(case))
    return tuple(remedies)


def _held(case: _Case) -> Remedy:
    def carry_out() -> str:
        held = hold(case.settings, case.database, case.store, case.clock)
        return f"set {held} held back: it was rolled back" if held else ""

    return Remedy("hold back the set that was rolled back, if it got that far", carry_out)


def _drops(case: _Case, found: Databases) -> Iterator[Remedy]:
    """Give the databases that a note of ours or an unfinished journal names as not finished.

    On an active site that is the half copy of a tail alone, named by both: nothing else is made.
    """
    standby, copies = case.role is Role.STANDBY, _begun(case, TAIL)
    named = _begun(case, RESTORE)
    for one in found.all:
        half = one.place is Place.NEW and (one.making or one.name in named)
        half &= standby or one.name in copies
        cut = one.place is Place.PREVIOUS and one.invalid and one.replaced is not None
        if half or (cut and standby):
            yield Remedy(f"drop {one.name}, the rest of an interrupted run", _drop(case, one))


def _begun(case: _Case, procedure: str) -> set[str]:
    """Return the names of the databases that interrupted runs of *procedure* were making."""
    names = databases.companions(case.database)
    begun = (one for one in case.journals.get(procedure, ()) if one.type == "begun")
    return {names.new(str(one.fields.get("set", ""))) for one in begun}


def _drop(case: _Case, one: Known) -> Callable[[], str]:
    def carry_out() -> str:
        with Psql(case.database, MAINTENANCE).session() as session:
            databases.drop(session, one, case.settings.limits.command_s)
        return f"dropped {one.name}, the rest of an interrupted run"

    return carry_out


def _recorded(case: _Case, one: Known) -> Iterator[Remedy]:
    """Give the records that do not say yet what is live."""
    state = case.settings.folders.state
    stored = case.store.scan().by_id(one.marker.set_id) if one.marker else None
    known = live.read(state)
    work = case.settings, case.database, case.store, case.clock
    if stored is not None and stored.state.state in UNCONFIRMED:
        told = f"set {stored.name.text} recorded as restored: it is live"
        yield Remedy(
            f"record set {stored.name.text} as restored: it is live",
            lambda: told if confirm(*work, {}) else "",
        )
    elif not known.same(one) if known else one.marker is not None:

        def carry_out() -> str:
            live.record(state, case.database, one, case.clock)
            return f"recorded what is live: database {one.oid}, of {_origin(one)}"

        yield Remedy(f"record what is live: database {one.oid}, of {_origin(one)}", carry_out)


def _origin(one: Known) -> str:
    return f"set {one.marker.set_id}" if one.marker else "no set that is known"


def _replaced(case: _Case, found: Databases, now: Known) -> Iterator[Remedy]:
    """Give the look at what an interrupted restore replaced: was it written to until then?"""
    fates = [one for one in case.journals.get(RESTORE, ()) if one.type == "fate"]
    oid = fates[-1].fields.get("oid") if fates and case.role is Role.STANDBY else None
    before = found.by_oid(oid) if isinstance(oid, int) else None
    if before is None or before.oid == now.oid:
        return

    def carry_out() -> str:
        work = case.settings, case.database, case.store, before.oid, case.clock, case.log
        kept = preserve.replaced(*work)
        return f"{kept.name} holds rows of its own" if kept and kept.place is Place.TAIL else ""

    yield Remedy(f"look whether {before.name} was written to until it was replaced", carry_out)
