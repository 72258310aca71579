"""The edge of pgsync on the standby: take in what has come, restore the newest, keep.

    look ──▶ a set newer than what is live? ──yes──▶ restore ──▶ keep ──▶ end
      ▲                │ no                             │ failed
      └── woken ── wait on state/arrived ◀──────────────┘  (an older one is tried first)

Law: the set of today is waited for even when that of yesterday failed a minute ago.
"""

import logging
from dataclasses import dataclass, field

from harness.errors import HarnessError, InputError
from hasync.commands import logins
from hasync.commands.active import Told, prune, settings_role
from hasync.commands.choice import candidates, doubtful, live_set, passed_over
from hasync.commands.command import Context, Outcome
from hasync.commands.options import PgsyncOptions
from hasync.commands.plan import procedure_lines
from hasync.commands.run_lock import refuse_when_asked
from hasync.database import preserve
from hasync.database.load import SetRefusedError
from hasync.database.restore import RestoreResult, cluster_of, restore
from hasync.failure import Exit, Stop
from hasync.peer import arrival, peer_file
from hasync.peer.address import PeerAddress
from hasync.peer.delivery import Delivery
from hasync.peer.wakeup import Arrivals, waiting
from hasync.role import SiteFact, may_restore
from hasync.service import probe
from hasync.sets.backup import State, StoredSet
from hasync.sets.store import Store

logger = logging.getLogger(__name__)

TOLD = "told_at_ns"  # measured when a later run has told of it
MAX_REASONS = 5  # on one line
RESCAN_S = 30.0  # a lost wake-up costs no more than this
AGAIN_S = (60.0, 120.0, 300.0, 900.0)  # after a fault that was not the set's; the last one again
_FOR_ALL = frozenset({Exit.REFUSED, Exit.RECOVER, Exit.CONFIG, Exit.LOCKED})  # no other set helps
_OF_THE_SET = frozenset({Exit.NOT_VERIFIED, Exit.TRUST})


@dataclass(slots=True)
class _Wait:
    """One run's wait for a set that can be restored."""

    context: Context
    store: Store
    options: PgsyncOptions
    told: Told
    tried: set[str] = field(default_factory=set)
    troubles: list[Stop] = field(default_factory=list)
    resting: frozenset[str] = frozenset()  # ids of sets that met a fault which was not theirs
    again_ns: int = 0  # monotonic: when those are tried again
    faults: int = 0
    looked: preserve.Look | None = None  # at what is live, while there was time

    def until(self, deadline_ns: int, arrivals: Arrivals) -> bool:
        """Say whether a set became the live database before *deadline_ns*.

        Raises:
            Stop: a guard that forbids every restore here.
        """
        clock, waited = self.context.clock, False
        while True:
            take_in(self.context, self.store)
            if self._one_of(self._next()):
                return True
            left_s = (deadline_ns - clock.monotonic_ns()) / 1e9
            if left_s <= 0:
                return False
            if not waited:
                waited, self.looked = True, look_ahead(self.context)
            arrivals.wait(min(left_s, RESCAN_S))
            refuse_when_asked(self.context.settings.folders.state)
            refuse_unless_standby(self.context)

    def _next(self) -> tuple[StoredSet, ...]:
        """Return the sets that this run has not tried yet, the newest first."""
        role = settings_role(self.context)
        now_ns = self.context.clock.wall_ns()
        site, peer = self.context.settings.site, self.context.settings.peer.site
        early = self.context.clock.monotonic_ns() < self.again_ns
        tried = self.tried | (self.resting if early else frozenset())
        found = candidates(self.store.scan().sets, site, role.epoch, now_ns, tried, peer=peer)
        self.tried |= {one.id for one in found}
        return found

    def _one_of(self, found: tuple[StoredSet, ...]) -> bool:
        """Say whether one of *found* is live now; an older one is tried when the set is at fault.

        Where it was something else (no space, a lost server), an older set would meet the same.
        """
        for place, stored in enumerate(found):
            stop = self._attempt(stored)
            if stop is None:
                return True
            logger.warning("not restored set=%s why=%s", stored.id, stop)
            if stop.code in _FOR_ALL:
                raise stop
            if str(stop) not in {str(one) for one in self.troubles}:
                self.troubles.append(stop)
            if not isinstance(stop, SetRefusedError) and stop.code not in _OF_THE_SET:
                self._rest(found[place:])
                return False
        return False

    def _rest(self, found: tuple[StoredSet, ...]) -> None:
        """Let *found* be tried again in this run, later and later: the fault may pass."""
        self.resting = frozenset(one.id for one in found)
        self.tried -= self.resting
        wait_s = AGAIN_S[min(self.faults, len(AGAIN_S) - 1)]
        self.faults += 1
        self.again_ns = self.context.clock.monotonic_ns() + round(wait_s * 1e9)
        logger.info("tried again after_s=%g sets=%d", wait_s, len(found))

    def _attempt(self, stored: StoredSet) -> Stop | None:
        """Return what stood against *stored*; None when it is the live database now."""
        if stored.state.state is State.NEW:
            stored = self.store.verify(stored)
            if not stored.proved:
                return Stop(Exit.NOT_VERIFIED, stored.path, fact=stored.state.why)
        try:
            result = restore(
                self.context.settings,
                self.store,
                stored,
                self.context.clock,
                self.context.log,
                jobs=self.options.jobs,
                peer=known_peer(self.context),
                looked=self.looked,
            )
        except Stop as stop:
            return stop
        except InputError as error:  # signed, and still no facts of a database
            return Stop(Exit.NOT_VERIFIED, stored.path, fact=str(error))
        tell(self.told, self.store, stored, result)
        return None


