"""Known bugs of probes, as data, and which of them give exactly the figures that were reported.

Laws: a bug is named only where every figure under it equals theirs; where several do, all are
named; a pair is looked for only where no single one does; where none does, nothing is named.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

from harness.buckets import NS
from probetest.calls.waterfall import Step
from probetest.compare.counting import Observed, number, observed_buckets
from probetest.compare.evidence import Evidence
from probetest.compare.matching import figures, is_equal
from probetest.compare.report import Kind, Report
from probetest.compare.way import OURS, Blind, Once, Way

QUARTER_NS = 900 * NS  # zones differ by whole quarters of an hour
MOST_SHIFT_NS = 14 * 3600 * NS  # UTC+14
MOST_SHIFTS = 120
COUNTED = (Kind.TOTAL, Kind.BUCKET, Kind.TOP_SOURCE, Kind.TOP_DESTINATION, Kind.CALL)

Change = Callable[[Way], Way]
Reading = Callable[[Way], Evidence]  # what a way sees; read again where it reads less


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One bug: what it is called, what it does, and what it offends against."""

    name: str
    words: str
    clause: str
    change: Change
    is_single: bool = False  # never looked at in a pair: there are many of its sort


@dataclass(frozen=True, slots=True)
class Explanation:
    """Bugs that together give their figures exactly."""

    about: tuple[Kind, ...]
    together: tuple[Hypothesis, ...]


def _with_steps(*steps: Step) -> Change:
    return lambda way: replace(way, steps=way.steps | set(steps))


def _blind(what: Blind) -> Change:
    return lambda way: replace(way, view=replace(way.view, blind=way.view.blind | {what}))


def _once(what: Once) -> Change:
    return lambda way: replace(way, once=what)


HYPOTHESES = (
    Hypothesis(
        "no de-duplication",
        "each copy that the tap made is a call of its own",
        "docs/counting-calls.md, copies",
        _with_steps(Step.COPY),
    ),
    Hypothesis(
        "retransmissions counted",
        "an INVITE that was sent again is another call",
        "RFC 3261 17.1.1.2",
        _with_steps(Step.RETRANSMISSION),
    ),
    Hypothesis(
        "re-INVITE counted",
        "an INVITE inside a dialog is another call",
        "RFC 3261 14",
        _with_steps(Step.RE_INVITE),
    ),
    Hypothesis(
        "authentication counted",
        "the INVITE that follows a 401 or 407 is another call",
        "RFC 3261 22.2",
        _with_steps(Step.AUTH_RETRY),
    ),
    Hypothesis(
        "further attempts counted",
        "an INVITE that follows another refusal, or brings more digits, is another call",
        "RFC 3261 8.1.3.4, RFC 3578",
        _with_steps(Step.OVERLAP, Step.OTHER_RETRY),
    ),
    Hypothesis(
        "hops counted apart",
        "the same INVITE at a proxy's next hop, or a fork's branch, is another call",
        "RFC 3261 16.6",
        _with_steps(Step.FURTHER_HOP),
    ),
    Hypothesis(
        "legs counted apart",
        "each leg that a B2BUA makes of a call is another call",
        "RFC 7989, RFC 7315 (icid-value)",
        _with_steps(Step.ONWARD_LEG),
    ),
    Hypothesis(
        "every INVITE counted",
        "each INVITE frame is a call",
        "RFC 3261 12.1, 14, 17.1.1.2, 22.2",
        _with_steps(*Step),
    ),
    Hypothesis(
        "every Call-ID counted",
        "each Call-ID with an INVITE is one call: legs are counted apart, one used again is lost",
        "RFC 3261 8.1.1.4; docs/counting-calls.md, legs",
        _once(Once.CALL_ID),
    ),
    Hypothesis(
        "every dialog counted",
        "each Call-ID is one call, those of REGISTER, OPTIONS and the like too",
        "RFC 3261 12.1",
        _once(Once.DIALOG),
    ),
    Hypothesis(
        "de-duplication by payload only",
        "what was sent before with the same bytes is dropped, however long before and between whom",
        "RFC 3261 17.1.1.2",
        _once(Once.PAYLOAD),
    ),
    Hypothesis(
        "unanswered calls left out",
        "only a call with a 2xx is counted: cancelled and refused ones are lost",
        "RFC 6076 4.6",
        lambda way: replace(way, answered_only=True),
    ),
    Hypothesis(
        "To instead of Request-URI",
        "the destination is taken from To",
        "RFC 3261 8.1.1.1, 8.1.1.2",
        lambda way: replace(way, by_to=True),
    ),
    Hypothesis(
        "Request-URI instead of To",
        "the destination is taken from the Request-URI, where To is to say it",
        "docs/parties.md",
        lambda way: replace(way, by_to=False),
    ),
    Hypothesis(
        "From instead of asserted identity",
        "the source is taken from From, whatever P-Asserted-Identity or Privacy say",
        "RFC 3325 9.1",
        lambda way: replace(way, by_from=True),
    ),
    Hypothesis(
        "numbers not normalised",
        "numbers are counted as they were sent, each spelling apart",
        "ITU-T E.164, RFC 3966 5.1",
        lambda way: replace(way, as_sent=True),
    ),
    Hypothesis(
        "whole-bucket divisor",
        "averages are divided by the whole bucket, not by the seconds that were observed",
        "docs/analyse.md",
        lambda way: replace(way, whole_bucket=True),
    ),
    Hypothesis("TCP not read", "SIP over TCP is not seen", "RFC 3261 18", _blind(Blind.TCP)),
    Hypothesis(
        "first fragment only",
        "a message in several IP fragments is lost",
        "RFC 791 3.2, RFC 8200 4.5",
        _blind(Blind.FRAGMENTS),
    ),
    Hypothesis(
        "one VLAN tag only",
        "frames with two tags or more are not read",
        "IEEE 802.1Q (QinQ)",
        _blind(Blind.SECOND_TAG),
    ),
    Hypothesis(
        "tunnels not opened",
        "what is inside GRE, ERSPAN, VXLAN and the like is not read",
        "RFC 2784, RFC 7348",
        _blind(Blind.TUNNELS),
    ),
    Hypothesis(
        "copies counted as packets",
        "the tap's copies of RTP packets are packets: fewer are lost, even less than none",
        "RFC 3550 A.3",
        lambda way: replace(way, with_copies=True),
    ),
    Hypothesis(
        "Wireshark's convention",
        "packets, loss and jitter are Wireshark's: copies are packets, clocks are rounded",
        "RFC 3550 A.3, A.8; docs/media.md",
        lambda way: replace(way, wireshark=True),
    ),
)


