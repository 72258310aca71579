"""A verdict as one HTML file: pictures, rulings with their frames, measurements, sources.

Laws: no script, no network, no font file; all text is escaped, by the template engine or by
`enumtest.verdict.chart`; nothing is in a picture alone; the same report gives the same text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from enumtest.judge.ruling import Judgement, Ruling, Span, Vantage
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_table import Cite, Watch
from enumtest.verdict.chart import chart, numbered
from enumtest.verdict.marks import SECOND, Window
from enumtest.verdict.report import (
    Report,
    advice,
    calls,
    interval,
    printable,
    ranked,
    sentence,
    tshark,
    utc,
)
from harness.finding import Outcome

MAX_SBCS = 20  # with a section of their own
MAX_CLOSE = 4  # pictures of single violations
CLOSE_NS = 10 * SECOND  # the least on either side of a violation
CLOSE_SHARE = 4  # a closer look at more than this part of the whole would show nothing new
MAX_CITED = 6  # frames named in a row
LIMITS = (
    "What was not captured: a packet that the tap missed is not told from one never sent.",
    "What the SBC did with its calls: SIP is not read here.",
    "What rules no traffic put to the test (they are OTHER above), or values that nobody knows.",
    "That the SBC does the same tomorrow, with another software or another configuration.",
)
_VANTAGES = {
    Vantage.SBC: "at the SBC: it saw what is in the captures, and nothing else",
    Vantage.SERVERS: "at the servers: a packet may be lost between tap and SBC, and clocks differ",
}
MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One strip chart."""

    title: str
    svg: str
    note: str


@dataclass(frozen=True, slots=True)
class RulingRow:
    """One ruling as the table shows it."""

    number: int  # in the pictures; 0: not in them
    outcome: Outcome
    rule: str
    server: str
    expected: str
    observed: str
    needed: str
    first: str
    when: str
    others: str
    look: str


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One measurement as the table shows it."""

    name: str
    between: str
    samples: int
    first: str


@dataclass(frozen=True, slots=True)
class Section:
    """All about one SBC."""

    ident: str
    client: str
    outcome: Outcome
    sentence: str
    pictures: tuple[Picture, ...]
    rulings: tuple[RulingRow, ...]
    measured: tuple[MeasuredRow, ...]
    unseen: tuple[str, ...]
    advice: tuple[str, ...]
    notes: tuple[tuple[str, str, str], ...]  # rule, what was seen, why no rule asks for it


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """The profile as the page shows it."""

    name: str
    title: str
    unknown: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]  # path, value, source


def page(report: Report) -> str:
    """Return the whole document."""
    sections = [
        _section(report, one, f"s{at}") for at, one in enumerate(report.worst_first[:MAX_SBCS])
    ]
    return (
        _environment()
        .get_template("verdict.html.j2")
        .render(
            title=f"ENUM behaviour against the profile {report.profile.name}",
            outcome=report.outcome,
            facts=list(_facts(report)),
            doubts=[printable(f"{one.grade}: {one}") for one in report.doubts],
            sbcs=sections,
            captures=[_capture(one) for one in report.table.hops.watches],
            profile=_profile(report.profile),
            limits=LIMITS,
        )
    )


def picture(report: Report) -> str:
    """Return the first picture alone, as an SVG file."""
    window = Window(report.begins_ns, report.ends_ns)
    text, _ = chart(report.table.hops, report.worst_first[0], window)
    paper = '<rect width="100%" height="100%" fill="#fff"/>'  # a viewer may be dark
    return text.replace("</defs>", f"</defs>{paper}", 1) + "\n"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what was judged, and how."""
    hops, assumed = report.table.hops, "" if report.vantage_said else " (assumed)"
    probes = int(hops.probe.sum())
    yield "Profile", f"{report.profile.name}: {report.profile.title}"
    yield "Servers", ", ".join(f"{name} {at}" for name, at in report.servers.items())
    yield "Captured", f"{_VANTAGES[report.vantage]}{assumed}"
    yield "Time", f"{utc(report.begins_ns)} to {utc(report.ends_ns)} UTC"
    calls = f"{len(report.table):,} calls, {len(hops) - probes:,} questions to a server"
    yield "Traffic", f"{calls} ({_again(report):,} times sent again), {probes:,} probes"
    if len(report.judgements) > 1:
        found = [f"{one.client} {report.outcome_of(one)}" for one in report.worst_first[:MAX_SBCS]]
        yield "SBCs", ", ".join(found)
    if len(report.judgements) > MAX_SBCS:
        yield "Shown", f"the first {MAX_SBCS} of {len(report.judgements)} SBCs; all are in --json"
    yield "Made by", f"enumtest {report.version}: {printable(report.command)}"


def _again(report: Report) -> int:
    return len(report.table.hops.send_ns) - len(report.table.hops)


