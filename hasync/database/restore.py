"""The procedure "restore": a set becomes the live database, and the old one stays beside it.

Restored under another name, proved against the manifest, and exchanged by name in one transaction:
at every moment NAME is the old database or the new one, whole. Whatever fails before the swap
leaves the old one live and nothing else behind; killed, the next run finds the rest by itself.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from logging import Logger
from pathlib import Path

from harness.clock import Clock
from harness.errors import HarnessError, InputError
from hasync import durable
from hasync.database import (
    databases,
    eligible,
    guard,
    load,
    preflight,
    preserve,
    restored,
    unpack,
)
from hasync.database.cluster import Cluster
from hasync.database.companions import Companions, Marker, Place
from hasync.database.confirm import confirm
from hasync.database.databases import MAINTENANCE, Known
from hasync.database.facts import DatabaseFacts
from hasync.database.psql import Psql, Session
from hasync.database.swap import Exchange, Exchanged, exchange
from hasync.database.watched import Watch, disk
from hasync.failure import Exit, Stop
from hasync.operation import Operation
from hasync.role import Role, ServiceState, SiteFact
from hasync.role_file import read as read_role
from hasync.service import probe
from hasync.sets.backup import State, StoredSet
from hasync.sets.set_folder import DATA
from hasync.sets.store import Store
from hasync.settings import Database, Settings

NEVER = -1  # no epoch: before the guard
TIDYING = frozenset({"prune", "stop"})  # steps after the new rows are live, and on record as that
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a restore did, and how long each step took."""

    set_id: str
    rows: int
    seconds: Mapping[str, float]
    blocked_s: float  # how long new connections may have waited
    parked: str  # the name of what was live before; "" when there was none
    tail: bool  # it holds rows of its own
    roles: tuple[str, ...] = ()  # created, without a password
    pruned: tuple[str, ...] = ()

    @property
    def recovery_s(self) -> float:
        """Return the time until the new rows were live and confirmed: nobody waits for the rest."""
        return sum(took_s for name, took_s in self.seconds.items() if name not in TIDYING)


def restore(  # noqa: PLR0913 - what a run has in hand, and its options
    settings: Settings,
    store: Store,
    stored: StoredSet,
    clock: Clock,
    log: Logger,
    *,
    jobs: int = 1,
    peer: SiteFact | None = None,
    by_hand: bool = False,
    looked: preserve.Look | None = None,
) -> RestoreResult:
    """Return once *stored* is the live database; call `hasync.database.recover.recover` before.

    *by_hand*: a person chose this set; it may be older than what is live, held, or of this site.
    *looked*: what `preserve.look_ahead` gave while there was time.

    Raises:
        Stop: the old database is live, and nothing is left over; code RECOVER says that the new
            one is live, and something after the swap failed.
        InputError: no such database, or facts that are none.
    """
    database = settings.database
    if database is None:
        raise InputError("there is no database here", field="database", fix="add [database]")
    names = databases.companions(database)
    fields = {"set": stored.id, "name": stored.name.text, "database": names.name}
    with Operation("restore", settings.folders.state, clock, **fields) as operation:
        run = _Restore(settings, database, names, store, stored, clock, log, operation)
        run.jobs, run.peer, run.by_hand, run.looked = jobs, peer, by_hand, looked
        try:
            return run.carry_out()
        except (HarnessError, OSError) as error:
            raise run.abandoned(error) from error
        finally:
            if not run.over:  # a signal: everything is put back before it is passed on
                run.put_back()


def cluster_of(settings: Settings, database: Database) -> Cluster:
    """Return the server of *database*, with the place of what is known of its start."""
    folders = settings.folders
    return Cluster(database, folders.state, folders.log, settings.limits.command_s)


def leave(settings: Settings, cluster: Cluster) -> bool:
    """Say whether a server that we started was stopped; not if this site took over meanwhile."""
    standby = read_role(settings.folders.state).role is Role.STANDBY
    if not standby or probe(settings.service).state is ServiceState.ACTIVE:
        cluster.disown()
        return False
    return cluster.stop_ours()