def run(context: Context, store: Store, options: PgsyncOptions) -> Outcome:
    """Return how waiting and restoring went.

    Raises:
        Stop: this site may not be restored into.
    """
    refuse_unless_standby(context)
    told = Told()
    waited = _Wait(context, store, options, told)
    look_again(context, store)
    deadline_ns = context.clock.monotonic_ns() + options.timeout_s * 10**9
    with waiting(context.settings.folders.state) as arrivals:
        restored = waited.until(deadline_ns, arrivals)
    troubles = [str(stop) for stop in waited.troubles]
    interrupted = untold(store)
    if restored:
        told.attention += troubles  # an older set is live: somebody should look at the newer one
    elif waited.troubles:
        told.trouble = waited.troubles[0]
    else:
        told.trouble = _nothing_came(context, store, options)
    if interrupted is not None and not restored:
        _tell_untold(store, interrupted, told, alone=not waited.troubles)
    prune(context, store, options.backups, told)
    if restored or interrupted is not None:
        _tell_the_active_site(context, store, options)
    return told.outcome()


def _nothing_came(context: Context, store: Store, options: PgsyncOptions) -> Stop:
    """Return why nothing was restored; a newer set that was not taken is named."""
    settings = context.settings
    reasons = passed_over(
        store.scan().sets,
        settings.site,
        settings_role(context).epoch,
        context.clock.wall_ns(),
        peer=settings.peer.site,
    )
    stays = f"within {options.timeout_s} s; what is live stays live"
    if reasons:
        return Stop(
            Exit.TIMEOUT,
            "no newer set may be taken",
            fact=f"{'; '.join(reasons[:MAX_REASONS])}; waited {stays}",
            fix="see hasync sets",
        )
    fix = "look at pgsync on the active site"
    return Stop(Exit.TIMEOUT, "no new set has come", fact=stays, fix=fix)


def untold(store: Store) -> StoredSet | None:
    """Return the set that a run made live which was killed before it could say so; None: none.

    `recover` confirms it; that it has no measured time of a restore is how it differs.
    """
    live = live_set(store.scan().sets)
    measured = {"restore_s", TOLD} & set(live.state.measurements) if live else set()
    return None if measured else live


def _tell_untold(store: Store, live: StoredSet, told: Told, *, alone: bool) -> None:
    """Say once that an interrupted restore had got through; *alone*: nothing else went wrong."""
    line = f"{live.name.text} is live: the run that restored it was interrupted after that"
    told.lines.append(line)
    if alone:
        told.attention.append(f"{line}; {told.trouble.why if told.trouble else ''}")
        told.trouble = None
    else:
        told.attention.append(line)
    store.note(live, **{TOLD: live.state.at_ns})


def _tell_the_active_site(context: Context, store: Store, options: PgsyncOptions) -> None:
    """Let the active site know what is live here: it judges by that; no answer is no failure."""
    delivery = Delivery(context.settings, store, PeerAddress.parse(options.host), context.clock)
    try:
        delivery.hello(succeeded=True)
    except Stop as stop:
        logger.warning("the active site was not told why=%s", stop)


