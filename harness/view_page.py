"""Views as one HTML file: tables, and a picture of those that are about time.

Laws: no script, no network, no font file; all text is escaped by the template engine; every number
in a picture is in the table beside it; the same tables give the same text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.views import Cell, Column, Table, View

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 900, 150, 56, 10, 26
MAX_ROWS = 2000  # of a table; a browser takes seconds to lay out more
MAX_BARS = 1500  # of one device: minutes of a day; more would not be told apart
GRID_LINES = 4
TICK_WIDTH = 70  # of a date and time below the bars
_VALUE = {View.AVERAGE: "average_cps", View.PEAK: "calls"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bucket in a picture; places in pixels."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One device's bars over time."""

    device: str
    bars: tuple[Bar, ...]
    grid: tuple[tuple[float, str], ...]  # height, and the value there
    ticks: tuple[tuple[float, str], ...]  # place, and the bucket that begins there
    words: str  # for who cannot see it


def render(title: str, facts: Sequence[tuple[str, str]], tables: Sequence[Table]) -> str:
    """Return the whole document."""
    shown = [(_shortened(table), pictures(table)) for table in tables]
    return (
        _environment().get_template("views.html.j2").render(title=title, facts=facts, shown=shown)
    )


def _shortened(table: Table) -> Table:
    """Return the table with as many rows as a page can have, and where the others are."""
    if (more := len(table.rows) - MAX_ROWS) <= 0:
        return table
    note = f"{table.note} The first {MAX_ROWS} rows; {more} more are in the CSV, JSON and Parquet."
    return replace(table, rows=table.rows[:MAX_ROWS], note=note)


def pictures(table: Table) -> tuple[Picture, ...]:
    """Return a picture for each device of a view over time, none for other views."""
    key = _VALUE.get(View(table.key)) if table.key in set(View) else None
    if key is None:
        return ()
    keys = [column.key for column in table.columns]
    device, bucket, value = (keys.index(name) for name in ("device", "bucket", key))
    found: dict[str, list[tuple[str, float | None]]] = {}
    for row in table.rows:
        number = row[value]
        known = number if isinstance(number, int | float) else None
        found.setdefault(str(row[device]), []).append((str(row[bucket]), known))
    highest = _round_up(max((v or 0 for points in found.values() for _, v in points), default=0))
    return tuple(
        _picture(name, points, highest, table.columns[value])
        for name, points in found.items()
        if len(points) <= MAX_BARS
    )


def _picture(
    device: str, points: list[tuple[str, float | None]], highest: float, column: Column
) -> Picture:
    """Return the bars of one device; all devices share the scale."""
    step = (WIDTH - LEFT) / len(points)
    room = HEIGHT - TOP - BOTTOM
    bars = tuple(
        Bar(
            x=round(LEFT + place * step + step * 0.1, 2),
            y=round(TOP + room * (1 - (value or 0) / highest), 2),
            width=round(max(step * 0.8, 0.5), 2),
            height=round(room * (value or 0) / highest, 2),
            words=f"{bucket}: {'not known' if value is None else f'{value:.4g}'}",
        )
        for place, (bucket, value) in enumerate(points)
    )
    grid = tuple(
        (round(TOP + room * (1 - line / GRID_LINES), 2), f"{highest * line / GRID_LINES:g}")
        for line in range(GRID_LINES + 1)
    )
    every = max(1, len(points) // 6)
    ticks = tuple(
        (round(LEFT + place * step, 2), points[place][0][5:16].replace("T", " "))
        for place in range(0, len(points), every)
        if LEFT + place * step <= WIDTH - TICK_WIDTH
    )
    most, when = max(((v or 0), b) for b, v in points)
    words = (
        f"{column.title} of {device}, {len(points)} buckets; the most is {most:.4g}, from {when}"
    )
    return Picture(device, bars, grid, ticks, words)


def _round_up(value: float) -> float:
    """Return the next number of the form 1, 2, 4, 6 or 8 times a power of ten; at least 0.0001.

    >>> [_round_up(value) for value in (0.03, 1, 5, 170)]
    [0.04, 1.0, 6.0, 200.0]
    """
    size = 1e-4
    while size * 10 < value:
        size *= 10
    return next(float(f"{size * part:.6g}") for part in (1, 2, 4, 6, 8, 10) if size * part >= value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    environment.globals |= {"width": WIDTH, "height": HEIGHT, "left": LEFT, "top": TOP}
    return environment


def _cell(cell: Cell, column: Column) -> str:
    """Return a cell for people."""
    if cell is None:
        return "\N{EN DASH}"
    if isinstance(cell, float) and column.digits is not None:
        return f"{cell:.{column.digits}f}"
    return str(cell)
