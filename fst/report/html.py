"""The report as one HTML file: a page for the customer, the forms, the evidence, the signatures.

Laws: no script, no network, no font file; text of the journal is escaped by the template engine;
a link is made only of a path that cannot be anything else; the same report gives the same text.
"""

from functools import cache
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fst.acceptance import stand
from fst.report.model import BoxState, Form, Report, Row
from fst.report.moment import clock, lasted, utc
from fst.report.overview import exemptions, matrices, overall, readings, warning
from fst.report.strip_chart import Strip, svg
from fst.verdict import limits, ranges

CHECKED, EMPTY = "\N{BALLOT BOX WITH X}", "\N{BALLOT BOX}"
_GLYPHS = {
    BoxState.PASS: "\N{CHECK MARK}",
    BoxState.FAIL: "\N{MULTIPLICATION X}",
    BoxState.OTHER: "?",
    BoxState.NOT_APPLICABLE: "\N{EN DASH}",
    BoxState.WAITING: "\N{BALLOT BOX}",
    BoxState.NOT_RUN: "\N{MIDDLE DOT}",
}
_CLASSES = {
    BoxState.PASS: "pass",
    BoxState.FAIL: "fail",
    BoxState.OTHER: "other",
    BoxState.NOT_APPLICABLE: "na",
    BoxState.WAITING: "waiting",
    BoxState.NOT_RUN: "empty",
}
_PATH_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/")
_SHOWN_RANGES = 24  # of frames in a table; results.json has all
_KIBI = 1024


def render(report: Report) -> str:
    """Return the whole document."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            run=report.run,
            warning=warning(report),
            overall=overall(report),
            exemptions=exemptions(report),
            matrices=matrices(report),
            readings=readings(report),
            standing=stand(report),
            states=tuple(BoxState),
        )
    )


@cache
def _environment() -> Environment:
    """Return the engine, with every name that a template uses."""
    environment = Environment(
        loader=PackageLoader("fst.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "utc": utc,
        "clock": clock,
        "glyph": lambda state: _GLYPHS[BoxState(state)],
        "css": lambda state: _CLASSES[BoxState(state)],
        "frames": lambda frames: ranges(frames, _SHOWN_RANGES),
        "limits": limits,
        "size": size,
        "href": href,
        "sections": sections,
        "chart": _chart,
    }
    environment.globals |= {"lasted": lasted, "checked": CHECKED, "unchecked": EMPTY}
    return environment


def sections(form: Form) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    """Return the rows under the title of their section, in the order of the form."""
    return tuple((title, tuple(rows)) for title, rows in groupby(form.rows, lambda r: r.section))


def href(path: str) -> str:
    """Return *path* if it can only be a file below the run's folder, else "".

    >>> href("data/a.pcap"), href("javascript:x"), href("../a"), href("//host/a")
    ('data/a.pcap', '', '', '')
    """
    plain = all(c in _PATH_CHARS for c in path)
    inside = all(part not in {"", ".", ".."} for part in path.split("/"))
    return path if plain and inside else ""


def size(size_bytes: int) -> str:
    """Return a size in the unit that fits.

    >>> size(812), size(24_680)
    ('812 B', '24.1 KiB')
    """
    if size_bytes < _KIBI:
        return f"{size_bytes} B"
    if size_bytes < _KIBI**2:
        return f"{size_bytes / _KIBI:.1f} KiB"
    return f"{size_bytes / _KIBI**2:.1f} MiB"


def _chart(strip: Strip, ident: str) -> Markup:
    return Markup(svg(strip, ident))  # noqa: S704 - the chart escapes its own text