@dataclass(slots=True)
class _Restore:
    """One run, with what its steps hand on."""

    settings: Settings
    database: Database
    names: Companions
    store: Store
    stored: StoredSet
    clock: Clock
    log: Logger
    operation: Operation
    jobs: int = 1
    peer: SiteFact | None = None
    by_hand: bool = False
    looked: preserve.Look | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    epoch: int = NEVER
    live: Known | None = None
    parked: str = ""
    pruned: tuple[str, ...] = ()  # what was done with older databases
    coming_oid: int = 0
    building: bool = False  # from here on the database of that name is ours
    swapped: bool = False
    over: bool = False

    @property
    def new(self) -> str:
        """Return the name of the database that is being made."""
        return self.names.new(self.stored.id)

    @property
    def cluster(self) -> Cluster:
        """Return the server."""
        return cluster_of(self.settings, self.database)

    def carry_out(self) -> RestoreResult:
        """Return once all steps are done."""
        self._guard()
        facts, dump = self._prepare()
        roles = self._start(facts)
        self._tail()
        self._build(facts, dump)
        self._prove(facts)
        exchanged = self._swap(facts)
        result = self._finish(facts, exchanged, roles)
        self.over = True
        return result

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        begun_ns = self.clock.monotonic_ns()
        with self.operation.step(name):
            yield
        self.seconds[name] = (self.clock.monotonic_ns() - begun_ns) / 1e9
        self.log.info("restore step=%s seconds=%.3f", name, self.seconds[name])

    def _guard(self) -> None:
        with self._step("guard"):
            self.epoch = guard.site(self.settings, self.peer).epoch
            eligible.fits(self.settings, self.stored, self.epoch, by_hand=self.by_hand)
            if self.cluster.is_up():
                eligible.server(self.database)
        with self._step("select"):
            if self.cluster.is_up():
                eligible.newer(self.database, self.stored, by_hand=self.by_hand)

    def _prepare(self) -> tuple[DatabaseFacts, Path]:
        """Return the facts of the authentic set, and where it lies decompressed."""
        with self._step("authenticate"):
            self.stored = self.store.verify(self.stored)
            manifest = self.stored.manifest
            if self.stored.state.state is State.CORRUPT or manifest is None:
                raise Stop(Exit.NOT_VERIFIED, "the set is corrupt", fact=self.stored.state.why)
            facts = DatabaseFacts.parse(manifest.facts)
        data = self.store.folder(self.stored) / DATA
        with self._step("preflight"):
            paths = tuple(data / entry.path for entry in manifest.files)
            try:
                preflight.files(self.settings, facts, paths)
            except Stop as stop:
                if stop.code is not Exit.NO_SPACE or not self._made_room():
                    raise
                preflight.files(self.settings, facts, paths)
            if self.cluster.is_up():
                self._asked(facts)
        with self._step("unpack"):
            target = self.store.scratch(self.stored.id, "restore")
            unpack.unpack(data, manifest.files, target, self._watch(target))
        return facts, unpack.dump_in(target)

    def _made_room(self) -> bool:
        """Say whether something was dropped that a run before, cut short in its end, had left."""
        self._up()
        self._prune()
        return bool(self.pruned)

    def _prune(self) -> None:
        work = self.settings, self.database, self.store, self.clock, self.log
        self.pruned += preserve.prune(*work)

    def _watch(self, folder: Path) -> Watch:
        """Return what has children work on the disk of *folder*, within the limits."""
        limit_ns = round(self.settings.limits.restore_s * 1e9)
        return Watch(disk(self.database, folder), self.clock, self.clock.monotonic_ns() + limit_ns)

    def _asked(self, facts: DatabaseFacts) -> None:
        with Psql(self.database, MAINTENANCE).session() as session:
            preflight.server(session, facts, self.jobs)

    def _start(self, facts: DatabaseFacts) -> tuple[str, ...]:
        """Return the roles that had to be created; the server runs."""
        with self._step("start"):
            if not self.cluster.is_up():
                self._up()
                self._asked(facts)
        with self._step("globals"), Psql(self.database, MAINTENANCE).session() as session:
            roles = load.roles(session, facts)
        if roles:
            self.log.warning("roles created, without a password: %s", ", ".join(roles))
        return roles

    def _up(self) -> None:
        """Return once the server runs; one that had to be started allows the restore too."""
        if not self.cluster.is_up():
            self.operation.note("started", pid=self.cluster.start().pid)
            eligible.server(self.database)
            eligible.newer(self.database, self.stored, by_hand=self.by_hand)

    def _tail(self) -> None:
        with self._step("tail"):
            self._prune()  # what runs that failed after their swap have left would add up
            found = databases.look(self.database)
            guard.name_there(found, self.names.name)
            self.live = found.live
            if self.live is None:
                return
            work = self.settings, self.database, self.store, self.live, self.clock, self.log
            tail = preserve.fate(*work, self.looked) is Place.TAIL
            oid = self.live.oid
            self.parked = self.names.tail(oid) if tail else self.names.previous(oid)
            self.operation.note("fate", oid=oid, parked=self.parked)

    def _build(self, facts: DatabaseFacts, dump: Path) -> None:
        database, work = self.database, self.settings.folders.work
        watch = self._watch(database.data if database.manage else work)
        with self._step("create"), Psql(self.database, MAINTENANCE).session() as session:
            self._drop_ours(session)
            if any(one.name == self.new for one in databases.read(session, self.names).all):
                fix = "rename it; it is not known to be ours"
                raise Stop(Exit.REFUSED, f"a database {self.new} is there", fix=fix)
            self.building = True
            load.create(session, self.new, facts, self.settings.limits.command_s)
        with self._step("load"):
            load.load(self.database, self.new, dump, self.jobs, watch)
        with self._step("properties"), Psql(self.database, MAINTENANCE).session() as session:
            load.properties(session, self.new, facts)
        with self._step("analyze"):
            load.analyze(self.database, self.new, self.jobs, watch)

    def _drop_ours(self, session: Session) -> None:
        """Remove what this run or another of ours has made; never what only looks like it."""
        for one in databases.read(session, self.names).of(Place.NEW):
            if one.making or (self.building and one.name == self.new):
                databases.drop(session, one, self.settings.limits.command_s)

    def _prove(self, facts: DatabaseFacts) -> None:
        with self._step("verify"):
            load.verify(self.database, self.new, facts)
            restored.keep(self.settings.folders.state, self.stored.id, facts)
            epoch, sequence = self.stored.order
            marker = Marker(self.stored.id, sequence, epoch, self.stored.site, 0)
            load.mark(self.database, self.new, marker)
        durable.remove_tree(self.settings.folders.work / f"{self.stored.id}.restore")

    def _swap(self, facts: DatabaseFacts) -> Exchanged:
        with self._step("reguard"):
            guard.site(self.settings, self.peer, self.epoch)
            with Psql(self.database, MAINTENANCE).session() as session:
                guard.server(session, self.database)
                coming = self._coming(databases.read(session, self.names).of(Place.NEW))
        self.coming_oid = coming.oid
        swap = Exchange(
            name=self.names.name,
            live_oid=self.live.oid if self.live else None,
            parked=self.parked,
            coming_oid=coming.oid,
            coming=coming.name,
            connection_limit=facts.properties.connection_limit,
        )
        with self._step("swap"):
            limit_s = self.settings.limits.swap_s
            permission = guard.Permission(
                self.settings, self.database, self.peer, self.epoch, self.clock
            )
            found = exchange(self.database, swap, self.clock, limit_s, permission)
            self.swapped = True
        self.log.info("swap blocked_ms=%.1f tries=%d", found.blocked_ns / 1e6, found.tries)
        return found

    def _coming(self, found: tuple[Known, ...]) -> Known:
        """Return the proved database that this run has made."""
        for one in found:
            if one.name == self.new and one.marker and one.marker.set_id == self.stored.id:
                return one
        raise Stop(Exit.FAILED, "the new database is gone", fact=self.new, fix="run again")

    def _finish(
        self, facts: DatabaseFacts, exchanged: Exchanged, roles: tuple[str, ...]
    ) -> RestoreResult:
        with self._step("confirm"):
            confirm(self.settings, self.database, self.store, self.clock, self.seconds)
        with self._step("prune"):
            self._look_back()
            self._prune()
        with self._step("stop"):
            leave(self.settings, self.cluster)
        return RestoreResult(
            set_id=self.stored.id,
            rows=facts.rows,
            seconds=dict(self.seconds),
            blocked_s=exchanged.blocked_ns / 1e9,
            parked=self.parked,
            tail=self.live is not None and self.parked == self.names.tail(self.live.oid),
            roles=roles,
            pruned=self.pruned,
        )

    def _look_back(self) -> None:
        """Have what was replaced kept as a tail when it was written to until the last moment."""
        if self.live is None:
            return
        work = self.settings, self.database, self.store, self.live.oid, self.clock, self.log
        if one := preserve.replaced(*work):
            self.parked = one.name

    def abandoned(self, error: HarnessError | OSError) -> Stop | HarnessError:
        """Return how this run ends because of *error*, with everything put back."""
        if isinstance(error, load.SetRefusedError):
            with suppress(HarnessError, OSError):  # the error itself is what counts
                self.store.mark(self.stored, State.FAILED, str(error))
        self.put_back()
        self.over = True
        if self.swapped:
            fix = "the new database is live; run `hasync recover`"
            return Stop(Exit.RECOVER, "not finished after the swap", fact=str(error), fix=fix)
        if isinstance(error, OSError):
            code = Exit.NO_SPACE if error.errno in _NO_SPACE else Exit.FAILED
            return Stop(code, "the restore failed", fact=str(error))
        return error

    def put_back(self) -> None:
        """Remove what this run has made and not finished; what cannot be now, `recover` does."""
        with suppress(HarnessError, OSError):
            durable.remove_tree(self.settings.folders.work / f"{self.stored.id}.restore")
        with suppress(HarnessError, OSError):
            if self.cluster.is_up():
                with Psql(self.database, MAINTENANCE).session() as session:
                    found = databases.read(session, self.names)
                    # the answer to the commit may have been lost, and not the commit
                    self.swapped |= bool(found.live and found.live.oid == self.coming_oid)
                    self._drop_ours(session)
        with suppress(HarnessError, OSError):
            leave(self.settings, self.cluster)