def look_again(context: Context, store: Store) -> None:
    """Verify the sets that are called CORRUPT and newer than what is live.

    A wrong line in the allowed signers, or a disk that failed once, must not cost a good set.
    """
    settings = context.settings
    for stored in doubtful(store.scan().sets, settings.site, settings.peer.site):
        now = store.verify(stored)
        logger.info("looked again set=%s state=%s why=%s", now.id, now.state.state, now.state.why)


def look_ahead(context: Context) -> preserve.Look | None:
    """Return what was seen of the live database while there is time; None when it is not up."""
    settings = context.settings
    try:
        if settings.database and cluster_of(settings, settings.database).is_up():
            return preserve.look_ahead(settings, settings.database)
    except HarnessError as error:  # the restore looks itself, and tells
        logger.info("not looked ahead why=%s", error)
    return None


def take_in(context: Context, store: Store) -> None:
    """Take whole sets out of the inbox: their sender may have died before its commit."""
    if not store.waiting():
        return
    try:
        with arrival.without_receivers(context.settings.folders, wait_s=0.0):
            for set_id in store.waiting():
                _receive(store, set_id, context.settings.peer.site)
    except Stop as stop:  # a receiver is at work: its sender will commit
        logger.info("inbox in use why=%s", stop)


def _receive(store: Store, set_id: str, site: str) -> None:
    try:
        stored = store.receive(set_id, site)
    except Stop as stop:
        logger.warning("not taken in set=%s why=%s", set_id, stop)
        return
    logger.info("taken in set=%s path=%s", set_id, stored.path)


def refuse_unless_standby(context: Context) -> None:
    """Return when this site may be restored into, as far as role, service and peer say.

    Raises:
        Stop: it may not.
    """
    service = probe(context.settings.service)
    stop = may_restore(settings_role(context), service, known_peer(context))
    if stop is not None:
        raise stop


def known_peer(context: Context) -> SiteFact | None:
    """Return what the other site said of itself last: that can only forbid."""
    hello = peer_file.remembered(context.settings.folders.state)
    return hello.fact if hello else None


def tell(told: Told, store: Store, stored: StoredSet, result: RestoreResult) -> None:
    """Put on record what a restore did; the time until it was confirmed is the measured RTO."""
    took_s = round(result.recovery_s, 3)
    catalogue = store.scan()
    now = catalogue.by_id(stored.id)
    if now is not None:
        proved = [one for one in catalogue.sets if one.state.state is State.RESTORED]
        before = (name for one in proved for name in logins.remembered(one))
        roles = logins.encode((*before, *result.roles))
        store.mark(
            now,
            State.RESTORED,
            restore_s=took_s,
            blocked_s=round(result.blocked_s, 3),
            **{logins.MEASURED: roles},
        )
        for one in proved:
            if one.id != now.id and logins.MEASURED in one.state.measurements:
                store.note(one, **{logins.MEASURED: logins.encode(())})
    told.lines.append(f"restored {stored.name.text}: {result.rows} rows in {took_s:.1f} s")
    if result.tail:
        told.lines.append(f"kept as a tail: {result.parked}")
        told.attention.append(f"{result.parked} holds rows of its own: hasync tail diff")
    told.lines += result.pruned
    kept = [line for line in result.pruned if line.startswith("kept ")]
    told.attention += [f"{line}, with rows of its own: hasync tail diff" for line in kept]
    if result.roles:
        told.attention.append(f"roles created without a password: {', '.join(result.roles)}")
    told.facts["restored"] = {
        "id": stored.id,
        "name": stored.name.text,
        "rows": result.rows,
        "took_s": took_s,
        "blocked_s": round(result.blocked_s, 3),
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "parked": result.parked,
        "tail": result.tail,
        "pruned": list(result.pruned),
    }


def shown(context: Context, store: Store, options: PgsyncOptions) -> Outcome:
    """Return what `run` would do now.

    Raises:
        Stop: this site may not be restored into.
    """
    refuse_unless_standby(context)
    role = settings_role(context)
    now_ns = context.clock.wall_ns()
    site, peer = context.settings.site, context.settings.peer.site
    found = candidates(store.scan().sets, site, role.epoch, now_ns, peer=peer)
    lines = [f"would restore {found[0].name.text}"] if found else []
    lines += [] if found else [f"would wait up to {options.timeout_s} s for a new set, then:"]
    lines += [*procedure_lines("restore"), *procedure_lines("keep")]
    return Outcome(Exit.OK, tuple(lines), {"candidates": [one.name.text for one in found]})
