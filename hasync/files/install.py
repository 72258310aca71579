"""The edge of the procedure "install": an application set takes the place of the live trees.

Extracted beside them, completed by what is this host's own, flushed, then exchanged by rename. The
trees that were live stay as the previous ones; `undo` exchanges them back, as often as one likes.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.clock import Clock
from harness.errors import InputError
from harness.manifest import safe_path
from hasync import durable
from hasync.failure import Exit, Stop
from hasync.files.archive import unpack
from hasync.files.carry import carry, measure, present
from hasync.files.exchange import (
    NO_SET,
    Pair,
    Plan,
    checked_root,
    confirm,
    exchange,
    installed,
    new_folder,
    previous_folder,
    remove_unplanned,
    settle,
    swap_folder,
    unsettled,
)
from hasync.files.exclusions import excluded, kept_by_host, rules
from hasync.files.exclusions import parse as parse_rule
from hasync.files.extract import unknown_owners
from hasync.files.members import MAX_LIST_BYTES, NAME, Member, archive_name, parse
from hasync.files.tree import resolve
from hasync.operation import Operation, close_unfinished
from hasync.role import ServiceState
from hasync.service import probe
from hasync.sets.backup import Kind, State, StoredSet
from hasync.sets.store import Store
from hasync.settings import Settings

RESERVE_BYTES = 256 << 20  # left free on the file system of each tree
_BLOCK = 4096  # a small file takes one of these
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class InstallResult:
    """What became live, and where the trees before it are."""

    set_id: str  # of the set whose trees are live; "": those before the first install
    live: tuple[str, ...]
    previous: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Target:
    """One root of the set, and where it goes on this host."""

    name: str
    live: Path
    members: tuple[Member, ...]
    own: tuple[str, ...]  # below the tree: what this host keeps


def install(
    settings: Settings,
    store: Store,
    stored: StoredSet,
    clock: Clock,
    *,
    reserve_bytes: int = RESERVE_BYTES,
) -> InstallResult:
    """Return once the trees of *stored* are live; before that moment nothing has changed.

    Raises:
        Stop: the service is not known to be stopped, the set is not whole, no space, or what else
            stands against it. Code RECOVER: run `hasync recover`.
        InputError: no set of an application, or of roots that this host does not have.
    """
    state = settings.folders.state
    settle_install(settings, clock)
    with Operation("install", state, clock, set=stored.id, name=stored.name.text) as own:
        with own.step("guard"):
            _stopped(settings)
        with own.step("authenticate"):
            stored = _authentic(store, stored)
            targets = _targets(settings, store, stored)
        with own.step("space"):
            _fits(targets, reserve_bytes)
        with _cleaned(targets, state):
            with own.step("extract"):
                plan = _staged(settings, store, stored, targets, clock)
            with own.step("exchange"):
                _stopped(settings)
                exchange(state, plan)
            with own.step("confirm"):
                confirm(state, plan)
        store.mark(stored, State.RESTORED)
    return _result(plan)


def undo(settings: Settings, clock: Clock) -> InstallResult:
    """Return once the trees before the last install (or undo) are live again.

    Raises:
        Stop: the service is not known to be stopped, or there are no previous trees.
    """
    state = settings.folders.state
    settle_install(settings, clock)
    with Operation("undo", state, clock) as own:
        with own.step("guard"):
            _stopped(settings)
            plan = _undoing(state, clock)
        with own.step("exchange"):
            exchange(state, plan)
        with own.step("confirm"):
            confirm(state, plan)
    return _result(plan)


def allowed(
    settings: Settings, store: Store, stored: StoredSet | None, clock: Clock
) -> tuple[str, ...]:
    """Return the live trees that installing *stored* (None: an undo) would exchange now.

    Raises:
        Stop: what stands against it.
        InputError: no set of an application, or of roots that this host does not have.
    """
    _stopped(settings)
    if stored is None:
        return tuple(pair.live for pair in _undoing(settings.folders.state, clock).pairs)
    targets = _targets(settings, store, _authentic(store, stored))
    return tuple(str(target.live) for target in targets)


def interrupted(settings: Settings) -> tuple[str, ...]:
    """Return what `settle_install` would find: the procedures that did not end."""
    state = settings.folders.state
    begun = tuple(name for name in ("install", "undo") if (state / f"{name}.jsonl").exists())
    return begun or (("install",) if unsettled(state) is not None else ())


def settle_install(settings: Settings, clock: Clock) -> tuple[str, ...]:
    """Return in words what was left of an interrupted install or undo, and how it was ended.

    Where no live tree was exchanged, or all were, none has to be moved to end it: that is done
    under a running service too.

    Raises:
        Stop: the live trees are of two sets, and the service is not known to be stopped; or
            somebody has changed them by hand.
        InputError: the plan cannot be read.
    """
    state = settings.folders.state
    told: list[str] = []
    plan = unsettled(state)
    if plan is not None:
        if (exchanged := [pair for pair in plan.pairs if pair.exchanged]) != list(plan.pairs):
            _stopped_between(settings, plan, exchanged)
        told.append(settle(state, plan))
    for procedure in ("install", "undo"):
        close_unfinished(state, procedure, clock)
    for root in settings.application.roots if settings.application else ():
        if root.path.exists():
            gone = remove_unplanned(resolve(root.path), checked_root(root.name))
            told += [f"removed {path}" for path in gone]
    return tuple(told)


def _stopped(settings: Settings) -> None:
    found = probe(settings.service)
    if found.state is not ServiceState.INACTIVE:
        raise Stop(
            Exit.REFUSED,
            "the service is not known to be stopped here",
            fact=f"{found.state}: {found.why}",
            fix="stop it first; its files are exchanged under it",
        )


def _stopped_between(settings: Settings, plan: Plan, exchanged: Sequence[Pair]) -> None:
    """Return when nothing is exchanged yet, or the rest of it may be now.

    Raises:
        Stop: some trees are of one set, some of the other, and the service may be using them.
    """
    found = probe(settings.service)
    if not exchanged or found.state is ServiceState.INACTIVE:
        return
    new = ", ".join(pair.live for pair in exchanged)
    old = ", ".join(pair.live for pair in plan.pairs if pair not in exchanged)
    raise Stop(
        Exit.REFUSED,
        "an exchange was interrupted half way, and the service is not known to be stopped",
        fact=f"of set {plan.set_id or NO_SET}: {new}; of {plan.before_id or NO_SET}: {old}; "
        f"the service is {found.state}",
        fix="stop it, then `hasync recover`, then start it again",
    )


def _authentic(store: Store, stored: StoredSet) -> StoredSet:
    """Return the set, its signature and every file of it checked just now."""
    if stored.kind is not Kind.APPLICATION:
        raise InputError("not a set of the application", field="set", value=stored.name.text)
    stored = store.verify(stored)
    if stored.manifest is None or stored.state.state is State.CORRUPT:
        raise Stop(
            Exit.NOT_VERIFIED,
            f"set {stored.name.text} is not whole",
            fact=stored.state.why,
            fix="take another one (hasync sets)",
        )
    return stored


def _targets(settings: Settings, store: Store, stored: StoredSet) -> tuple[_Target, ...]:
    """Return each root of the set with its members, and what this host keeps there."""
    if settings.application is None:
        raise InputError("no application on this host", field="application")
    roots = {root.name: root.path for root in settings.application.roots}
    path = store.folder(stored) / "data" / NAME
    members = parse(durable.read(path, MAX_LIST_BYTES).splitlines(keepends=True), file=str(path))
    by_root: dict[str, list[Member]] = {}
    for member in members:
        by_root.setdefault(member.root, []).append(member)
    if not by_root or not by_root.keys() <= roots.keys():
        missing = ", ".join(sorted(by_root.keys() - roots.keys())) or "none in the set"
        raise InputError("a root that this host does not have", field="roots", value=missing)
    if os.geteuid() == 0 and (unknown := unknown_owners(members)):
        raise Stop(
            Exit.REFUSED,
            "the set belongs to users that this host does not know",
            fact=", ".join(unknown[:_SHOWN]),
            fix="create them first",
        )
    kept = _kept(settings, stored, members)
    targets = []
    for name, own in by_root.items():
        live = resolve(roots[name])
        below = [path.removeprefix(f"{name}/") for path in kept if path.startswith(f"{name}/")]
        targets.append(_Target(name, live, tuple(own), present(live, below)))
    _apart(settings, targets)
    return tuple(targets)


def _kept(settings: Settings, stored: StoredSet, members: Iterable[Member]) -> tuple[str, ...]:
    """Return the paths that stay this host's own: by its rules, by the set's, and links out."""
    application, manifest = settings.application, stored.manifest
    assert application is not None  # noqa: S101 - our caller has looked
    assert manifest is not None  # noqa: S101
    by = [
        rule
        for rule in rules(application.exclude, [root.name for root in application.roots])
        if not rule.suffix
    ]
    for member in members:
        rule = excluded(member.path, regular=False, by=by)
        if rule is not None:
            raise Stop(
                Exit.REFUSED,
                "the set holds what this host keeps as its own",
                fact=f"{member.path}, by the rule {rule.text}",
                fix="make the exclusions of both sites the same",
            )
    theirs = [parse_rule(text) for text in _texts(manifest.facts, "exclude")]
    links = [safe_path(text) for text in _texts(manifest.facts, "host_links")]
    return (*kept_by_host([*by, *theirs]), *links)


def _texts(facts: Mapping[str, Any], name: str) -> list[str]:
    found = facts.get(name)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise InputError("not a list of texts", field=f"facts.{name}", value=found)
    return found


def _apart(settings: Settings, targets: Iterable[_Target]) -> None:
    """Return when no tree holds our own folders or a database: an exchange would move them."""
    own = [settings.folders.base] + ([settings.database.data] if settings.database else [])
    for target in targets:
        for path in own:
            if path.resolve().is_relative_to(target.live):
                raise Stop(
                    Exit.CONFIG,
                    "the tree holds what must not be exchanged with it",
                    fact=f"{path} lies in {target.live}",
                    fix="move it out of there",
                )


def _fits(targets: Iterable[_Target], reserve_bytes: int) -> None:
    """Return when every second tree fits beside the first, and can be exchanged with it."""
    needs: dict[int, tuple[int, Path]] = {}
    for target in targets:
        need = measure(target.live, target.name, target.own)
        need += sum(one.size_bytes // _BLOCK * _BLOCK + 2 * _BLOCK for one in target.members)
        device = target.live.parent.stat().st_dev
        before = needs.get(device, (reserve_bytes, target.live.parent))[0]
        needs[device] = (before + need, target.live.parent)
    for need, folder in needs.values():
        free = durable.free_bytes(folder)
        if free < need:
            raise Stop(
                Exit.NO_SPACE,
                "no space for a second tree",
                fact=f"needs {need} bytes at {folder}, has {free}",
                fix="free some space there; nothing has changed",
            )


def _staged(
    settings: Settings,
    store: Store,
    stored: StoredSet,
    targets: Iterable[_Target],
    clock: Clock,
) -> Plan:
    """Return the plan, all new trees whole and on the disk beside the live ones."""
    limit_s = settings.limits.restore_s
    pairs = []
    for target in targets:
        folder = new_folder(target.live, target.name, stored.id)
        durable.make_folder(folder)
        archive = store.folder(stored) / "data" / archive_name(target.name)
        unpack(archive, target.members, folder, limit_s=limit_s, own=os.geteuid() == 0)
        for path in target.own:
            carry(target.live, folder / target.name, path, limit_s=limit_s)
        durable.sync_tree(folder)
        beside = swap_folder(target.live, target.name, stored.id)
        pairs.append(_pair(target.name, target.live, beside, folder / target.name))
    last = installed(settings.folders.state)
    before_id = last.set_id if last else ""
    return Plan(False, stored.id, before_id, clock.wall_ns(), tuple(pairs))


def _undoing(state: Path, clock: Clock) -> Plan:
    last = installed(state)
    if last is None:
        raise Stop(Exit.FAILED, "nothing was installed here", fix="see hasync sets")
    pairs = []
    for pair in last.pairs:
        live = Path(pair.live)
        beside = previous_folder(live, pair.name)
        pairs.append(_pair(pair.name, live, beside, beside / pair.name))
    return Plan(True, last.before_id, last.set_id, clock.wall_ns(), tuple(pairs))


def _pair(name: str, live: Path, beside: Path, other: Path) -> Pair:
    with durable.telling("look at", other):
        inode = other.lstat().st_ino
    with durable.telling("look at", live):
        return Pair(name, str(live), str(beside), live.lstat().st_ino, inode)


@contextmanager
def _cleaned(targets: Iterable[_Target], state: Path) -> Iterator[None]:
    """Remove the new trees at the end, unless a plan still needs them."""
    try:
        yield
    finally:
        if unsettled(state) is None:
            for target in targets:
                remove_unplanned(target.live, target.name)


def _result(plan: Plan) -> InstallResult:
    previous = [str(previous_folder(Path(pair.live), pair.name)) for pair in plan.pairs]
    return InstallResult(plan.set_id, tuple(pair.live for pair in plan.pairs), tuple(previous))
