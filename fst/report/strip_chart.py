"""A strip chart as SVG text: a row a server, a dot a query, the server's state behind the dots.

Laws: a kind is told by its shape as well as its colour; the same strip gives the same text; text is
escaped here and nowhere else. Nothing in the picture needs a script or a font.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from typing import assert_never

from fst.report.fields import legible
from harness.errors import InputError

MAX_MS = 1e11  # three years, either side: no attempt lasts longer, and it can be drawn

WIDTH, LEFT, RIGHT = 920, 130, 26
ROW, LANE, AXIS, LEGEND_LINE = 30, 15, 44, 20
MAX_LANES, MAX_LABEL_CHARS, CHAR_WIDTH = 4, 34, 6.1
TICKS = 9


class DotKind(StrEnum):
    """What became of one query."""

    ANSWERED = "answered"
    FAILURE = "failure"
    UNANSWERED = "unanswered"
    LATE = "late"
    RETRANSMISSION = "retransmission"
    OTHER = "other"


class SpanKind(StrEnum):
    """Why a server is left alone for a while."""

    DOWN = "down"
    HELD = "held"


class CallKind(StrEnum):
    """What became of one call."""

    ALLOWED = "allowed"
    TERMINATED = "terminated"
    REDIRECTED = "redirected"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Dot:
    """One query to the server of *row*, counted from 0 at the top."""

    t_ms: float
    row: int
    kind: DotKind
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A state of a server; without an end it lasts as long as the chart."""

    row: int
    from_ms: float
    to_ms: float | None
    kind: SpanKind


