"""docs/mutant-table.md: what the judge found in each mutant, from a run."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from enumtest.judge.ruling import Ruling, Vantage
from harness.finding import Outcome
from tests.judge_bench import failed, judged, wired_to
from tests.judge_traffic import Mutant, drill
from tests.sbc_mutants import MUTANTS
from tests.sbc_mutants_sip import SIP_MUTANTS, SipMutant

HEAD = """# Mutants of an SBC, and what the judge says of them

Made by `tools/make-mutant-table` from a run; not written by hand.
Each mutant is a simulated SBC that does one thing wrong, in a drill of some 400 to 700 calls with \
odd answers, outages of one, two and all servers, and recoveries.
The judge sees its packets and the profile that it is declared to follow, nothing else.
They are captured once at the SBC, and once at each server, with clocks up to a minute apart.
A rule is named when it is FAIL and is one that the mutant breaks; the frame is the first it cites.
"""
BLIND_HEAD = """
## Written before the judge was read

From the FST plan and the RFCs alone, with what was expected to find them.
"""
SIP_HEAD = """
## Seen in SIP only

These ask their servers as they should.
The plan's cases judge them with both sides of the SBC in one capture.
OTHER: the packets leave an excuse, such as a cache, so the case does not pass and does not fail.
"""
_RULE = "|---|---|---|---|---|"
COLUMNS = f"| mutant | what is wrong | breaks | at the SBC | at the servers |\n{_RULE}\n"
BLIND_COLUMNS = (
    f"| mutant | what is wrong | breaks | expected | at the SBC | at the servers |\n{_RULE}---|\n"
)
SIP_COLUMNS = f"| mutant | what is wrong | breaks | case | says |\n{_RULE}\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One mutant, and what named it at each vantage: None for nothing."""

    mutant: Mutant
    found: Mapping[Vantage, Ruling | None]
    others: Mapping[Vantage, int]  # further rules that fail

    @property
    def missed(self) -> frozenset[Vantage]:
        """Return the vantages at which nothing names it."""
        return frozenset(one for one, ruling in self.found.items() if ruling is None)

    def line(self, *, blind: bool = False) -> str:
        """Return the row of the table; *blind* ones have what was expected of the judge."""
        mutant = self.mutant
        cells = [mutant.name, mutant.wrong, mutant.breaks, *[mutant.expected] * blind]
        cells += map(self._cell, Vantage)
        return "| " + " | ".join(cells) + " |\n"

    def _cell(self, vantage: Vantage) -> str:
        ruling, others = self.found[vantage], self.others[vantage]
        if ruling is None:
            more = f" ({others} other rule{'s' * (others > 1)} fail{'s' * (others == 1)})"
            return "**not caught**" + more * bool(others)
        where = ""
        if ruling.cites:
            cite = ruling.cites[0]
            where = f", frame {cite.frame} of {cite.capture}"
        return f"`{ruling.rule}`{where}"


def row_of(mutant: Mutant) -> Row:
    """Return what the judge says of *mutant*."""
    wire = wired_to(mutant.make, drill(mutant.profile))
    found: dict[Vantage, Ruling | None] = {}
    others = {}
    for vantage in Vantage:
        rulings = failed(judged(wire, mutant.profile, vantage))
        wanted = mutant.rules
        named = sorted(
            (one for one in rulings if one.rule in wanted), key=lambda one: wanted.index(one.rule)
        )
        found[vantage] = named[0] if named else None
        others[vantage] = len({one.rule for one in rulings} - set(wanted))
    return Row(mutant, found, others)


def markdown(rows: Sequence[Row]) -> str:
    """Return the page."""
    blind = [row for row in rows if row.mutant.blind]
    rest = [row for row in rows if not row.mutant.blind]
    parts = [HEAD, _counts(rows), BLIND_HEAD, "\n", BLIND_COLUMNS]
    parts += [row.line(blind=True) for row in blind]
    parts += ["\n## The others\n\n", COLUMNS, *(row.line() for row in rest)]
    parts += [SIP_HEAD, "\n", SIP_COLUMNS]
    parts += [_sip(one) for one in SIP_MUTANTS]
    return "".join(parts)


def run() -> Iterable[Row]:
    """Yield the row of each mutant."""
    return map(row_of, MUTANTS)


def _counts(rows: Sequence[Row]) -> str:
    """Return how many there are, and how many are caught where."""
    caught = Counter(vantage for row in rows for vantage in Vantage if row.found[vantage])
    return (
        f"\n{len(rows)} mutants: {caught[Vantage.SBC]} are caught at the SBC, "
        f"{caught[Vantage.SERVERS]} at the servers, where packets may be lost on the way and no "
        f"clock is sure; and {len(SIP_MUTANTS)} that show in SIP only.\n"
    )


def _sip(mutant: SipMutant) -> str:
    finding = mutant.found()
    said = f"`{finding.rule}` {finding.outcome.name}"
    frame = f", frame {finding.frames[0]}" if finding.frames else ""
    caught = said + frame if finding.outcome is not Outcome.PASS else "**not caught**"
    cells = (mutant.name, mutant.wrong, mutant.breaks, mutant.step, caught)
    return "| " + " | ".join(cells) + " |\n"
