"""The edge that gathers what is true of this host now; what cannot be read is told, never fatal."""

import logging
from pathlib import Path

from harness.clock import Clock
from harness.errors import HarnessError
from hasync import durable, role_file
from hasync.commands.command import read_runs
from hasync.commands.record import RunRecord
from hasync.commands.run_lock import is_held
from hasync.commands.status import Gathered, PeerSeen
from hasync.database import databases
from hasync.database import live as live_file
from hasync.database.cluster import Cluster
from hasync.files.exchange import installed
from hasync.peer import peer_file
from hasync.role import Role
from hasync.service import probe
from hasync.sets.backup import Kind, State, StoredSet
from hasync.sets.store import Store
from hasync.settings import Settings
from hasync.steps import PROCEDURES

logger = logging.getLogger(__name__)


def gather(settings: Settings, store: Store, clock: Clock) -> Gathered:
    """Return all facts about this site; nothing is changed, and nobody is waited for long."""
    state = settings.folders.state
    problems: list[str] = []
    sets = _sets(store, problems)
    return Gathered(
        site=settings.site,
        now_ns=clock.wall_ns(),
        role=role_file.read(state),
        service=probe(settings.service),
        sets=sets,
        live=live_set(settings, sets, problems),
        installed=_installed(settings, problems),
        runs=_runs(state, problems),
        run_held=is_held(state),
        unfinished=tuple(name for name in PROCEDURES if (state / f"{name}.jsonl").exists()),
        peer=peer_seen(state),
        free_bytes=_free_bytes(settings),
        reserve_bytes=settings.database.reserve_bytes if settings.database else 0,
        touched=_touched(settings, problems),
        quarantined=store.quarantined(),
        problems=tuple(problems),
    )


def live_set(settings: Settings, sets: tuple[StoredSet, ...], problems: list[str]) -> str:
    """Return the id of the set that the live database holds; "" when none is known.

    A server that runs is asked. While it is down, which is the rule on a standby, what the last run
    saw is what is known; without that record, the newest restored set that was not taken back.
    """
    database = settings.database
    if database is None:
        return ""
    folders = settings.folders
    cluster = Cluster(database, folders.state, folders.log, settings.limits.command_s)
    try:
        if cluster.is_up():
            live = databases.look(database).live
            return live.marker.set_id if live and live.marker else ""
    except HarnessError as error:
        problems.append(f"the server cannot be asked what is live: {error}")
    record = live_file.read(folders.state)
    if record is not None:
        return record.set_id
    restored = [
        one
        for one in sets
        if one.kind is Kind.DATABASE and one.state.state is State.RESTORED and not one.state.held
    ]
    return max(restored, key=lambda one: one.order).id if restored else ""


def _installed(settings: Settings, problems: list[str]) -> str | None:
    """Return the id of the set whose trees are live; "": this host's own, after an undo."""
    if settings.application is None:
        return None
    try:
        last = installed(settings.folders.state)
    except HarnessError as error:
        problems.append(f"the record of the install cannot be read: {error}")
        return None
    return last.set_id if last else None


def _touched(settings: Settings, problems: list[str]) -> str:
    try:
        return touched(settings)
    except HarnessError as error:
        problems.append(f"the server cannot be asked whether it was written to: {error}")
        return ""


def touched(settings: Settings) -> str:
    """Return in words that the standby's live database seems written to since its restore; or "".

    A cheap look at the server's statistics; a server that is down is not asked.

    Raises:
        Stop: the server cannot be asked.
    """
    database, state = settings.database, settings.folders.state
    if database is None or role_file.read(state).role is not Role.STANDBY:
        return ""
    if not Cluster(database, state, settings.folders.log, settings.limits.command_s).is_up():
        return ""
    live = databases.look(database).live
    return live_file.touched(state, database, live) if live else ""


def peer_seen(state: Path) -> PeerSeen | None:
    """Return what the other site said of itself when it was last asked; None: never was."""
    hello = peer_file.remembered(state)
    if hello is None:
        return None
    at_ns = (state / peer_file.NAME).stat().st_mtime_ns
    return PeerSeen(hello.fact, at_ns, hello.at_ns - at_ns, hello.sequences)


def _sets(store: Store, problems: list[str]) -> tuple[StoredSet, ...]:
    try:
        return store.scan().sets
    except (HarnessError, OSError) as error:
        problems.append(f"the catalogue cannot be read: {error}")
        return ()


def _runs(state: Path, problems: list[str]) -> dict[str, RunRecord]:
    try:
        return read_runs(state)
    except HarnessError as error:
        problems.append(f"the record of the runs cannot be read: {error}")
        return {}


def _free_bytes(settings: Settings) -> dict[str, int]:
    """Return the free space of the file systems that fill, by their path."""
    paths = [settings.folders.base]
    paths += [settings.database.data] if settings.database else []
    found = {}
    for path in paths:
        try:
            found[str(path)] = durable.free_bytes(path)
        except HarnessError as error:
            logger.info("space not known path=%s why=%s", path, error)
    return found
