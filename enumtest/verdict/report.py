"""All that the reader of a verdict gets: the one value that page, text and JSON are made from.

Laws: the outcome is the worst of all rulings; what stands in the way of seeing (a capture without
answers, say) leaves neither PASS nor FAIL, whatever the rulings say; what is merely incomplete
leaves no PASS. Rulings stand worst first, of one outcome in order of time.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from enumtest.judge.ruling import Judgement, Measured, Ruling, Vantage
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_table import Cite, HopTable, LookupTable
from harness.finding import Outcome, worst
from harness.packets.frame import Endpoint
from harness.views import moment

SCHEMA = 1  # of the JSON; a field that changes its meaning makes it 2
_RANK = {Outcome.FAIL: 0, Outcome.OTHER: 1, Outcome.PASS: 2}
_NAMED = 3  # of a longer list
DNS_PORT = 53  # which tshark knows


class Grade(StrEnum):
    """What a doubt does to the verdict."""

    NOTE = "note"  # nothing
    INCOMPLETE = "incomplete"  # a FAIL stands, a PASS does not
    BLIND = "blind"  # neither stands


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something about the captures that the reader has to know, and what to do about it."""

    grade: Grade
    words: str
    fix: str = ""
    file: str = ""

    def __str__(self) -> str:
        """Return it as one line."""
        head = f"{self.file}: " if self.file else ""
        return f"{head}{self.words}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True)
class Report:
    """What was judged, by what, and what came of it."""

    command: str
    version: str
    profile: Profile
    vantage: Vantage
    vantage_said: bool  # by the user; otherwise it was assumed
    servers: Mapping[str, Endpoint]
    table: LookupTable
    judgements: tuple[Judgement, ...]
    doubts: tuple[Doubt, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Return the verdict on all that was judged."""
        return worst(map(self.outcome_of, self.judgements))

    def outcome_of(self, judgement: Judgement) -> Outcome:
        """Return the verdict on one SBC."""
        found = worst(one.outcome for one in judgement.rulings)
        grades = {one.grade for one in self.doubts}
        if Grade.BLIND in grades or (found is Outcome.PASS and Grade.INCOMPLETE in grades):
            return Outcome.OTHER
        return found

    def place(self, cite: Cite) -> str:
        """Return where a frame is, shortly."""
        return placed(self.table.hops, cite)

    @property
    def worst_first(self) -> tuple[Judgement, ...]:
        """Return the SBCs with their verdicts falling from FAIL to PASS."""
        return tuple(sorted(self.judgements, key=lambda one: _RANK[self.outcome_of(one)]))

    @property
    def begins_ns(self) -> int:
        """Return when the first capture begins; 0 without one."""
        return min((one.begins_ns for one in self.table.hops.watches), default=0)

    @property
    def ends_ns(self) -> int:
        """Return when the last capture ends."""
        return max((one.ends_ns for one in self.table.hops.watches), default=0)


def ranked(rulings: Iterable[Ruling]) -> tuple[Ruling, ...]:
    """Return *rulings* worst first; of one outcome in order of time, then of name.

    Of those that are open, the ones that more calls would decide come first.
    """
    return tuple(
        sorted(
            rulings,
            key=lambda one: (_RANK[one.outcome], not one.needed, one.at_ns, one.rule, one.server),
        )
    )


def sentence(report: Report, judgement: Judgement) -> str:
    """Return the verdict on one SBC in one sentence."""
    rulings = ranked(judgement.rulings)
    by = {kind: [one for one in rulings if one.outcome is kind] for kind in Outcome}
    of = f"{len(rulings)} ruling" + "s" * (len(rulings) != 1)
    blind = [one for one in report.doubts if one.grade is Grade.BLIND]
    if not rulings:
        return "Nothing could be judged: not one rule was applied."
    if blind:
        return f"Nothing is decided: {blind[0].words}. No ruling counts."
    if broken := by[Outcome.FAIL]:
        first = broken[0]
        where = f", first in {report.place(first.cites[0])}" if first.cites else ""
        whom = f" ({first.server})" if first.server else ""
        verb = "is" if len(broken) == 1 else "are"
        return f"{len(broken)} of {of} {verb} FAIL; the first is {first.rule}{whom}{where}."
    if open_ := by[Outcome.OTHER]:
        needed = max(one.needed for one in open_)
        more = f"; at least {calls(needed)} needed" if needed else ""
        which = _few([one.rule for one in open_])
        return (
            f"No rule was seen broken, but {len(open_)} of {of} could not be decided "
            f"({which}){more}."
        )
    held = f"All {of} held" if len(rulings) > 1 else "The only ruling held"
    if report.outcome_of(judgement) is Outcome.OTHER:
        words = next(one.words for one in report.doubts if one.grade is Grade.INCOMPLETE)
        return f"{held} in what was seen, which is not all: {words}."
    return f"{held}."


def advice(report: Report, judgement: Judgement) -> tuple[str, ...]:
    """Return what to do so that more can be decided, the most useful first."""
    found = []
    open_ = [one for one in judgement.rulings if one.outcome is Outcome.OTHER]
    if needed := max((one.needed for one in open_), default=0):
        rules = _few([one.rule for one in open_ if one.needed])
        count = "1 more call" if needed == 1 else f"{needed} more calls"
        found.append(f"place at least {count} in one capture (for {rules})")
    untested = [one for one in open_ if not one.needed]
    unknown = sum(
        one.source is None and not one.path.startswith("naptr.") for one in report.profile.fields()
    )
    if (untested or judgement.notes) and unknown:
        found.append(
            f"{unknown} values of {report.profile.name} are unknown: measure this SBC with "
            "enumtest infer, or declare them in a profile of your own (docs/sbc-profiles.md)"
        )
    if open_ and report.vantage is Vantage.SERVERS:
        found.append("capture at the SBC: what it sent and got is then known, not inferred")
    return tuple(dict.fromkeys(found))


def calls(needed: int) -> str:
    """Return how many more calls are (with the verb).

    >>> calls(1), calls(5)
    ('1 more call is', '5 more calls are')
    """
    return "1 more call is" if needed == 1 else f"{needed} more calls are"


def placed(hops: HopTable, cite: Cite) -> str:
    """Return where a frame is, with the file's folder only when two files have one name."""
    short = _file(cite.capture)
    alone = sum(_file(one.name) == short for one in hops.watches) <= 1
    return f"{short if alone else cite.capture}:{cite.frame}"


def shown(cite: Cite) -> str:
    """Return where a frame is."""
    return f"{cite.capture}:{cite.frame}"


def tshark(report: Report, cite: Cite) -> str:
    """Return the command that shows a frame, to be pasted into a shell."""
    ports = sorted({at.port for at in report.servers.values()} - {DNS_PORT})
    known = "".join(f" -d {kind}.port=={port},dns" for port in ports for kind in ("udp", "tcp"))
    return f"tshark -r {shlex.quote(cite.capture)}{known} -Y 'frame.number=={cite.frame}' -V"


def interval(one: Measured) -> str:
    """Return a measurement with its unit.

    >>> interval(Measured("hold-down of enum1", "s", 29.98, 30.2, 3))
    '29.98 to 30.2 s'
    """
    match one.low, one.high:
        case None, None:
            return "not seen"
        case low, None:
            return f"{_number(low)} {one.unit} or more"
        case None, high:
            return f"{_number(high)} {one.unit} or less"
        case low, high if low == high:
            return f"{_number(low)} {one.unit}"
        case low, high:
            return f"{_number(low)} to {_number(high)} {one.unit}"


def _file(path: str) -> str:
    return path.rpartition("/")[2] or path


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.6g}"


