"""Views as one HTML file: tables, and a picture of those that are about time.

Laws: no script, no network, no font file; all text is escaped by the template engine; every number
in a picture is in the table beside it; the same tables give the same text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.views import Cell, Column, Table, View, as_json

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 900, 150, 56, 10, 26
MAX_ROWS = 2000  # of a table; a browser takes seconds to lay out more
MAX_BARS = 1500  # of one device: minutes of a day; more would not be told apart
GRID_LINES = 4
MOS_TITLE, MOS_HIGHEST = "Streams by MOS", 5.0  # ITU-T P.800: 1 to 5
STEPS = 20  # of a histogram
TIMES = ("at", "bucket")  # columns with a date and time, which is not to be broken
MAX_BAR_WIDTH = 60  # an hour alone would be a wall
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
    """One device's bars over time, or a histogram."""

    device: str  # or what is counted
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
    """Return a picture for each device of a view over time, and of how streams are spread."""
    if table.key == View.STREAMS:
        return tuple(_spread(table))
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


def _spread(table: Table) -> Iterator[Picture]:
    """Yield how many streams have which loss, jitter and MOS."""
    rows = as_json(table)
    lost = [(_number(row["lost"]), _number(row["packets"])) for row in rows]
    every: dict[str, list[float | None]] = {
        "Streams by packets lost, %": [
            100 * max(0.0, one) / (one + packets)
            for one, packets in lost
            if one is not None and packets is not None and one + packets > 0
        ],
        "Streams by mean jitter, ms": [_number(row["jitter_mean_ms"]) for row in rows],
        MOS_TITLE: [_number(row["mos"]) for row in rows],
    }
    for title, found in every.items():
        known = [value for value in found if value is not None]
        if known:
            yield _histogram(title, known, MOS_HIGHEST if title == MOS_TITLE else None)


def _number(cell: Cell) -> float | None:
    return float(cell) if isinstance(cell, int | float) else None


def _histogram(title: str, values: Sequence[float], highest: float | None = None) -> Picture:
    """Return how many of *values*, none below 0, lie in each of some equal steps.

    *highest* is where a scale ends by definition; without it the values say.
    """
    step_value = (_round_up(max(values)) if highest is None else highest) / STEPS
    sizes = [0] * STEPS
    for value in values:
        sizes[min(STEPS - 1, int(value / step_value))] += 1
    most = _round_up(max(sizes))
    width, room = (WIDTH - LEFT) / STEPS, HEIGHT - TOP - BOTTOM
    bars = tuple(
        Bar(
            x=round(LEFT + place * width + width * 0.1, 2),
            y=round(TOP + room * (1 - size / most), 2),
            width=round(width * 0.8, 2),
            height=round(room * size / most, 2),
            words=f"{place * step_value:g} to {(place + 1) * step_value:g}: {size}",
        )
        for place, size in enumerate(sizes)
    )
    ticks = tuple(
        (round(LEFT + place * width, 2), f"{place * step_value:g}")
        for place in range(0, STEPS, STEPS // 5)
    )
    ranked = sorted(values)
    words = (
        f"{title}: {len(values)} streams, lowest {ranked[0]:.4g}, "
        f"median {ranked[(len(ranked) - 1) // 2]:.4g}, highest {ranked[-1]:.4g}"
    )
    return Picture(words, bars, _grid(most), ticks, words)


def _grid(highest: float) -> tuple[tuple[float, str], ...]:
    """Return the lines across a picture: height and value."""
    room = HEIGHT - TOP - BOTTOM
    return tuple(
        (round(TOP + room * (1 - line / GRID_LINES), 2), f"{highest * line / GRID_LINES:g}")
        for line in range(GRID_LINES + 1)
    )


def _picture(
    device: str, points: list[tuple[str, float | None]], highest: float, column: Column
) -> Picture:
    """Return the bars of one device; all devices share the scale."""
    step = (WIDTH - LEFT) / len(points)
    room = HEIGHT - TOP - BOTTOM
    bars = tuple(
        Bar(
            x=round(LEFT + place * step + min(step * 0.1, MAX_BAR_WIDTH / 8), 2),
            y=round(TOP + room * (1 - (value or 0) / highest), 2),
            width=round(min(max(step * 0.8, 0.5), MAX_BAR_WIDTH), 2),
            height=round(room * (value or 0) / highest, 2),
            words=f"{bucket}: {'not known' if value is None else f'{value:.4g}'}",
        )
        for place, (bucket, value) in enumerate(points)
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
    return Picture(device, bars, _grid(highest), ticks, words)


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
    environment.globals |= {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "top": TOP,
        "times": TIMES,
    }
    return environment


def _cell(cell: Cell, column: Column) -> str:
    """Return a cell for people."""
    if cell is None:
        return "\N{EN DASH}"
    if isinstance(cell, float) and column.digits is not None:
        return f"{cell:.{column.digits}f}"
    return str(cell)
