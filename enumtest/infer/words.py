"""What was inferred of an SBC, in words for people and as JSON for programs (docs/formats.md)."""

from collections.abc import Iterator, Sequence

from enumtest.infer.inference import Inference
from enumtest.infer.inferred import Inferred, base, interval_s
from enumtest.traffic.hop_table import Cite

SCHEMA = 1
SHOWN = 4  # frames on one line
S = 1_000_000_000  # nanoseconds
_WIDTH = 34


def lines(found: Inference) -> Iterator[str]:
    """Yield what is known, then what fits but is not sure, then what to do to see the rest."""
    files = ", ".join(map(base, found.captures))
    yield f"{found.client}: {found.calls} calls to {', '.join(found.servers)} in {files}"
    yield from (f"note: {note}" for note in found.notes)
    rows = [one for one in found.values if not _is_part(one)]
    yield from _table("Measured", [one for one in rows if one.known])
    maybe = [one for one in rows if not one.known and one.value is not None]
    yield from _table("Fits, but so does something else", maybe)
    todo: dict[str, list[str]] = {}
    for one in rows:
        if not one.known:
            todo.setdefault(one.provoke or one.seen, []).append(named(one.path))
    if todo:
        yield "Not observed: what would show it"
    for deed, paths in todo.items():
        yield f"  {deed}:"
        yield f"    {', '.join(paths)}"


def _is_part(one: Inferred) -> bool:
    """Say whether it is one send of a schedule, which stands in the schedule already."""
    return one.path.startswith("retransmission.schedule_ns.")


def _table(title: str, rows: Sequence[Inferred]) -> Iterator[str]:
    if rows:
        yield title
    for one in rows:
        frames = _frames(one.cites)
        yield f"  {named(one.path):{_WIDTH}} {shown(one)}"
        yield f"    {one.seen}{f' ({frames})' if frames else ''}"


def _frames(cites: Sequence[Cite]) -> str:
    if not cites:
        return ""
    one_file = len({cite.capture for cite in cites}) == 1
    told = [str(cite.frame) if one_file else f"{base(cite.capture)} {cite.frame}" for cite in cites]
    more = ", …" if len(told) > SHOWN else ""
    return f"frame{'s' * (len(told) > 1)} {', '.join(told[:SHOWN])}{more}"


def named(path: str) -> str:
    """Return *path* without its unit: times are shown in seconds."""
    return path.removesuffix("_ns")


def shown(one: Inferred) -> str:
    """Return the value, and its interval where it has one."""
    value = _plain(one)
    if isinstance(value, list):
        text = ", ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
        text = text or ("all the same" if one.path == "selection.weights" else "none")
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    if one.is_time:
        text += " s"
        if one.low != one.high:
            text += f"   ({interval_s(one.low, one.high)})"
    elif one.low != one.high and one.high is not None:
        text += f"   ({one.low} to {one.high})"
    return text


def _plain(one: Inferred) -> object:
    """Return the value as JSON has it, times in seconds."""
    value = one.value
    if isinstance(value, tuple):
        return [part / S for part in value] if one.is_time else list(value)
    if one.is_time and isinstance(value, int):
        return value / S
    return value


def _bound(one: Inferred, bound: int | None) -> float | int | None:
    return bound / S if one.is_time and bound is not None else bound


def event(found: Sequence[Inference]) -> dict[str, object]:
    """Return everything as one JSON object; times in seconds."""
    return {"schema": SCHEMA, "sbcs": [_sbc(one) for one in found]}


def _sbc(found: Inference) -> dict[str, object]:
    return {
        "client": found.client,
        "servers": list(found.servers),
        "captures": list(found.captures),
        "calls": found.calls,
        "notes": list(found.notes),
        "values": [_value(one) for one in found.values],
    }


def _value(one: Inferred) -> dict[str, object]:
    is_time = one.is_time or _is_part(one)
    value: object = _plain(one)
    low, high = _bound(one, one.low), _bound(one, one.high)
    if _is_part(one):
        value = one.value / S if isinstance(one.value, int) else None
        low, high = (None if bound is None else bound / S for bound in (one.low, one.high))
    return {
        "path": one.path,
        "known": one.known,
        "value": value,
        "low": low,
        "high": high,
        "unit": "s" if is_time else "",
        "samples": one.samples,
        "seen": one.seen,
        "frames": [{"file": cite.capture, "frame": cite.frame} for cite in one.cites],
        "provoke": one.provoke,
    }
