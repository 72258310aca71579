"""The edge of the procedure "application": the live folder trees become a set of kind app.

One archive a root, and beside them the list of all members: a set of any size has a manifest of a
few lines. Nothing of the live trees is changed, locked or stopped.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.clock import Clock
from harness.errors import InputError
from hasync import durable, role_file
from hasync.failure import Exit, Stop
from hasync.files.archive import Packed, listing, pack
from hasync.files.exchange import NO_SET, checked_root, unsettled
from hasync.files.exclusions import Rule, excluded, rules
from hasync.files.install import InstallResult, install, settle_install, undo
from hasync.files.members import NAME, Member, archive_name, encode
from hasync.files.tree import resolve
from hasync.operation import Operation, close_unfinished
from hasync.role import SiteFact, may_publish
from hasync.service import probe
from hasync.sets.backup import Kind, StoredSet
from hasync.sets.draft import Draft
from hasync.sets.store import Store
from hasync.settings import Application, Root, Settings

PROCEDURE = "application"
RESERVE_BYTES = 256 << 20  # left free on the file system of the sets
MAX_TOLD = 1000  # paths named one by one in the manifest

__all__ = [
    "InstallResult",
    "Published",
    "install",
    "listed",
    "publish",
    "settle_install",
    "undo",
]


@dataclass(frozen=True, slots=True)
class Published:
    """A new set, and what a person should look at."""

    stored: StoredSet
    warnings: tuple[str, ...]
    files: int
    size_bytes: int  # before compression


def application(settings: Settings) -> Application:
    """Return the application's settings, each root with a name of its own.

    Raises:
        InputError: this host has none, or two roots share a name.
    """
    if settings.application is None or not settings.application.roots:
        raise InputError(
            "no application on this host",
            field="application",
            fix="add [application] to the settings, or run ngpsync on the mediation server",
        )
    names = [checked_root(root.name) for root in settings.application.roots]
    if len(set(names)) != len(names):
        raise InputError("two roots share a name", field="application.roots", value=names)
    return settings.application


def application_rules(found: Application) -> tuple[Rule, ...]:
    """Return the exclusions of the application.

    Raises:
        InputError: a text is no rule.
    """
    return rules(found.exclude, [root.name for root in found.roots])


def listed(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """Return each path with "" when it goes into a set, else why not, and its size in bytes.

    Raises:
        Stop: a root is not there, or a folder cannot be read.
        InputError: no application, or a text that is no rule.
    """
    found = application(settings)
    by = application_rules(found)
    for root in found.roots:
        yield from listing(root.path, root.name, by)


def publish(
    settings: Settings,
    store: Store,
    clock: Clock,
    *,
    peer: SiteFact | None = None,
    seen: int = 0,
) -> Published:
    """Return the new set of the application as it is now.

    *peer* is what the other site says of itself, *seen* its highest sequence, where it answered.

    Raises:
        Stop: this site is not the active one, no space, a root missing or empty, a read failed.
        InputError: the settings do not fit together.
    """
    found = application(settings)
    by = application_rules(found)
    state = settings.folders.state
    close_unfinished(state, PROCEDURE, clock)  # what it left lies in work/, and is swept
    with Operation(PROCEDURE, state, clock, roots=[str(root.path) for root in found.roots]) as own:
        with own.step("guard"):
            role = role_file.read(state)
            refusal = may_publish(role, probe(settings.service), peer)
            if refusal is not None:
                raise refusal
            _settled(state)
            _apart(settings, found.roots, by)
        with own.step("sweep"):
            store.sweep()
        with own.step("space"):
            _fits(settings)
        with store.begin(Kind.APPLICATION) as draft:
            with own.step("archive", id=draft.id):
                snapshot_at_ns = clock.wall_ns()
                packed = _pack(settings, found, by, draft)
            with own.step("manifest"):
                manifest = store.compose(
                    draft,
                    epoch=role.epoch,
                    snapshot_at_ns=snapshot_at_ns,
                    versions={},
                    facts=_facts(found, by, packed),
                    seen=seen,
                )
            with own.step("catalogue"):
                stored = store.publish(draft, manifest)
    warnings = tuple(line for one in packed.values() for line in one.warnings)
    files = sum(len(one.members) for one in packed.values())
    return Published(stored, warnings, files, sum(one.size_bytes for one in packed.values()))


def _settled(state: Path) -> None:
    """Return when the live trees are of one set: an install that was cut would mix two."""
    plan = unsettled(state)
    if plan is not None:
        raise Stop(
            Exit.RECOVER,
            "an exchange of trees was interrupted here",
            fact=f"set {plan.set_id or NO_SET}",
            fix="hasync recover",
        )


def _apart(settings: Settings, roots: Iterable[Root], by: tuple[Rule, ...]) -> None:
    """Return when no root holds our own folders, a database's files, or another root.

    Raises:
        Stop: names the two folders.
    """
    real = {root.name: resolve(root.path) for root in roots}
    own = [settings.folders.base] + ([settings.database.data] if settings.database else [])
    for name, top in real.items():
        others = [path for other, path in real.items() if other != name]
        for inner in [one.resolve() for one in own] + others:
            if not inner.is_relative_to(top):
                continue
            below = f"{name}/{inner.relative_to(top).as_posix()}"
            if excluded(below, regular=False, by=by) is None:
                raise Stop(
                    Exit.CONFIG,
                    "a root of the application holds what is no part of it",
                    fact=f"{inner} lies in {top}",
                    fix=f"exclude {below}, or move it",
                )


def _fits(settings: Settings) -> None:
    sizes = [size for _, why, size in listed(settings) if not why]
    need = sum(sizes) + max(sizes, default=0) + RESERVE_BYTES  # a long file is copied once more
    durable.make_folder(settings.folders.work)
    free = durable.free_bytes(settings.folders.work)
    if free < need:
        raise Stop(
            Exit.NO_SPACE,
            "no space for the set",
            fact=f"needs {need} bytes at {settings.folders.work}, has {free}",
            fix="free some space there; nothing was begun",
        )


def _pack(
    settings: Settings, found: Application, by: tuple[Rule, ...], draft: Draft
) -> dict[str, Packed]:
    """Write all archives and the list of members into the draft, and return what went in."""
    scratch = draft.folder / "scratch"  # under the draft's lock, and gone before it is published
    durable.make_folder(scratch)
    packed: dict[str, Packed] = {}
    try:
        for root in found.roots:
            target = draft.data / archive_name(root.name)
            packed[root.name] = pack(
                root.path,
                root.name,
                target,
                rules=by,
                sqlite=[path for path in found.sqlite if path.startswith(f"{root.name}/")],
                scratch=scratch,
                limit_s=settings.limits.dump_s,
            )
    finally:
        durable.remove_tree(scratch)
    _enough(found, packed)
    _write_members(draft.data / NAME, (member for one in packed.values() for member in one.members))
    return packed


def _write_members(path: Path, members: Iterable[Member]) -> None:
    with durable.telling("write", path), path.open("xb") as file:
        file.writelines(encode(members))


def _enough(found: Application, packed: Mapping[str, Packed]) -> None:
    size_bytes = sum(one.size_bytes for one in packed.values())
    if size_bytes < max(1, found.min_bytes):
        raise Stop(
            Exit.FAILED,
            "the application is smaller than it can be",
            fact=f"{size_bytes} bytes, at least {max(1, found.min_bytes)} expected",
            fix="look at the roots with ngpsync --list; min_bytes is in [application]",
        )


def _facts(
    found: Application, by: tuple[Rule, ...], packed: Mapping[str, Packed]
) -> dict[str, Any]:
    """Return what the manifest says of the set, besides its files."""
    return {
        "roots": [
            {
                "name": root.name,
                "path": str(root.path),
                "members": len(packed[root.name].members),
                "bytes": packed[root.name].size_bytes,
            }
            for root in found.roots
        ],
        "exclude": [rule.text for rule in by],
        "sqlite": _told(path for one in packed.values() for path in one.sqlite),
        "host_links": [path for one in packed.values() for path in one.host_links],
        "left_out": _told(line for one in packed.values() for line in one.left_out),
        "warnings": _told(line for one in packed.values() for line in one.warnings),
    }


def _told(lines: Iterable[str]) -> list[str]:
    every = list(lines)
    return every[:MAX_TOLD] + ([f"and {len(every) - MAX_TOLD} more"] * (len(every) > MAX_TOLD))
