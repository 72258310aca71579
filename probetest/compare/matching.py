"""Their rows beside ours: equal, different, or there on one side only.

What belongs together: a bucket by its start; a party by its bucket and text; a call by Call-ID, or
without one by both parties and its start; a stream by both endpoints and SSRC. Of several that fit
the one that began nearest is taken, each once.

A top list of n rows is right when each of its parties has as many calls as it says, and no party
that it leaves out has more than its last one: where parties have as many, any of them may stand.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.buckets import NS
from harness.records import StreamRecord
from harness.views import moment
from probetest.compare.counting import (
    Counted,
    Observed,
    by_bucket,
    by_party,
    counted,
    streams,
)
from probetest.compare.evidence import Evidence
from probetest.compare.report import Kind, Report, Reported
from probetest.compare.way import OURS, Way

START_TOLERANCE_NS = 2 * NS  # of two clocks, where Call-IDs are not given
Value = str | float | None


class Verdict(StrEnum):
    """What a row comes to."""

    EQUAL = "equal"
    DIFFERS = "differs"
    ONLY_OURS = "only ours"
    ONLY_THEIRS = "only theirs"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, ours and theirs."""

    kind: Kind
    what: str  # which bucket, party, call or stream
    figure: str
    ours: Value
    theirs: Value
    verdict: Verdict
    line: int  # of their file; 0: it is not there

    @property
    def difference(self) -> float | None:
        """Return theirs less ours, where both are numbers."""
        if isinstance(self.ours, str | None) or isinstance(self.theirs, str | None):
            return None
        return self.theirs - self.ours


def compare(evidence: Evidence, observed: Observed, report: Report) -> list[Row]:
    """Return every figure of *report* beside ours."""
    return list(figures(evidence, observed, report))


def figures(
    evidence: Evidence, observed: Observed, report: Report, way: Way = OURS
) -> Iterator[Row]:
    """Yield every figure of *report* beside that of the evidence, counted in some way."""
    if Kind.STREAM in report.kinds:
        theirs, found = report.of(Kind.STREAM).rows, streams(observed, way)
        yield _count(Kind.STREAM, len(found), len(theirs))
        yield from _streams(theirs, found)
    if report.kinds == (Kind.STREAM,):
        return
    calls = counted(evidence, way)
    for kind in report.kinds:
        theirs = report.of(kind).rows
        match kind:
            case Kind.TOTAL:
                for one in theirs:
                    yield from _figures(one, "", {"calls": len(calls)})
            case Kind.BUCKET:
                yield from _buckets(theirs, calls, observed, way)
            case Kind.TOP_SOURCE | Kind.TOP_DESTINATION:
                side = "source" if kind is Kind.TOP_SOURCE else "destination"
                yield from _tops(theirs, by_party(calls, observed, way, side), observed.zone)
            case Kind.CALL:
                yield _count(kind, len(calls), len(theirs))
                yield from _calls(theirs, calls, observed.zone)
            case Kind.STREAM:
                pass  # told before


def is_equal(rows: Iterable[Row]) -> bool:
    """Say whether nothing differs."""
    return all(row.verdict is Verdict.EQUAL for row in rows)


def _figures(theirs: Reported, what: str, ours: Mapping[str, Value]) -> Iterator[Row]:
    """Yield the figures that *theirs* gives."""
    for name, number in theirs.numbers.items():
        value = ours.get(name)
        same = isinstance(value, int | float) and number.is_near(value)
        yield _row(theirs, what, name, (value, number.value), same=same)
    for name, text in theirs.texts.items():
        value = ours.get(name)
        yield _row(theirs, what, name, (value, text), same=value == text)


def _row(theirs: Reported, what: str, name: str, values: tuple[Value, Value], *, same: bool) -> Row:
    verdict = Verdict.EQUAL if same else Verdict.DIFFERS
    return Row(theirs.kind, what, name, *values, verdict, theirs.line)


def _count(kind: Kind, ours: int, theirs: int) -> Row:
    verdict = Verdict.EQUAL if ours == theirs else Verdict.DIFFERS
    return Row(kind, "all", "rows", ours, theirs, verdict, 0)


def _alone(theirs: Reported, what: str) -> Iterator[Row]:
    """Yield what only they have."""
    given: dict[str, Value] = {**{n: v.value for n, v in theirs.numbers.items()}, **theirs.texts}
    for name, value in list(given.items())[:1] or [("row", "there")]:
        yield Row(theirs.kind, what, name, None, value, Verdict.ONLY_THEIRS, theirs.line)


def _buckets(
    theirs: Sequence[Reported], calls: tuple[Counted, ...], observed: Observed, way: Way
) -> Iterator[Row]:
    ours = {one.at_ns: one for one in by_bucket(calls, observed, way)}
    heard = set()
    for row in theirs:
        at_ns = row.at_ns or 0
        what = moment(at_ns, observed.zone)
        heard.add(at_ns)
        if (found := ours.get(at_ns)) is None:
            if any(number.value for number in row.numbers.values()):
                yield from _alone(row, what)
            continue
        values = {"calls": found.calls, "rate": found.rate, "peak": found.peak}
        yield from _figures(row, what, values)
    for at_ns, found in ours.items():
        if at_ns not in heard and found.calls:
            what = moment(at_ns, observed.zone)
            yield Row(Kind.BUCKET, what, "calls", found.calls, None, Verdict.ONLY_OURS, 0)


