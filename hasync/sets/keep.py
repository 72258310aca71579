"""The edge of retention: the plan of `hasync.sets.retention`, carried out set by set, last of all.

The original deleted first and sent then, by file name; here nothing is removed before the run has
done what it is for, and only what the plan names.
"""

import logging
from dataclasses import dataclass

from harness.clock import Clock
from hasync.operation import Operation, close_unfinished
from hasync.role import Role
from hasync.role_file import read
from hasync.sets.backup import SENT, Kind, State, StoredSet
from hasync.sets.retention import RetentionPlan, plan
from hasync.sets.store import Store
from hasync.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What one run of retention did."""

    removed: tuple[str, ...]  # names of sets
    refused: str = ""  # why nothing was removed
    unsent: tuple[str, ...] = ()  # names of those removed that the other site never had

    @property
    def lines(self) -> tuple[str, ...]:
        """Return in words what was done."""
        return tuple(f"removed {name}" for name in self.removed)


def planned(settings: Settings, store: Store, backups: int, clock: Clock) -> RetentionPlan:
    """Return what would stay and go now.

    Raises:
        InputError: a policy that would delete everything.
    """
    sets = store.scan().sets
    return plan(sets, settings.retention, backups, clock.wall_ns(), _unsent(settings, sets))


def keep(settings: Settings, store: Store, backups: int, clock: Clock) -> Kept:
    """Return what was removed beyond the newest *backups* and all that another rule keeps.

    Raises:
        InputError: a policy that would delete everything; nothing was removed.
        Stop: a set cannot be removed.
    """
    state = settings.folders.state
    close_unfinished(state, "keep", clock)
    with Operation("keep", state, clock, backups=backups) as operation, operation.step("prune"):
        _prove_new(store)
        wanted = _planned_surely(settings, store, backups, clock)
        waiting = _unsent(settings, wanted.remove)
        if wanted.refused:
            logger.warning("nothing removed why=%s", wanted.refused)
            return Kept((), wanted.refused)
        for stored in wanted.remove:
            operation.note("remove", set=stored.id, path=stored.path)
            store.remove(stored)
            logger.info("removed set=%s path=%s", stored.id, stored.path)
    names = tuple(one.name.text for one in wanted.remove)
    return Kept(names, unsent=tuple(one.name.text for one in wanted.remove if one.id in waiting))


def _unsent(settings: Settings, sets: tuple[StoredSet, ...]) -> frozenset[str]:
    """Return the ids of the sets that this site, when it is the active one, has yet to send."""
    if read(settings.folders.state).role is not Role.ACTIVE:
        return frozenset()
    return frozenset(
        one.id
        for one in sets
        if one.site == settings.site
        and one.kind in {Kind.DATABASE, Kind.APPLICATION}
        and one.proved
        and SENT not in one.state.measurements
    )


def _planned_surely(settings: Settings, store: Store, backups: int, clock: Clock) -> RetentionPlan:
    """Return the plan, with no set in it that is called CORRUPT and is not.

    What condemned it may have been a wrong line in the allowed signers, or a disk that failed once.
    """
    looked: set[str] = set()
    while True:
        wanted = planned(settings, store, backups, clock)
        doubtful = [
            one
            for one in wanted.remove
            if one.state.state is State.CORRUPT and one.path not in looked
        ]
        if not doubtful:
            return wanted
        for stored in doubtful:
            looked.add(stored.path)
            now = store.verify(stored)
            logger.info("looked again set=%s state=%s", now.id, now.state.state)


def _prove_new(store: Store) -> None:
    """Verify the sets of which nothing is known: killed before the note of it, or notes lost.

    Else they would never count as copies, and never be sent.
    """
    for stored in store.scan().sets:
        if stored.state.state is State.NEW and stored.manifest is not None:
            now = store.verify(stored)
            logger.info("verified set=%s state=%s why=%s", now.id, now.state.state, now.state.why)