def _section(report: Report, judgement: Judgement, ident: str) -> Section:
    return Section(
        ident=ident,
        client=judgement.client,
        outcome=report.outcome_of(judgement),
        sentence=printable(sentence(report, judgement)),
        pictures=tuple(_pictures(report, judgement, ident)),
        rulings=tuple(_rows(report, judgement)),
        measured=tuple(
            MeasuredRow(
                printable(one.name),
                interval(one),
                one.samples,
                printable(report.place(one.cites[0])) if one.cites else "",
            )
            for one in judgement.measured
            if one.samples
        ),
        unseen=tuple(printable(one.name) for one in judgement.measured if not one.samples),
        advice=tuple(map(printable, advice(report, judgement))),
        notes=tuple(
            (printable(one.rule), printable(one.observed), printable(one.expected))
            for one in judgement.notes
        ),
    )


def _pictures(report: Report, judgement: Judgement, ident: str) -> Iterator[Picture]:
    """Yield the whole time, and a closer look at violations that are too small in it."""
    whole = Window(report.begins_ns, report.ends_ns)
    svg, note = chart(report.table.hops, judgement, whole, ident=f"{ident}-all")
    yield Picture("The whole time", svg, note)
    done: list[Window] = []
    for number, ruling in numbered(judgement.rulings):
        if len(done) == MAX_CLOSE:
            return
        window = close_window(ruling, judgement.spans, whole)
        if window is None or any(one.covers(ruling.at_ns) for one in done):
            continue
        done.append(window)
        svg, note = chart(report.table.hops, judgement, window, ident=f"{ident}-c{number}")
        yield Picture(f"A closer look at {number}: {ruling.rule}", svg, note)


def close_window(ruling: Ruling, spans: tuple[Span, ...], whole: Window) -> Window | None:
    """Return the time around a violation, or None when the whole picture shows it well enough.

    It holds the state of the server in which the violation lies, and that before it when the
    violation is soon after it: an early return is understood from where it should have been.
    """
    if not whole.covers(ruling.at_ns) or not ruling.at_ns:
        return None
    from_ns, until_ns = ruling.at_ns - CLOSE_NS, ruling.at_ns + CLOSE_NS
    near = [
        one
        for one in spans
        if one.server == ruling.server
        and one.state != "in service"
        and one.from_ns - CLOSE_NS <= ruling.at_ns <= one.until_ns + CLOSE_NS
    ]
    for one in near:
        pad_ns = max(SECOND, (one.until_ns - one.from_ns) // 4)
        from_ns, until_ns = min(from_ns, one.from_ns - pad_ns), max(until_ns, one.until_ns + pad_ns)
    from_ns, until_ns = max(from_ns, whole.from_ns), min(until_ns, whole.until_ns)
    if (until_ns - from_ns) * CLOSE_SHARE > whole.until_ns - whole.from_ns:
        return None
    return Window(from_ns, until_ns)


def _rows(report: Report, judgement: Judgement) -> Iterator[RulingRow]:
    numbers = {id(one): number for number, one in numbered(judgement.rulings)}
    for one in ranked(judgement.rulings):
        first = one.cites[0] if one.cites else None
        when = f"{(one.at_ns - report.begins_ns) / SECOND:.3f} s" if one.at_ns else ""
        yield RulingRow(
            number=numbers.get(id(one), 0),
            outcome=one.outcome,
            rule=one.rule,
            server=printable(one.server),
            expected=printable(one.expected),
            observed=printable(one.observed),
            needed=f"at least {calls(one.needed)} needed" if one.needed else "",
            first=printable(report.place(first)) if first else "",
            when=when,
            others=printable(_others(report, one.cites)),
            look=printable(tshark(report, first)) if first else "",
        )


def _others(report: Report, cites: tuple[Cite, ...]) -> str:
    """Return the frames behind the first; those of its file by number alone."""
    different = tuple(dict.fromkeys(cites))  # one frame may end several hold-downs
    named = [
        str(one.frame) if one.capture == cites[0].capture else report.place(one)
        for one in different[1:MAX_CITED]
    ]
    return ", ".join(named) + (", …" if len(different) > MAX_CITED else "")


def _capture(watch: Watch) -> tuple[str, ...]:
    clock = f"{watch.ahead_ns / SECOND:+.3f} s" if watch.ahead_ns else "as it is"
    if watch.unsure_ns:
        clock += f" ± {watch.unsure_ns / SECOND:.3g} s"
    lost = "not told" if watch.dropped is None else f"{watch.dropped:,}"
    if watch.cut:
        lost += f"; damaged: {watch.cut}"
    return (
        printable(watch.name),
        ", ".join(watch.servers) or "none",
        utc(watch.begins_ns),
        utc(watch.ends_ns),
        clock,
        printable(lost),
    )


def _profile(profile: Profile) -> ProfileTable:
    told = [one for one in profile.fields() if not one.path.startswith("naptr.")]
    return ProfileTable(  # how records are read is not judged here
        profile.name,
        profile.title,
        tuple(_named(one.path) for one in told if one.source is None),
        tuple(
            (_named(one.path), _value(one.path, one.value), one.source)
            for one in told
            if one.source is not None
        ),
    )


def _named(path: str) -> str:
    return f"{path.removesuffix('_ns')} (ms)" if path.endswith("_ns") else path


def _value(path: str, value: object) -> str:
    """Return a value of a profile for people, times in ms."""
    items = value if isinstance(value, tuple) else (value,)
    if path.endswith("_ns"):
        items = tuple(f"{one / MS:g}" if isinstance(one, int) else one for one in items)
    return ", ".join(map(str, items)) or "none"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("enumtest"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
