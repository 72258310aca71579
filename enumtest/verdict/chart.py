"""Strips of one SBC's queries as SVG text: a strip a server, a mark a query, its state behind.

    failures   x  ○        upper lane: what went wrong
    answers    ● ● ● ●     middle lane
    probes     +   +       lower lane, with retransmissions

Laws: a kind is told by its shape as well as by its colour; a picture says when a mark stands for
many; the same table gives the same text; text from the wire is escaped here and nowhere else; no
script, no font, no network.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from enumtest.judge.ruling import Judgement, Ruling, Span
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN, Cite, HopTable
from enumtest.verdict.marks import (
    SECOND,
    Kind,
    Marks,
    Window,
    duration,
    marks_of,
    rows_of,
    tick_ns,
)
from enumtest.verdict.report import placed, printable, ranked, utc
from harness.finding import Outcome

MAX_BADGES = 60  # violations with a number of their own
MAX_SPANS = 2000  # states of all servers; longer ones first
WIDTH, LEFT, RIGHT = 980, 112, 18
STRIP, GAP, BADGES, AXIS, LEGEND_LINE, LEGEND_COLUMNS = 58, 8, 22, 52, 22, 4
LANES = {"upper": 14, "middle": 30, "lower": 46}
NAME_CHARS, BADGE, PAD, BAR_TOP = 14, 16, 9, 20


_WORDS = {
    Kind.ANSWERED: "answered",
    Kind.NO_NUMBER: "no such number (NXDOMAIN, NODATA)",
    Kind.TRUNCATED: "truncated",
    Kind.SILENT: "no answer",
    Kind.ERROR: "error code",
    Kind.UNREADABLE: "unreadable or wrong answer",
    Kind.LATE: "answered too late",
    Kind.PROBE_ANSWERED: "probe answered",
    Kind.PROBE_FAILED: "probe failed",
    Kind.AGAIN: "sent again",
}
_LANE = {
    **dict.fromkeys((Kind.ANSWERED, Kind.NO_NUMBER, Kind.TRUNCATED), LANES["middle"]),
    **dict.fromkeys((Kind.SILENT, Kind.ERROR, Kind.UNREADABLE, Kind.LATE), LANES["upper"]),
    **dict.fromkeys((Kind.PROBE_ANSWERED, Kind.PROBE_FAILED, Kind.AGAIN), LANES["lower"]),
}
# Shapes around 0,0; colours that the colour-blind tell apart (Okabe and Ito), beside the shape.
_SHAPES = {
    Kind.ANSWERED: '<circle r="3.6" fill="#0072b2"/>',
    Kind.NO_NUMBER: '<path d="M0-4.6L4.6 0 0 4.6-4.6 0Z" fill="#56b4e9" stroke="#1b4f72"/>',
    Kind.TRUNCATED: '<path d="M-4.4-3.4H4.4L0 4.4Z" fill="#009e73" stroke="#00573f"/>',
    Kind.SILENT: '<circle r="3.8" fill="#fff" stroke="#b3261e" stroke-width="2"/>',
    Kind.ERROR: '<path d="M-4-4L4 4M-4 4L4-4" stroke="#b3261e" stroke-width="2.6"/>',
    Kind.UNREADABLE: '<rect x="-3.8" y="-3.8" width="7.6" height="7.6" fill="#7b3294"/>',
    Kind.LATE: '<path d="M0-5L5 4H-5Z" fill="#e69f00" stroke="#7a5400"/>',
    Kind.PROBE_ANSWERED: '<path d="M-4 0H4M0-4V4" stroke="#444" stroke-width="2"/>',
    Kind.PROBE_FAILED: '<path d="M-4 0H4" stroke="#444" stroke-width="2.4"/>',
    Kind.AGAIN: '<path d="M0-4V4" stroke="#777" stroke-width="1.6"/>',
}
_RADII = ((400, 1.7), (150, 2.5), (0, 3.6))  # answers of one server, size of their dots
_STATES = {"in service": "in", "held": "held", "maybe held": "maybe"}
_FILLS = {
    "in": 'fill="#e8f3ea"',
    "held": 'fill="url(#{0}-held)" stroke="#8a5a00" stroke-width=".8"',
    "maybe": 'fill="url(#{0}-maybe)" stroke="#8a93a0" stroke-width=".8" stroke-dasharray="3 3"',
}
_STATE_WORDS = {"in": "in service", "held": "held down", "maybe": "perhaps held down"}


def chart(
    hops: HopTable, judgement: Judgement, window: Window, *, ident: str = "strip"
) -> tuple[str, str]:
    """Return the picture as one `<svg>` element, and what has to be said below it, or "".

    *ident* (letters, digits, hyphens) keeps the picture's ids apart from another's.
    """
    marks = marks_of(hops, judgement.client, window)
    view = _View(hops, judgement, window, marks, ident)
    inner = [*view.bands(), *view.axis(), *view.names(), *view.drawn(), *view.badges()]
    legend = view.legend()
    lines = -(-len(legend) // LEGEND_COLUMNS)
    height = view.bottom + AXIS + LEGEND_LINE * lines
    words = escape(printable(view.summary()))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'class="strip" aria-labelledby="{ident}-t {ident}-d" '
        'font-family="system-ui,DejaVu Sans,sans-serif" font-size="13" fill="#1d2329">'
        f'<title id="{ident}-t">Queries to each server over time</title>'
        f'<desc id="{ident}-d">{words}</desc>{_defs(ident, marks, view.radius)}'
    )
    return "".join([head, *inner, *legend, "</svg>"]), view.note()


@dataclass(frozen=True, slots=True)
class _View:
    """A picture with its scale: where a time and a server come to lie."""

    hops: HopTable
    judgement: Judgement
    window: Window
    marks: Marks
    ident: str

    def x(self, at_ns: int) -> float:
        """Return the horizontal place of a time, within the picture."""
        length_ns = max(1, self.window.until_ns - self.window.from_ns)
        share = (at_ns - self.window.from_ns) / length_ns
        return LEFT + PAD + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT - 2 * PAD)

    def y(self, server: int) -> int:
        """Return the upper edge of a strip."""
        return BADGES + server * (STRIP + GAP)

    @property
    def bottom(self) -> int:
        """Return the lower edge of the last strip."""
        return self.y(len(self.hops.servers)) - GAP

    @property
    def radius(self) -> float:
        """Return how large an answer's dot is: the more there are, the smaller."""
        answers = self.marks.server[self.marks.kind == Kind.ANSWERED]
        most = int(np.bincount(answers, minlength=1).max())
        return next(size for least, size in _RADII if most >= least)

    def bands(self) -> Iterable[str]:
        """Yield each server's states, as far as they are in the picture."""
        spans = [one for one in self.judgement.spans if self._is_seen(one)]
        spans.sort(key=lambda one: one.from_ns - one.until_ns)
        for server in range(len(self.hops.servers)):
            yield (
                f'<rect x="{LEFT}" y="{self.y(server)}" width="{WIDTH - LEFT - RIGHT}" '
                f'height="{STRIP}" fill="#f6f7f9" stroke="#c9d0d6"/>'
            )
        for span in spans[:MAX_SPANS]:
            state = _STATES.get(span.state, "maybe")
            x = self.x(span.from_ns) if span.from_ns > self.window.from_ns else LEFT
            end = self.x(span.until_ns) if span.until_ns < self.window.until_ns else WIDTH - RIGHT
            top = self.y(self.hops.servers.index(span.server))
            told = f"{span.server} {span.state}, {self._when(span.from_ns)} to "
            told += self._when(span.until_ns) + self._because(span.because)
            yield (
                f'<rect x="{x:.1f}" y="{top}" width="{max(end - x, 1.0):.1f}" height="{STRIP}" '
                f"{_FILLS[state].format(self.ident)}><title>{_text(told)}</title></rect>"
            )

    def _because(self, cites: Sequence[Cite]) -> str:
        return f", because of {placed(self.hops, cites[0])}" if cites else ""

    def _is_seen(self, span: Span) -> bool:
        return (
            span.server in self.hops.servers
            and span.from_ns <= self.window.until_ns
            and span.until_ns >= self.window.from_ns
        )

    def names(self) -> Iterable[str]:
        """Yield the name of each server, with how many queries it got."""
        for server, name in enumerate(self.hops.servers):
            mine = (self.marks.server == server) & (self.marks.kind != Kind.AGAIN)
            count = int(self.marks.many[mine].sum())
            middle = self.y(server) + STRIP // 2
            short = name if len(name) <= NAME_CHARS else name[: NAME_CHARS - 1] + "…"
            yield (
                f'<text x="{LEFT - 10}" y="{middle - 1}" text-anchor="end" font-weight="600">'
                f"<title>{_text(name)}</title>{_text(short)}</text>"
                f'<text x="{LEFT - 10}" y="{middle + 15}" text-anchor="end" font-size="11.5" '
                f'fill="#4a545e">{count:,} asked</text>'
            )

    def drawn(self) -> Iterable[str]:
        """Yield every mark; what went wrong is drawn last, on top."""
        cited = self._cited_rows()
        order = np.argsort(np.isin(self.marks.kind, [Kind.ANSWERED, Kind.NO_NUMBER]), kind="stable")
        for at in order[::-1].tolist():
            kind = Kind(int(self.marks.kind[at]))
            x = self.x(int(self.marks.at_ns[at]))
            y = self.y(int(self.marks.server[at])) + _LANE[kind]
            ring = ""
            if not self.marks.bin_ns and int(self.marks.row[at]) in cited and kind != Kind.AGAIN:
                ring = f'<circle cx="{x:.1f}" cy="{y}" r="7.5" class="ring" {_RING}/>'
            if self.marks.bin_ns and kind is Kind.ANSWERED:
                yield self._bar(at)
                continue
            yield (
                f'{ring}<use href="#{self.ident}-{kind}" x="{x:.1f}" y="{y}">'
                f"<title>{_text(self._told(at, kind))}</title></use>"
            )

    def _bar(self, at: int) -> str:
        """Return the answers of a stretch of time as a bar; all strips share the scale."""
        from_ns = int(self.marks.at_ns[at]) - self.marks.bin_ns // 2
        x, width = self.x(from_ns), self.x(from_ns + self.marks.bin_ns) - self.x(from_ns)
        foot = LANES["lower"] - 7 if self._has_lower else STRIP - 4
        height = max(1.0, (foot - BAR_TOP) * int(self.marks.many[at]) / self._most)
        top = self.y(int(self.marks.server[at])) + foot - height
        return (
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{max(width - 0.6, 0.6):.1f}" '
            f'height="{height:.1f}" fill="#0072b2"><title>'
            f"{_text(self._told(at, Kind.ANSWERED))}</title></rect>"
        )

    @property
    def _has_lower(self) -> bool:
        lower = [kind for kind in Kind if _LANE[kind] == LANES["lower"]]
        return bool(np.isin(self.marks.kind, lower).any())

    @property
    def _most(self) -> int:
        """Return the most answers of a server in one stretch of time."""
        return int(self.marks.many[self.marks.kind == Kind.ANSWERED].max(initial=1))

    def _told(self, at: int, kind: Kind) -> str:
        """Return what a mark is, in words."""
        hops, row = self.hops, int(self.marks.row[at])
        server = hops.servers[int(self.marks.server[at])]
        at_ns, many = int(self.marks.at_ns[at]), int(self.marks.many[at])
        (cite,) = hops.cites([row])
        if self.marks.bin_ns and many > 1:
            from_ns = at_ns - self.marks.bin_ns // 2
            between = f"{self._when(from_ns)} to {self._when(from_ns + self.marks.bin_ns)}"
            first = f"the first in {placed(hops, cite)}"
            return f"{server}, {between}: {many:,} times {_WORDS[kind]}, {first}"
        took = ""
        if hops.answered_ns[row] != NOT_SEEN and kind != Kind.AGAIN:
            took = f" after {(int(hops.answered_ns[row]) - int(hops.first_ns[row])) / 1e6:.1f} ms"
        event = EVENTS[int(hops.event[row])]
        rcode = f" ({event})" if kind in (Kind.ERROR, Kind.UNREADABLE, Kind.NO_NUMBER) else ""
        asked = hops.questions[int(hops.question[row])]
        words = _WORDS[kind].split(" (")[0] + rcode + took
        return f"{server}, {self._when(at_ns)}, {words}; {placed(hops, cite)}; {asked}"

    def _cited_rows(self) -> frozenset[int]:
        """Return the rows whose frames a FAIL cites."""
        broken = [one for one in self.judgement.rulings if one.outcome is Outcome.FAIL]
        found: set[int] = set()
        for cite in {cite for one in broken for cite in one.cites}:
            found.update(rows_of(self.hops, cite))
        return frozenset(found)

    def badges(self) -> Iterable[str]:
        """Yield the number of each broken rule over the place where it was first broken."""
        free = [0.0] * (len(self.hops.servers) + 1)  # of each strip's edge; the last: of no server
        for number, ruling in numbered(self.judgement.rulings)[:MAX_BADGES]:
            if not ruling.at_ns or not self.window.covers(ruling.at_ns):
                continue
            known = ruling.server in self.hops.servers
            strip = self.hops.servers.index(ruling.server) if known else len(free) - 1
            top = self.y(strip) if known else BADGES
            place = self.x(ruling.at_ns)
            x = max(place, free[strip])  # beside the one before rather than over it
            free[strip] = x + BADGE + 1
            x = min(x, WIDTH - BADGE / 2)
            foot = top + STRIP if known else self.bottom
            told = f"{number}: {ruling.rule}: {ruling.observed}, {self._when(ruling.at_ns)}"
            yield (
                f'<g><title>{_text(told)}</title><path d="M{x:.1f} {top}L{place:.1f} {top + 8}'
                f'V{foot}" fill="none" stroke="#8c1d18" stroke-width="1.4"/>'
                f'<rect x="{x - BADGE / 2:.1f}" y="{top - 13}" width="{BADGE}" height="{BADGE}" '
                f'rx="3" fill="#8c1d18"/><text x="{x:.1f}" y="{top - 1}" text-anchor="middle" '
                f'font-size="11.5" font-weight="700" fill="#fff">{number}</text></g>'
            )

    def axis(self) -> Iterable[str]:
        """Yield the time axis: since the start of the capture, and by the clock (UTC)."""
        step_ns = tick_ns(self.window.until_ns - self.window.from_ns)
        start_ns = self._start_ns
        at_ns = start_ns + -(-(self.window.from_ns - start_ns) // step_ns) * step_ns
        while at_ns <= self.window.until_ns:
            x = self.x(at_ns)
            yield (
                f'<path d="M{x:.1f} {BADGES}V{self.bottom + 5}" stroke="#d5dae0"/>'
                f'<text x="{x:.1f}" y="{self.bottom + 19}" text-anchor="middle" font-size="12">'
                f"{duration(at_ns - start_ns, step_ns)}</text>"
                f'<text x="{x:.1f}" y="{self.bottom + 34}" text-anchor="middle" font-size="11" '
                f'fill="#4a545e">{utc(at_ns)[11 : 19 if step_ns >= SECOND else 23]}</text>'
            )
            at_ns += step_ns
        yield (
            f'<path d="M{LEFT} {self.bottom}H{WIDTH - RIGHT}" stroke="#334"/>'
            f'<text x="{LEFT - 38}" y="{self.bottom + 19}" text-anchor="end" font-size="11.5" '
            f'fill="#4a545e">since start</text><text x="{LEFT - 38}" y="{self.bottom + 34}" '
            f'text-anchor="end" font-size="11.5" fill="#4a545e">UTC</text>'
        )

    @property
    def _start_ns(self) -> int:
        """Return the moment that all times count from."""
        return min((one.begins_ns for one in self.hops.watches), default=self.window.from_ns)

    def _when(self, at_ns: int) -> str:
        return f"{(at_ns - self._start_ns) / SECOND:.3f} s"

    def legend(self) -> list[str]:
        """Return an entry for each kind and state that occurs."""
        counts = [(kind, int(self.marks.many[self.marks.kind == kind].sum())) for kind in Kind]
        entries = [
            (_SHAPES[kind], f"{_WORDS[kind].split(' (')[0]} ({count:,})")
            for kind, count in counts
            if count
        ]
        seen = {_STATES.get(one.state, "maybe") for one in self.judgement.spans}
        entries += [
            (
                f'<rect x="-10" y="-7" width="20" height="14" {fill.format(self.ident)}/>',
                f"server {_STATE_WORDS[state]}",
            )
            for state, fill in _FILLS.items()
            if state in seen
        ]
        if numbered(self.judgement.rulings):
            badge = '<rect x="-8" y="-8" width="16" height="16" rx="3" fill="#8c1d18"/>'
            badge += '<text y="4.5" text-anchor="middle" font-size="11.5" fill="#fff">1</text>'
            badge = f'<g transform="translate(-14)">{badge}</g><circle cx="4" r="6" {_RING}/>'
            entries.append((badge, "a rule is broken; its frames"))
        step = (WIDTH - 24) // LEGEND_COLUMNS
        return [
            f'<g transform="translate({24 + at % LEGEND_COLUMNS * step} '
            f'{self.bottom + AXIS + 8 + at // LEGEND_COLUMNS * LEGEND_LINE})">{shape}'
            f'<text x="16" y="4.5" font-size="12">{words}</text></g>'
            for at, (shape, words) in enumerate(entries)
        ]

    def note(self) -> str:
        """Return what the reader of the picture has to know."""
        if not self.marks.bin_ns:
            return ""
        count, length = int(self.marks.many.sum()), self.marks.bin_ns / SECOND
        return (
            f"{count:,} queries are too many for a mark each: one mark stands for all of its kind "
            f"in {length:.3g} s, and says how many they are. Answers are bars; the tallest is "
            f"{self._most:,}."
        )

    def summary(self) -> str:
        """Say in words what the picture shows, for who cannot see it."""
        parts = []
        for server, name in enumerate(self.hops.servers):
            counts = [
                f"{count} {_WORDS[kind]}" for kind in Kind if (count := self._count(server, kind))
            ]
            parts.append(f"{name}: {', '.join(counts) or 'no queries'}")
        return ". ".join(parts) + "."

    def _count(self, server: int, kind: Kind) -> int:
        return int(self.marks.many[(self.marks.server == server) & (self.marks.kind == kind)].sum())


def numbered(rulings: Iterable[Ruling]) -> tuple[tuple[int, Ruling], ...]:
    """Return the broken rules with the numbers that they have in picture and table."""
    broken = [one for one in ranked(rulings) if one.outcome is Outcome.FAIL]
    return tuple(enumerate(broken, 1))


_RING = 'fill="none" stroke="#8c1d18" stroke-width="1.6"'


def _defs(ident: str, marks: Marks, radius: float) -> str:
    """Return the shapes that are used, once, and the hatchings."""
    shapes = "".join(
        f'<g id="{ident}-{kind}">{_SHAPES[kind]}</g>' for kind in Kind if kind in marks.kind
    ).replace('r="3.6"', f'r="{radius:g}"')
    return (
        f'<defs>{shapes}<pattern id="{ident}-held" width="7" height="7" '
        'patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="7" height="7" fill="#fdebc8"/><path d="M0 0V7" stroke="#d9a441" '
        f'stroke-width="2.4"/></pattern><pattern id="{ident}-maybe" width="7" height="7" '
        'patternUnits="userSpaceOnUse"><rect width="7" height="7" fill="#f1f2f4"/>'
        '<circle cx="3" cy="3" r="1" fill="#8a93a0"/></pattern></defs>'
    )


def _text(text: str) -> str:
    return escape(printable(text), quote=True)