def _tops(theirs: Sequence[Reported], ours: Mapping[int, Counter[str]], zone: str) -> Iterator[Row]:
    groups: defaultdict[int, list[Reported]] = defaultdict(list)
    for row in theirs:
        groups[row.at_ns or 0].append(row)
    for at_ns, rows in groups.items():
        found, label = ours.get(at_ns, Counter()), moment(at_ns, zone)
        for row in rows:
            what = f"{label} {row.key[0]}"
            if row.key[0] in found:
                yield from _figures(row, what, _ranked(found, row.key[0], row))
            else:
                yield from _alone(row, what)
        named = {row.key[0] for row in rows}
        least = min((found[name] for name in named), default=0)
        for party, calls in found.items():
            if party not in named and calls > least:
                yield Row(
                    rows[0].kind, f"{label} {party}", "calls", calls, None, Verdict.ONLY_OURS, 0
                )
    for at_ns in ours.keys() - groups.keys():
        label, number = moment(at_ns, zone), sum(ours[at_ns].values())
        yield Row(theirs[0].kind, label, "calls", number, None, Verdict.ONLY_OURS, 0)


def _ranked(found: Counter[str], party: str, theirs: Reported) -> dict[str, Value]:
    """Return the calls of a party and its place: theirs, where it is one of those that fit."""
    calls = found[party]
    first = 1 + sum(other > calls for other in found.values())
    last = first + sum(other == calls for other in found.values()) - 1
    place = theirs.numbers.get("place")
    fits = place is not None and first <= place.value <= last
    share = 100 * calls / found.total()
    return {"calls": calls, "place": place.value if fits and place else first, "percent": share}


def _calls(theirs: Sequence[Reported], ours: tuple[Counted, ...], zone: str) -> Iterator[Row]:
    by_key: defaultdict[tuple[str, ...], list[Counted]] = defaultdict(list)
    with_id = any(row.key for row in theirs)
    for call in ours:
        by_key[(call.call_id,) if with_id else (call.source, call.destination)].append(call)
    for row in theirs:
        key = row.key or (row.texts.get("source", ""), row.texts.get("destination", ""))
        found = _nearest(by_key[key], row, anywhere=bool(row.key))
        what = key[0] if row.key else " to ".join(key)
        if found is None:
            yield from _alone(row, what)
            continue
        by_key[key].remove(found)
        lasted = None if found.duration_ns is None else found.duration_ns / NS
        values: dict[str, Value] = {
            "source": found.source,
            "destination": found.destination,
            "status": found.status,
            "duration": lasted,
        }
        if row.at_ns is not None:
            same = abs(row.at_ns - found.at_ns) <= row.at_tolerance_ns
            times = (moment(found.at_ns, zone), moment(row.at_ns, zone))
            yield _row(row, what, "start", times, same=same)
        yield from _figures(row, what, values)
    for calls in by_key.values():
        for call in calls:
            what = call.call_id if with_id else f"{call.source} to {call.destination}"
            began = moment(call.at_ns, zone)
            yield Row(Kind.CALL, what, "start", began, None, Verdict.ONLY_OURS, 0)


def _nearest(calls: list[Counted], row: Reported, *, anywhere: bool) -> Counted | None:
    """Return that of *calls* which began nearest, without a Call-ID at most 2 s apart."""
    at_ns = row.at_ns
    if at_ns is None or not calls:
        return calls[0] if calls else None
    best = min(calls, key=lambda call: abs(call.at_ns - at_ns))
    near = abs(best.at_ns - at_ns) <= START_TOLERANCE_NS + row.at_tolerance_ns
    return best if anywhere or near else None


def _streams(theirs: Sequence[Reported], ours: Sequence[StreamRecord]) -> Iterator[Row]:
    by_key: defaultdict[tuple[str, ...], list[StreamRecord]] = defaultdict(list)
    for stream in ours:
        by_key[stream.source, stream.destination, f"0x{stream.ssrc:08X}"].append(stream)
    for row in theirs:
        what = f"{row.key[0]} to {row.key[1]} {row.key[2]}"
        if not by_key[row.key]:
            yield from _alone(row, what)
            continue
        stream = by_key[row.key].pop(0)
        values = {name: getattr(stream, name) for name in row.numbers}
        # Where nothing counts for jitter others write a 0, and we nothing.
        values = {name: 0.0 if one is None else one for name, one in values.items()}
        yield from _figures(row, what, values)
    for key, left in by_key.items():
        for stream in left:
            what = f"{key[0]} to {key[1]} {key[2]}"
            yield Row(Kind.STREAM, what, "packets", stream.packets, None, Verdict.ONLY_OURS, 0)
