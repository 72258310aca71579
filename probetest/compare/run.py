"""A capture held against a report: read, compared, and what differs explained."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.buckets import Group
from harness.packets.blocks import Block
from harness.premises import Premises
from probetest.calls.joining import Joining
from probetest.compare.counting import Observed
from probetest.compare.evidence import Evidence, read_evidence
from probetest.compare.hypotheses import Explanation, explain
from probetest.compare.matching import Row, compare, is_equal
from probetest.compare.report import Kind, Report
from probetest.compare.way import OURS, View, Way
from probetest.dataset import TapReader
from probetest.duplicates import WINDOW_NS

Blocks = Callable[[], Iterable[Block]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every figure, and what explains those that differ."""

    report: Report
    rows: tuple[Row, ...]
    explanations: tuple[Explanation, ...]
    losses: tuple[str, ...]  # of the capture: with any, nothing is proven

    @property
    def is_equal(self) -> bool:
        """Say whether all figures are equal, and there are any."""
        return bool(self.rows) and is_equal(self.rows)


@dataclass(slots=True)
class _Readings:
    """The capture, read once for each view that is asked for."""

    blocks: Blocks
    premises: Premises
    window_ns: int
    joining: Joining
    found: dict[View, Evidence] = field(default_factory=dict)

    def __call__(self, way: Way) -> Evidence:
        if way.view not in self.found:
            self.found[way.view] = read_evidence(
                self.blocks(),
                self.premises,
                view=way.view,
                window_ns=self.window_ns,
                joining=self.joining,
            )
        return self.found[way.view]


def run(  # noqa: PLR0913 - the choices of `analyse`
    blocks: Blocks,
    report: Report,
    premises: Premises,
    *,
    group: Group = "hour",
    zone: str = "UTC",
    window_ns: int = WINDOW_NS,
    joining: Joining | None = None,
) -> Comparison:
    """Return *report* beside what a capture shows, which is read several times.

    Raises:
        InputError: a capture that is none, or cannot be read as *premises* and zone say.
    """
    joining = joining or Joining()
    reader = TapReader(
        premises,
        window_ns=window_ns,
        joining=joining,
        wireshark=Kind.STREAM in report.kinds,  # it takes each packet by itself
    )
    for block in blocks():
        reader.add(block)
    tap = reader.close()
    losses = tap.losses + tuple(f"frame {frame}: {why}" for frame, why in tap.unreadable)
    observed = Observed(tap.watched, group, zone, tap.streams)
    reading = _Readings(blocks, premises, window_ns, joining)
    rows = compare(reading(OURS), observed, report)
    explanations = () if is_equal(rows) else explain(reading, observed, report)
    return Comparison(report, tuple(rows), explanations, losses)
