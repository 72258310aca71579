"""The strip chart: rows, dots, states and marks, as SVG."""

import re
import xml.etree.ElementTree as ET

import pytest

from fst.report.strip_chart import (
    CallKind,
    Dot,
    DotKind,
    Span,
    SpanKind,
    Strip,
    svg,
)
from harness.errors import InputError

NS = "{http://www.w3.org/2000/svg}"
STRIP = Strip(
    ("enum1", "enum2", "enum3"),
    dots=(Dot(0, 0, DotKind.ANSWERED, 3), Dot(2500, 1, DotKind.UNANSWERED, 17)),
    spans=(Span(1, 2000, 6000, SpanKind.DOWN), Span(1, 6000, None, SpanKind.HELD)),
    marks=((2000, "enum2 stopped"),),
    calls=((40, CallKind.ALLOWED), (4000, CallKind.NONE)),
)


def tree(strip: Strip) -> ET.Element:
    return ET.fromstring(svg(strip))  # noqa: S314 - our own text


def titles(strip: Strip) -> list[str]:
    return [each.text or "" for each in tree(strip).iter(f"{NS}title")]


def test_tool_tips_name_server_time_kind_and_frame() -> None:
    """Each dot, state, mark and call says in words what it is, so nobody must guess."""
    told = titles(STRIP)
    assert "enum2, 2.500 s, unanswered, frame 17" in told
    assert "enum2 down, 2.000 s to 6.000 s" in told
    assert "enum2 held, 6.000 s to the end" in told
    assert "enum2 stopped, 2.000 s" in told
    assert "call no result, 4.000 s" in told


def test_has_an_accessible_name_and_description() -> None:
    """A reader that cannot see the picture gets the counts of each server in words."""
    root = tree(STRIP)
    labelled = (root.get("aria-labelledby") or "").split()
    ids = {each.get("id") for each in root.iter() if each.get("id")}
    assert set(labelled) <= ids
    assert "enum2: 1 unanswered" in (root.findtext(f"{NS}desc") or "")
    assert "enum3: no queries" in (root.findtext(f"{NS}desc") or "")


def test_every_kind_has_its_own_shape() -> None:
    """Without any colour, no two kinds of dot or call look the same."""
    shapes = set()
    for kind in DotKind:
        shapes.add(shape(Strip(("a",), dots=(Dot(0, 0, kind),))))
    for call in CallKind:
        shapes.add(shape(Strip(("a",), calls=((0, call),))))
    assert len(shapes) == len(DotKind) + len(CallKind)


def shape(strip: Strip) -> str:
    """Return the drawing of the only dot, with its colours taken off."""
    drawn = re.search(r"<g [^>]*><title>[^<]*</title>(.*?)</g>", svg(strip))
    assert drawn
    return re.sub(r'(fill|stroke)="#[0-9a-f]+"', "", drawn[1])


def test_legend_has_only_what_occurs() -> None:
    """The legend counts the kinds in the picture and names no other."""
    text = svg(STRIP)
    assert "query answered (1)" in text
    assert "server held" in text
    assert "query late" not in text


def test_axis_is_in_seconds() -> None:
    """The axis names its unit, and its ticks are whole steps of it."""
    text = svg(Strip(("enum1",), dots=(Dot(80_000, 0, DotKind.LATE),)))
    assert "in seconds (s)" in text
    assert ">80</text>" in text


@pytest.mark.parametrize("t_ms", [0.0, 0.4, -5.0, 1e11, -1e11])
def test_any_time_has_few_ticks(t_ms: float) -> None:
    """A chart of half a millisecond, and one of three years, has ticks that can be read."""
    labels = re.findall(r">(-?[0-9.e+]+)</text>", svg(Strip(("a",), marks=((t_ms, "now"),))))
    assert 2 <= len(labels) <= 12


def test_crowded_marks_never_share_a_place() -> None:
    """Labels that would overlap go to other lanes; one without room keeps its line and tool tip."""
    strip = Strip(("enum1",), marks=(*((i, f"mark number {i}") for i in range(8)), (9000, "z")))
    texts = [e for e in tree(strip).iter(f"{NS}text") if (e.findtext(f"{NS}title") or "")]
    labels = [e for e in texts if (e.findtext(f"{NS}title") or "").startswith("mark")]
    assert len({e.get("y") for e in labels}) == len(labels) == 4
    assert sum("mark number" in told for told in set(titles(strip))) == 8


def test_empty_strip_is_still_a_picture() -> None:
    """A strip without a query draws its rows, so that silence can be seen."""
    assert "enum1" in svg(Strip(("enum1",)))


def test_text_is_escaped() -> None:
    """A server or a mark named like markup stays text, and control characters are spelled out."""
    text = svg(Strip(("<b>&\"'",), marks=((0, "</text><script>\x00"),)))
    assert "<b>" not in text
    assert "<script>" not in text
    assert "\\x00" in text
    ET.fromstring(text)  # noqa: S314 - our own text


def test_ids_are_kept_apart() -> None:
    """Two charts on one page share no id, and a hostile ident cannot break out of its attribute."""
    assert 'id="strip-2-1-down"' in svg(STRIP, "strip-2-1")
    assert 'id="xy-down"' in svg(STRIP, 'x" y')


@pytest.mark.parametrize(
    "made",
    [
        lambda: Strip(("a",), dots=(Dot(0, 1, DotKind.ANSWERED),)),
        lambda: Strip(("a",), spans=(Span(-1, 0, 1, SpanKind.DOWN),)),
        lambda: Strip(("a",), marks=((1e12, "late"),)),
        lambda: Strip(("a",), calls=((float("nan"), CallKind.NONE),)),
    ],
)
def test_refuses_what_cannot_be_drawn(made: object) -> None:
    """A row that is not there, and a time that no attempt has, are refused at construction."""
    assert callable(made)
    with pytest.raises(InputError):
        made()


def test_same_strip_gives_the_same_text() -> None:
    """Nothing but the strip goes into the picture."""
    assert svg(STRIP) == svg(STRIP)
