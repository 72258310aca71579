"""A verdict as lines for a terminal: the sentence, strips of characters, rulings worst first.

Laws: one ruling, one line; nothing from the wire can drive the terminal; ASCII alone, because a
log of a CI run or a console on site shows nothing else for sure.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from enumtest.judge.ruling import Judgement, Ruling
from enumtest.verdict.chart import numbered
from enumtest.verdict.marks import SECOND, Kind, Window, marks_of
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

WIDTH = 72  # characters of a strip
MAX_LOOKS = 3  # tshark lines
NAME_CHARS = 12
LEGEND = {
    ".": "answered",
    "o": "no answer",
    "x": "error or unreadable answer",
    "l": "too late",
    "%": "answers and failures",
    "+": "probe",
    "=": "held down",
    "~": "perhaps held",
    "!": "rule broken",
}
_CHARACTERS = (  # of a bin, the first that is in it
    (".", (Kind.ANSWERED, Kind.NO_NUMBER, Kind.TRUNCATED)),
    ("+", (Kind.PROBE_ANSWERED, Kind.PROBE_FAILED)),
)
_WRONG = (
    ("x", (Kind.ERROR, Kind.UNREADABLE)),
    ("o", (Kind.SILENT,)),
    ("l", (Kind.LATE,)),
)
_STATES = {"held": "=", "maybe held": "~"}


def lines(report: Report) -> Iterator[str]:
    """Yield the verdict line by line."""
    hops, assumed = report.table.hops, "" if report.vantage_said else ", assumed"
    servers = ", ".join(f"{name} {at}" for name, at in report.servers.items())
    yield printable(f"{report.outcome}: profile {report.profile.name}, servers {servers}")
    yield (
        f"{len(report.table):,} calls, {len(hops):,} questions to a server, "
        f"{len(hops.send_ns) - len(hops):,} times sent again; taken at the {_place(report)}"
        f"{assumed}; {utc(report.begins_ns)} to {utc(report.ends_ns)} UTC"
    )
    for doubt in report.doubts:
        yield printable(f"{doubt.grade}: {doubt}")
    for judgement in report.worst_first:
        yield ""
        yield from _sbc(report, judgement)


def _place(report: Report) -> str:
    return "SBC" if report.vantage.value == "sbc" else "servers"


def _sbc(report: Report, judgement: Judgement) -> Iterator[str]:
    """Yield all about one SBC."""
    yield printable(
        f"{report.outcome_of(judgement)}  SBC {judgement.client}: {sentence(report, judgement)}"
    )
    yield ""
    yield from map(printable, strips(report, judgement))
    yield ""
    numbers = {id(one): number for number, one in numbered(judgement.rulings)}
    rulings = ranked(judgement.rulings)
    width = max((len(one.rule) for one in rulings), default=0)
    for one in rulings:
        yield printable(_ruling(report, one, numbers.get(id(one), 0), width))
    if judgement.notes:
        yield "  what the profile does not say, and no rule asks:"
    for one in judgement.notes:
        yield printable(f"    {one.rule}: {one.observed} ({one.expected})")
    broken = [one for one in rulings if one.outcome is Outcome.FAIL and one.cites]
    for one in broken[:MAX_LOOKS]:
        yield printable(f"  look at {one.rule}: {tshark(report, one.cites[0])}")
    taken = [one for one in judgement.measured if one.samples]
    if taken:
        yield ""
    for measured in taken:
        cited = f"; {report.place(measured.cites[0])}" if measured.cites else ""
        samples = f"{measured.samples} sample" + "s" * (measured.samples != 1)
        yield printable(f"  {measured.name}: {interval(measured)} ({samples}{cited})")
    if todo := advice(report, judgement):
        yield ""
        yield from (printable(f"  next: {one}") for one in todo)


def _ruling(report: Report, one: Ruling, number: int, width: int) -> str:
    whom = f"{one.server}: " if one.server else ""
    text = f"  {one.outcome:5} {number or '':>2} {one.rule:{width}}  {whom}{one.observed}"
    if one.outcome is not Outcome.PASS:
        text += f"; expected: {one.expected}"
    if one.needed:
        text += f"; at least {calls(one.needed)} needed"
    if one.cites:
        others = len(set(one.cites)) - 1  # one frame may end several hold-downs
        more = f" and {others} more" if others else ""
        text += f" [{report.place(one.cites[0])}{more}"
        text += f", {(one.at_ns - report.begins_ns) / SECOND:.3f} s]" if one.at_ns else "]"
    return text


def strips(report: Report, judgement: Judgement, width: int = WIDTH) -> Iterator[str]:
    """Yield a line a server, each character what it saw in one stretch of time; then the scale."""
    hops = report.table.hops
    window = Window(report.begins_ns, max(report.ends_ns, report.begins_ns + 1))
    length_ns = window.until_ns - window.from_ns + 1
    marks = marks_of(hops, judgement.client, window)
    column = np.minimum((marks.at_ns - window.from_ns) * width // length_ns, width - 1)

    def place(at_ns: int) -> int:
        return min(max((at_ns - window.from_ns) * width // length_ns, 0), width - 1)

    used: set[str] = set()
    names = [name[:NAME_CHARS] for name in hops.servers]
    indent = max(map(len, names), default=0)
    for server, name in enumerate(hops.servers):
        line = [" "] * width
        mine = marks.server == server
        _put(line, column, marks.kind, mine, _CHARACTERS)
        for span in judgement.spans:
            if span.server == name and span.state in _STATES:
                for at in range(place(span.from_ns), place(span.until_ns) + 1):
                    line[at] = _STATES[span.state] if line[at] == " " else line[at]
        answered = [at for at, character in enumerate(line) if character == "."]
        _put(line, column, marks.kind, mine, _WRONG)
        for at in answered:
            line[at] = "." if line[at] == "." else "%"
        for ruling in judgement.rulings:
            if ruling.outcome is Outcome.FAIL and ruling.server == name and ruling.at_ns:
                line[place(ruling.at_ns)] = "!"
        used.update(line)
        yield f"  {names[server]:{indent}} |{''.join(line)}|"
    length_s = (report.ends_ns - report.begins_ns) / SECOND
    yield f"  {'':{indent}} 0 s{f'{length_s:.6g} s':>{width - 1}}"
    yield "  " + "  ".join(f"{sign} {words}" for sign, words in LEGEND.items() if sign in used)


def _put(
    line: list[str],
    column: np.ndarray,
    kind: np.ndarray,
    mine: np.ndarray,
    characters: Sequence[tuple[str, tuple[Kind, ...]]],
) -> None:
    """Put each character where a mark of its kinds is; the last one is on top."""
    for character, kinds in reversed(characters):
        for at in np.unique(column[mine & np.isin(kind, kinds)]).tolist():
            line[at] = character
