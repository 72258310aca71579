"""What is shown of the holds while they last: a line of numbers, bars, the change window.

Pure but for rich's own drawing: the view is a value, and its text is made from it alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fst.hold import Gap
from fst.window import TimeLeft

NS = 1_000_000_000
MIN_S, HOUR_S = 60, 3600
BAR_CHARS = 30


@dataclass(frozen=True, slots=True)
class MarkView:
    """One wait of the plan, on all hosts."""

    name: str  # such as "10-min"
    length_ns: int
    left_ns: int
    over: int
    hosts: int

    @property
    def words(self) -> str:
        """Return it in words."""
        if self.over == self.hosts:
            return f"{self.name} mark passed"
        return f"{self.name} mark in {clock_text(self.left_ns)}"


@dataclass(frozen=True, slots=True)
class HoldView:
    """All that is shown, as of one moment."""

    hosts: int
    running: int
    marks: tuple[MarkView, ...]
    restarts: int
    alarms: int
    last_ns: int  # since the newest sample of any host
    behind: str = ""  # a host of which nothing was seen for too long
    behind_ns: int = 0
    undecided: tuple[Gap, ...] = ()
    stepped_ns: tuple[int, ...] = ()
    window: TimeLeft | None = None


def clock_text(ns: int) -> str:
    """Return a time in minutes and seconds, in hours too when it is that long.

    >>> clock_text(192 * NS), clock_text(7_864 * NS), clock_text(-61 * NS)
    ('03:12', '2:11:04', '-01:01')
    """
    sign, seconds = ("-", -ns // NS) if ns < 0 else ("", ns // NS)
    hours, rest = divmod(seconds, HOUR_S)
    minutes, seconds = divmod(rest, MIN_S)
    head = f"{hours}:" if hours else ""
    return f"{sign}{head}{minutes:02d}:{seconds:02d}"


def status_line(view: HoldView) -> str:
    """Return the line of numbers."""
    parts = [f"RUNNING {view.running}/{view.hosts}", *(mark.words for mark in view.marks)]
    parts += [f"restarts {view.restarts}", f"log alarms {view.alarms}"]
    is_over = bool(view.marks) and all(mark.over == mark.hosts for mark in view.marks)
    last = "watch over" if is_over else f"last sample {max(0, view.last_ns) // NS} s ago"
    return " | ".join([*parts, last])


def window_line(left: TimeLeft) -> str:
    """Return how much is left of the change window."""
    if left.begins_in_ns > 0:
        return f"window begins in {clock_text(left.begins_in_ns)}"
    if left.ends_in_ns <= 0:
        return f"window ended {clock_text(-left.ends_in_ns)} ago"
    back = left.no_return_in_ns
    point = f"in {clock_text(back)}" if back > 0 else f"passed {clock_text(-back)} ago"
    return f"window ends in {clock_text(left.ends_in_ns)} | point of no return {point}"


def warnings(view: HoldView) -> list[str]:
    """Return what a person should look at, one line each."""
    found = []
    if view.behind:
        found.append(f"nothing seen of {view.behind} for {view.behind_ns // NS} s")
    found += [
        f"{gap.id}: {gap.target} was not seen for {gap.length_ns / NS:.1f} s ({gap.why}): "
        "count or restart?"
        for gap in view.undecided
    ]
    found += [f"this machine's clock was set by {by / NS:+.1f} s" for by in view.stepped_ns]
    return found


class HoldPanel:
    """A rich renderable that shows what *look* returns at the time; "" before the watch began."""

    def __init__(self, look: Callable[[], HoldView | None]) -> None:
        """Keep where to look."""
        self._look = look
        self._said: set[str] = set()

    def __rich__(self) -> Group | Text:
        """Return the panel as of now."""
        view = self._look()
        if view is None:
            return Text("hosts are being started", style="dim")
        bars = Table.grid(padding=(0, 1))
        for mark in view.marks:
            done_ns = min(mark.length_ns, max(0, mark.length_ns - mark.left_ns))
            bar = ProgressBar(total=mark.length_ns, completed=done_ns, width=BAR_CHARS)
            bars.add_row(mark.name, bar, f"{mark.over}/{mark.hosts}")
        lines: list[Text | Table] = [Text(status_line(view)), bars]
        if view.window is not None:
            late = view.window.no_return_in_ns <= 0
            lines.append(Text(window_line(view.window), style="bold red" if late else ""))
        return Group(*lines, *(Text(line, style="yellow") for line in warnings(view)))

    def lines(self) -> list[str]:
        """Return the panel's words without its bars, where there is no place for them."""
        view = self._look()
        if view is None:
            return []
        window = [] if view.window is None else [window_line(view.window)]
        return [status_line(view), *window, *warnings(view)]

    def news(self) -> list[str]:
        """Return what was not said before: marks that passed, gaps, clocks that were set."""
        view = self._look()
        if view is None:
            return []
        now = [mark.words for mark in view.marks if mark.over == mark.hosts]
        now += [line for line in warnings(view) if not line.startswith("nothing seen")]
        fresh = [line for line in dict.fromkeys(now) if line not in self._said]
        self._said.update(fresh)
        return fresh