def printable(text: str) -> str:
    r"""Return *text* without a character that could drive a terminal or turn a line around.

    >>> printable("a\x1b[31m")
    'a\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def utc(at_ns: int) -> str:
    """Return an instant to the millisecond, without a zone (all are UTC)."""
    return moment(at_ns, "UTC")[:23].replace("T", " ")


def event(report: Report) -> dict[str, object]:
    """Return it as the object that docs/formats.md describes."""
    hops, profile = report.table.hops, report.profile
    return {
        "schema": SCHEMA,
        "program": f"enumtest {report.version}",
        "command": report.command,
        "verdict": report.outcome,
        "profile": {
            "name": profile.name,
            "title": profile.title,
            "unknown": sorted(one.path for one in profile.fields() if one.source is None),
        },
        "taken_at": report.vantage,
        "taken_at_assumed": not report.vantage_said,
        "servers": [{"name": name, "at": str(at)} for name, at in report.servers.items()],
        "captures": [
            {
                "file": one.name,
                "servers": list(one.servers),
                "begins_ns": one.begins_ns,
                "ends_ns": one.ends_ns,
                "ahead_ns": one.ahead_ns,
                "unsure_ns": one.unsure_ns,
                "dropped": one.dropped,
                "cut": one.cut,
            }
            for one in hops.watches
        ],
        "queries": len(hops),
        "calls": len(report.table),
        "doubts": [
            {"grade": one.grade, "words": one.words, "fix": one.fix, "file": one.file}
            for one in report.doubts
        ],
        "sbcs": [_sbc(report, one) for one in report.worst_first],
    }


def _sbc(report: Report, judgement: Judgement) -> dict[str, object]:
    return {
        "client": judgement.client,
        "verdict": report.outcome_of(judgement),
        "sentence": sentence(report, judgement),
        "rulings": [_ruling(one) for one in ranked(judgement.rulings)],
        "notes": [_ruling(one) for one in judgement.notes],
        "states": [
            {
                "server": one.server,
                "state": one.state,
                "from_ns": one.from_ns,
                "until_ns": one.until_ns,
                "frames": _frames(one.because),
            }
            for one in judgement.spans
        ],
        "measured": [
            {
                "name": one.name,
                "unit": one.unit,
                "low": one.low,
                "high": one.high,
                "samples": one.samples,
                "frames": _frames(one.cites),
            }
            for one in judgement.measured
        ],
        "next": list(advice(report, judgement)),
    }


def _ruling(one: Ruling) -> dict[str, object]:
    return {
        "rule": one.rule,
        "outcome": one.outcome,
        "server": one.server,
        "expected": one.expected,
        "observed": one.observed,
        "at_ns": one.at_ns,
        "needed": one.needed,
        "frames": _frames(one.cites),
    }


def _frames(cites: Sequence[Cite]) -> list[dict[str, object]]:
    return [{"file": one.capture, "frame": one.frame} for one in cites]


def _few(names: Sequence[str]) -> str:
    """Return the first names, and how many there are beyond."""
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    return ", ".join(different[:_NAMED]) + more
