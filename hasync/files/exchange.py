"""The edge that exchanges folder trees by rename: each is the old one or the new, never a mixture.

    extract ─▶ .hasync-new-NAME-ID/NAME      may be thrown away at any time
    plan written to state/install.json       from here on `settle` knows what to do
    rename  ─▶ .hasync-swap-NAME-ID/NAME
    exchange with the live tree              one root after the other
    rename  ─▶ .hasync-prev-NAME/NAME        the tree that was live; `undo` exchanges it back
    plan removed

Law: what has happened is read from the folders' inode numbers, which travel with them through a
rename. Nothing exchanged: all is taken back. Something exchanged: the rest follows.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.manifest import canonical, parse_object
from hasync import durable
from hasync.failure import Exit, Stop
from hasync.sets.manifest import checked_id

PLAN = "install.json"  # in state/: an exchange that has not been settled
INSTALLED = "installed.json"  # in state/: the last one that was
NO_SET = "(before the first install)"
_MAX_PLAN_BYTES = 1 << 20
_ROOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pair:
    """One root: its live tree, and the tree that takes its place."""

    name: str
    live: str
    beside: str  # the folder that holds the other tree, below it under `name`
    old_inode: int  # of the tree that was live when the plan was made
    new_inode: int

    @property
    def other(self) -> Path:
        """Return the tree that is not live."""
        return Path(self.beside, self.name)

    @property
    def exchanged(self) -> bool:
        """Say whether the new tree is live.

        Raises:
            Stop: what is live is neither of the two.
        """
        with durable.telling("look at", Path(self.live)):
            found = Path(self.live).lstat().st_ino
        if found not in {self.old_inode, self.new_inode}:
            raise Stop(
                Exit.RECOVER,
                "the live tree is neither the old one nor the new",
                fact=f"{self.live}: somebody has replaced it",
                fix=f"compare it with {self.beside} by hand, then remove state/{PLAN}",
            )
        return found == self.new_inode


@dataclass(frozen=True, slots=True)
class Plan:
    """An exchange of several roots at once."""

    undo: bool  # with the previous trees; else with new ones, made for the set `set_id`
    set_id: str  # whose trees become live; "": those before the first install
    before_id: str  # whose trees were live
    at_ns: int
    pairs: tuple[Pair, ...]

    def encode(self) -> bytes:
        """Return the text of the plan file."""
        return canonical(asdict(self))

    @classmethod
    def parse(cls, data: bytes, file: str) -> "Plan":
        """Return the plan that *data* is.

        Raises:
            InputError: not one of ours.
        """
        found = parse_object(data, limit_bytes=_MAX_PLAN_BYTES, file=file)
        wanted = {"undo": bool, "set_id": str, "before_id": str, "at_ns": int, "pairs": list}
        _typed(found, wanted, file)
        pairs = []
        for pair in found["pairs"]:
            kinds = {"name": str, "live": str, "beside": str, "old_inode": int, "new_inode": int}
            _typed(pair, kinds, file)
            if not _ROOT.fullmatch(pair["name"]):
                raise InputError("no name of a root", file=file, value=pair["name"])
            pairs.append(Pair(**pair))
        for name in ("set_id", "before_id"):
            if found[name] or (name == "set_id" and not found["undo"]):
                checked_id(found[name])
        own = {name: found[name] for name in wanted if name != "pairs"}
        return cls(pairs=tuple(pairs), **own)


def _typed(found: Any, wanted: dict[str, type], file: str) -> None:  # noqa: ANN401 - JSON
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        raise InputError("not a plan of an exchange", file=file)
    for name, kind in wanted.items():
        if type(found[name]) is not kind:
            raise InputError("wrong type", file=file, field=name, value=found[name])


def checked_root(name: str) -> str:
    """Return *name* when a root may have it.

    Raises:
        InputError: not 1 to 32 letters, digits, - or _, or it begins with - or _.
    """
    if not _ROOT.fullmatch(name):
        raise InputError("not a root's name (letters, digits, - and _)", field="name", value=name)
    return name


def new_folder(live: Path, name: str, set_id: str) -> Path:
    """Return where a new tree is made: beside the live one, so that a rename can exchange them."""
    return live.parent / f".hasync-new-{name}-{set_id[:8]}"


def swap_folder(live: Path, name: str, set_id: str) -> Path:
    """Return where the new tree waits, and the old one after it."""
    return live.parent / f".hasync-swap-{name}-{set_id[:8]}"


def previous_folder(live: Path, name: str) -> Path:
    """Return where the tree before the live one stays."""
    return live.parent / f".hasync-prev-{name}"


def remove_unplanned(live: Path, name: str) -> tuple[str, ...]:
    """Remove the trees that were never planned to be live, or are so no more; return which."""
    pattern = re.compile(rf"\.hasync-(new|gone)-{re.escape(name)}-[0-9a-f]{{8}}")
    with durable.telling("list", live.parent):
        found = [one for one in live.parent.iterdir() if pattern.fullmatch(one.name)]
    for folder in found:
        durable.remove_tree(folder)
    return tuple(str(folder) for folder in sorted(found))


def unsettled(state: Path) -> Plan | None:
    """Return the exchange that was begun and not settled; None when there is none.

    Raises:
        InputError: the plan cannot be read.
    """
    path = state / PLAN
    return Plan.parse(durable.read(path, _MAX_PLAN_BYTES), str(path)) if path.exists() else None


def installed(state: Path) -> Plan | None:
    """Return the last exchange that was settled; None when there is none.

    Raises:
        InputError: the record cannot be read.
    """
    path = state / INSTALLED
    return Plan.parse(durable.read(path, _MAX_PLAN_BYTES), str(path)) if path.exists() else None


def exchange(state: Path, plan: Plan) -> None:
    """Make the new trees live; when one cannot be exchanged, those before it are taken back.

    Raises:
        Stop: it could not be done. Code RECOVER: nor taken back.
    """
    durable.write(state / PLAN, plan.encode())
    try:
        for pair in plan.pairs:
            _forward(pair, plan)
    except Stop as stop:
        try:
            _back(state, plan)
        except Stop as second:
            raise Stop(
                Exit.RECOVER, "the trees are of two sets", fact=str(second), fix="hasync recover"
            ) from stop
        raise


def _forward(pair: Pair, plan: Plan) -> None:
    new = new_folder(Path(pair.live), pair.name, plan.set_id)
    if not plan.undo and new.exists():
        durable.rename(new, Path(pair.beside))
    if not pair.exchanged:
        durable.exchange(pair.other, Path(pair.live))


def _back(state: Path, plan: Plan) -> None:
    """Take back what was exchanged, and forget the plan."""
    for pair in plan.pairs:
        if pair.exchanged:
            durable.exchange(pair.other, Path(pair.live))
    if not plan.undo:
        for pair in plan.pairs:
            new = new_folder(Path(pair.live), pair.name, plan.set_id)
            if Path(pair.beside).exists():
                durable.rename(Path(pair.beside), new)  # a name that may be thrown away
            durable.remove_tree(new)
    _forget(state)


def confirm(state: Path, plan: Plan) -> None:
    """Keep the trees that were live as the previous ones, and forget the plan."""
    if not plan.undo:
        for pair in plan.pairs:
            _keep_previous(pair, plan)
    durable.write(state / INSTALLED, plan.encode())
    _forget(state)


def _keep_previous(pair: Pair, plan: Plan) -> None:
    live, swap = Path(pair.live), Path(pair.beside)
    previous = previous_folder(live, pair.name)
    gone = live.parent / f".hasync-gone-{pair.name}-{plan.set_id[:8]}"
    if swap.exists():
        if previous.exists():
            durable.remove_tree(gone)
            durable.rename(previous, gone)
        durable.rename(swap, previous)
    durable.remove_tree(gone)


def _forget(state: Path) -> None:
    with durable.telling("remove", state / PLAN):
        (state / PLAN).unlink()
        durable.sync_folder(state)


def settle(state: Path, plan: Plan) -> str:
    """Return in words how an exchange that was interrupted has now ended.

    Raises:
        Stop: it can go neither way.
    """
    if not any(pair.exchanged for pair in plan.pairs):
        _back(state, plan)
        return f"set {plan.set_id or NO_SET}: nothing was exchanged, all is as before"
    for pair in plan.pairs:
        _forward(pair, plan)
    confirm(state, plan)
    return f"set {plan.set_id or NO_SET}: exchange completed"