@dataclass(frozen=True, slots=True)
class Strip:
    """What one attempt looked like from the servers' side."""

    servers: tuple[str, ...]
    dots: tuple[Dot, ...] = ()
    spans: tuple[Span, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()
    calls: tuple[tuple[float, CallKind], ...] = ()
    dropped_dots: int = 0  # left out when the strip was thinned

    def __post_init__(self) -> None:
        """Refuse a row that is not there and a time that cannot be drawn."""
        for row in (*(dot.row for dot in self.dots), *(span.row for span in self.spans)):
            if not 0 <= row < len(self.servers):
                raise InputError(f"no such row among {len(self.servers)}", field="row", value=row)
        for t_ms in self.times():
            if not abs(t_ms) <= MAX_MS:
                raise InputError("not a time in an attempt", field="t_ms", value=t_ms)

    def times(self) -> Iterable[float]:
        """Yield every time in it, in ms, in no order."""
        yield from (dot.t_ms for dot in self.dots)
        yield from (span.from_ms for span in self.spans)
        yield from (span.to_ms for span in self.spans if span.to_ms is not None)
        yield from (t_ms for t_ms, _ in self.marks)
        yield from (t_ms for t_ms, _ in self.calls)


# Shape and colour of each kind, drawn around 0,0 (colours apart for the colour-blind: Okabe-Ito).
_SHAPES: dict[str, str] = {
    DotKind.ANSWERED: '<circle r="4.2" fill="#0072b2"/>',
    DotKind.FAILURE: '<path d="M-4-4L4 4M-4 4L4-4" stroke="#b3261e" stroke-width="2.4"/>',
    DotKind.UNANSWERED: '<circle r="4" fill="#fff" stroke="#b3261e" stroke-width="1.8"/>',
    DotKind.LATE: '<path d="M0-5L5 4H-5Z" fill="#e69f00" stroke="#7a5400" stroke-width=".8"/>',
    DotKind.RETRANSMISSION: '<path d="M0-5V5" stroke="#555" stroke-width="2"/>',
    DotKind.OTHER: '<rect x="-3.2" y="-3.2" width="6.4" height="6.4" fill="#777"/>',
    CallKind.ALLOWED: '<path d="M-5 0L-1 4L5-4" fill="none" stroke="#00664b" stroke-width="2.4"/>',
    CallKind.TERMINATED: '<rect x="-4.5" y="-4.5" width="9" height="9" fill="#b3261e"/>'
    '<path d="M-2.5 0H2.5" stroke="#fff" stroke-width="1.8"/>',
    CallKind.REDIRECTED: '<path d="M-5-4L5 0L-5 4Z" fill="#7b3294"/>',
    CallKind.NONE: '<rect x="-4" y="-4" width="8" height="8" fill="#fff" stroke="#555"'
    ' stroke-dasharray="2 1.5"/>',
}
_CALL_WORDS: dict[str, str] = {CallKind.NONE: "no result"}


def svg(strip: Strip, ident: str = "strip") -> str:
    """Return the chart as one `<svg>` element; *ident* keeps its ids apart from other charts'."""
    name = "".join(c for c in ident if c.isascii() and (c.isalnum() or c == "-"))
    view = _View.of(strip)
    parts = [*view.axis(), *view.rows(), *view.spans(name), *view.marks(), *view.dots()]
    legend = view.legend(name)
    height = view.bottom + AXIS + LEGEND_LINE * ((len(legend) + 4) // 5)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'class="strip" aria-labelledby="{name}-t {name}-d" '
        'font-family="system-ui,DejaVu Sans,sans-serif" font-size="12" fill="#222">'
        f'<title id="{name}-t">Queries to each server over time</title>'
        f'<desc id="{name}-d">{_text(_summary(strip))}</desc>'
        f'<defs><pattern id="{name}-down" width="6" height="6" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><rect width="6" height="6" fill="#fbe9e7"/>'
        '<path d="M0 0V6" stroke="#b3261e" stroke-width="1.6"/></pattern></defs>'
    )
    return "".join([head, *parts, *legend, "</svg>"])


@dataclass(frozen=True, slots=True)
class _View:
    """A strip with its scale: where a time and a row come to lie."""

    strip: Strip
    start_ms: float
    end_ms: float
    step_ms: float
    lanes: tuple[tuple[int, float, str], ...]  # lane (-1: no room), time, label of each mark

    @classmethod
    def of(cls, strip: Strip) -> "_View":
        """Return the view in which everything of *strip* is seen, between whole ticks."""
        times = (*strip.times(), 0.0)
        low, high = min(times), max(times)
        step = _tick_ms((high - low) or 1000.0)
        slack = step / 50  # a mark a hair before 0 needs no tick of its own
        start = (low + slack) // step * step
        end = max(-((slack - high) // step) * step, start + step)
        bare = cls(strip, start, end, step, ())
        return cls(strip, start, end, step, tuple(_placed(strip.marks, bare.x)))

    def x(self, t_ms: float) -> float:
        """Return the horizontal place of a time."""
        share = (t_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, row: int) -> float:
        """Return the middle of a row; the row after the servers holds the calls."""
        return self.top + ROW * row + ROW / 2

    @property
    def top(self) -> int:
        """Return the upper edge of the first row, below the labels."""
        return 8 + LANE * (1 + max((lane for lane, _, _ in self.lanes), default=-1))

    @property
    def bottom(self) -> int:
        """Return the lower edge of the last row."""
        return self.top + ROW * (len(self.strip.servers) + bool(self.strip.calls))

    def rows(self) -> Iterable[str]:
        """Yield a band and a name for each row."""
        names = [*self.strip.servers, *(["calls"] if self.strip.calls else [])]
        for row, name in enumerate(names):
            middle = self.y(row)
            yield (
                f'<path d="M{LEFT} {middle:g}H{WIDTH - RIGHT}" stroke="#cfd6dd"/>'
                f'<text x="{LEFT - 12}" y="{middle + 4:g}" text-anchor="end">'
                f"<title>{_text(name)}</title>{_text(_short(name, 17))}</text>"
            )

    def spans(self, name: str) -> Iterable[str]:
        """Yield a block for each state: down is hatched; held is plain and low, to show both."""
        for span in sorted(self.strip.spans, key=lambda span: span.kind is SpanKind.HELD):
            end_ms = self.end_ms if span.to_ms is None else span.to_ms
            x, width = self.x(span.from_ms), max(self.x(end_ms) - self.x(span.from_ms), 1.0)
            offset, height = (4, 8) if span.kind is SpanKind.HELD else (-11, 22)
            until = "the end" if span.to_ms is None else _seconds(span.to_ms)
            told = (
                f"{self.strip.servers[span.row]} {span.kind}, {_seconds(span.from_ms)} to {until}"
            )
            yield (
                f'<rect x="{x:.1f}" y="{self.y(span.row) + offset:g}" width="{width:.1f}" '
                f'height="{height}" {_fill(span.kind, name)}><title>{_text(told)}</title></rect>'
            )

    def dots(self) -> Iterable[str]:
        """Yield a shape for each query and call; what went wrong is drawn last, on top."""
        for dot in sorted(self.strip.dots, key=lambda dot: dot.kind is not DotKind.ANSWERED):
            frame = "" if dot.frame is None else f", frame {dot.frame}"
            told = f"{self.strip.servers[dot.row]}, {_seconds(dot.t_ms)}, {dot.kind}{frame}"
            yield _shape(dot.kind, self.x(dot.t_ms), self.y(dot.row), told)
        for t_ms, kind in self.strip.calls:
            told = f"call {_CALL_WORDS.get(kind, kind)}, {_seconds(t_ms)}"
            yield _shape(kind, self.x(t_ms), self.y(len(self.strip.servers)), told)

    def marks(self) -> Iterable[str]:
        """Yield a line and a label for each mark; one without room keeps its tool tip."""
        for lane, t_ms, label in self.lanes:
            x, told = self.x(t_ms), f"<title>{_text(label)}, {_seconds(t_ms)}</title>"
            y = 14 + LANE * max(lane, 0)
            yield (
                f'<path d="M{x:.1f} {y - 10}V{self.bottom}" stroke="#334" stroke-width="1.2" '
                f'stroke-dasharray="4 3">{told}</path>'
            )
            if lane >= 0:
                left, anchor = _label_side(x, label)
                yield (
                    f'<text x="{left:.1f}" y="{y}" text-anchor="{anchor}" font-size="11" '
                    'stroke="#fff" stroke-width="3" paint-order="stroke">'
                    f"{told}{_text(_short(label, MAX_LABEL_CHARS))}</text>"
                )

    def axis(self) -> Iterable[str]:
        """Yield the time axis, in seconds."""
        count = round((self.end_ms - self.start_ms) / self.step_ms)
        for tick in range(count + 1):
            t_ms = self.start_ms + tick * self.step_ms
            x = self.x(t_ms)
            yield (
                f'<path d="M{x:.1f} {self.top}V{self.bottom + 5}" stroke="#e6eaee"/>'
                f'<text x="{x:.1f}" y="{self.bottom + 18}" text-anchor="middle" font-size="11">'
                f"{t_ms / 1000:.10g}</text>"
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        yield (
            f'<path d="M{LEFT} {self.bottom}H{WIDTH - RIGHT}" stroke="#334"/>'
            f'<text x="{middle:g}" y="{self.bottom + 34}" text-anchor="middle" font-size="11">'
            "time in the attempt, in seconds (s)</text>"
        )

    def legend(self, name: str) -> list[str]:
        """Return an entry for each kind that occurs, five on a line."""
        queries, calls = self.strip.dots, self.strip.calls
        states = [s for s in SpanKind if any(span.kind is s for span in self.strip.spans)]
        entries = [
            *_counted("query", DotKind, [dot.kind for dot in queries]),
            *(
                (f'<rect x="-9" y="-6" width="18" height="12" {_fill(s, name)}/>', f"server {s}")
                for s in states
            ),
            *_counted("call", CallKind, [kind for _, kind in calls]),
        ]
        return [
            f'<g transform="translate({28 + i % 5 * 178} '
            f'{self.bottom + AXIS + 8 + i // 5 * LEGEND_LINE})">{shape}'
            f'<text x="14" y="4" font-size="11">{text}</text></g>'
            for i, (shape, text) in enumerate(entries)
        ]


def _placed(
    marks: Iterable[tuple[float, str]], place: Callable[[float], float]
) -> Iterable[tuple[int, float, str]]:
    """Yield each mark in time order with the first lane where its label has room, or -1."""
    free_from = [0.0] * MAX_LANES
    for t_ms, label in sorted(marks):
        x = place(t_ms)
        left, anchor = _label_side(x, label)
        width = _label_width(label)
        start = left - width if anchor == "end" else left
        lane = next((i for i, free in enumerate(free_from) if start >= free), -1)
        if lane >= 0:
            free_from[lane] = max(start + width, x) + 6
        yield lane, t_ms, label


def _counted(
    noun: str, kinds: type[DotKind] | type[CallKind], found: Sequence[StrEnum]
) -> Iterable[tuple[str, str]]:
    """Yield shape and words for each kind that was found, with how often."""
    for kind in kinds:
        if count := found.count(kind):
            yield _SHAPES[kind], f"{noun} {_CALL_WORDS.get(kind, kind)} ({count})"


def _label_side(x: float, label: str) -> tuple[float, str]:
    """Return where a label starts and its anchor: right of its line, or left for want of room."""
    if x + 4 + _label_width(label) <= WIDTH:
        return x + 4, "start"
    return x - 4, "end"


def _label_width(label: str) -> float:
    return min(len(label), MAX_LABEL_CHARS) * CHAR_WIDTH


def _shape(kind: DotKind | CallKind, x: float, y: float, told: str) -> str:
    return (
        f'<g transform="translate({x:.1f} {y:g})"><title>{_text(told)}</title>{_SHAPES[kind]}</g>'
    )


def _fill(kind: SpanKind, name: str) -> str:
    match kind:
        case SpanKind.DOWN:
            return f'fill="url(#{name}-down)" stroke="#b3261e" stroke-width=".8"'
        case SpanKind.HELD:
            return 'fill="#d5dae1" stroke="#8a93a0" stroke-width=".8" stroke-dasharray="3 2"'
        case _:
            assert_never(kind)


def _tick_ms(range_ms: float) -> float:
    """Return 1, 2 or 5 times a power of ten ms, so that at most about TICKS ticks are drawn."""
    power = 0.001
    while power * 10 * TICKS < range_ms:
        power *= 10
    return next((power * n for n in (1, 2, 5) if power * n * TICKS >= range_ms), power * 10)


def _summary(strip: Strip) -> str:
    """Say in words what the picture shows, for who cannot see it."""
    parts = []
    for row, server in enumerate(strip.servers):
        counts = [
            f"{count} {kind}"
            for kind in DotKind
            if (count := sum(dot.row == row and dot.kind is kind for dot in strip.dots))
        ]
        parts.append(f"{server}: {', '.join(counts) or 'no queries'}")
    parts += [f"at {_seconds(t_ms)}: {label}" for t_ms, label in sorted(strip.marks)]
    if strip.dropped_dots:
        parts.append(f"{strip.dropped_dots} queries are not drawn")
    return ". ".join(parts) + "."


def _seconds(t_ms: float) -> str:
    return f"{t_ms / 1000:.3f} s"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(text: str) -> str:
    return escape(legible(text), quote=True)