def applicable(evidence: Evidence, observed: Observed, report: Report) -> Iterator[Hypothesis]:
    """Yield the bugs that can show in what *report* is about, those of this capture too."""
    for one in HYPOTHESES:
        changed = one.change(OURS)
        is_heard = changed.with_copies or changed.wireshark
        if is_heard == (Kind.STREAM in report.kinds) and changed.view.blind <= evidence.blind:
            yield one
    if Kind.STREAM in report.kinds:
        return
    if len(evidence.interfaces) > 1:
        for interface in evidence.interfaces:
            yield _one_interface(interface)
    yield from _shifts(observed, report)


def explain(reading: Reading, observed: Observed, report: Report) -> tuple[Explanation, ...]:
    """Return what gives exactly the figures of *report*: about calls, and about streams.

    Where nothing gives all figures about calls, each of its tables is looked at by itself.
    """
    found: list[Explanation] = []
    about_calls = report.of(*COUNTED)
    together = list(_of(reading, observed, about_calls))
    if not together and len(about_calls.kinds) > 1:
        for kind in about_calls.kinds:
            together += _of(reading, observed, about_calls.of(kind))
    found += together
    found += _of(reading, observed, report.of(Kind.STREAM))
    return tuple(found)


def _of(reading: Reading, observed: Observed, report: Report) -> Iterator[Explanation]:
    """Yield every single bug that gives all figures, else every pair."""
    evidence = reading(OURS)
    if not report.kinds or is_equal(figures(evidence, observed, report)):
        return
    every = tuple(applicable(evidence, observed, report))
    wanted = _total(report)
    for size in (1, 2):
        hits = [
            together
            for together in combinations(every, size)
            if (way := _way(together)) is not None
            and (wanted is None or number(reading(way), way) == wanted)
            and is_equal(figures(reading(way), observed, report, way))
        ]
        if hits:
            yield from (Explanation(report.kinds, together) for together in hits)
            return
        every = tuple(one for one in every if not one.is_single)


def _total(report: Report) -> int | None:
    """Return how many calls *report* says there are; None: it need not say."""
    if Kind.CALL in report.kinds:
        return len(report.of(Kind.CALL).rows)
    for kind in (Kind.TOTAL, Kind.BUCKET):
        given = [row.numbers.get("calls") for row in report.of(kind).rows]
        exact = [one.value for one in given if one is not None and not one.tolerance]
        if given and len(exact) == len(given):
            return round(exact[0] if kind is Kind.TOTAL else sum(exact))
    return None


def _way(together: Iterable[Hypothesis]) -> Way | None:
    """Return our way with these changes; None: two of them are about the same thing."""
    way = OURS
    shifted = once = 0
    for one in together:
        before, way = way, one.change(way)
        if way == before:
            return None
        shifted += way.shift_ns != before.shift_ns
        once += way.once != before.once
    return way if shifted < 2 and once < 2 else None  # noqa: PLR2004 - twice is one too often


def _one_interface(interface: int) -> Hypothesis:
    return Hypothesis(
        f"interface {interface} only",
        "one leg of the bond is read, what the other brings is lost",
        "docs/bond-and-replay.md",
        lambda way: replace(way, view=replace(way.view, interface=interface)),
    )


def _shifts(observed: Observed, report: Report) -> Iterator[Hypothesis]:
    """Yield the shifts of time by which a bucket or call of ours could have become one of theirs.

    For calls and buckets by whole quarters of an hour, as zones differ.
    """
    ours = observed_buckets(observed, 0)
    theirs = {row.at_ns for row in report.rows if row.at_ns is not None}
    if ours is None or not theirs:
        return
    likely_ns = _quarters(min(theirs) - ours.starts_ns[0])
    found = {_quarters(at_ns - one) for at_ns in theirs for one in ours.starts_ns}
    if observed.group == "day":  # whose start says nothing of what it holds
        found |= set(range(-MOST_SHIFT_NS, MOST_SHIFT_NS + 1, 2 * QUARTER_NS))
    near = sorted(one for one in found if one and abs(one) <= MOST_SHIFT_NS)
    for shift_ns in near[:MOST_SHIFTS]:
        sign, minutes = "+-"[shift_ns < 0], abs(shift_ns) // (60 * NS)
        yield Hypothesis(
            f"times of another zone, {sign}{minutes // 60:02}:{minutes % 60:02}",
            "times are written in another zone than they are said to be in, such as local time",
            "ISO 8601 (offset)",
            partial(_shifted, shift_ns),
            is_single=shift_ns != likely_ns,
        )


def _shifted(shift_ns: int, way: Way) -> Way:
    return replace(way, shift_ns=shift_ns)


def _quarters(span_ns: int) -> int:
    return round(span_ns / QUARTER_NS) * QUARTER_NS
