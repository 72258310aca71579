"""Text that peers and people wrote into a journal, at its worst."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from html.parser import HTMLParser

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fst.report import html, junit, results
from fst.report.fields import legible
from fst.report.model import build
from fst.report.strip_chart import svg
from harness.errors import InputError
from harness.journal import Event
from tests.unit.test_report_sample import sample

PLACES = frozenset({"step", "target"})  # stay apart, or their attempts would become one box's
WORDS_OF_OURS = frozenset({"outcome", "dots", "spans", "calls", "type"})  # closed sets, not text
PREFIX = "<b onx='\"`>&#60;]]>--!>{{x}}{% raw %}"  # hostile in HTML, XML, CSS and the template
VOID = frozenset({"meta", "br"})
ANYTHING = st.text(st.characters(codec=None, categories=None), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Skeleton(HTMLParser):
    """The tags and attribute names of a page, checked for balance, and its text."""

    def __init__(self, page: str) -> None:
        """Read the whole *page*."""
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag, and wait for its end."""
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag that has no end."""
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Insist that it ends what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text.append(data)


def infest(value: object, text: str) -> object:
    """Return *value* with every non-empty text of it replaced."""
    if isinstance(value, str):
        return text if value else ""
    if isinstance(value, list):
        return [infest(item, text) for item in value]
    if isinstance(value, dict):
        return infested_fields(value, text)
    return value


def infested_fields(fields: Mapping[str, object], text: str) -> dict[str, object]:
    return {
        key: f"{text} {item}"
        if key in PLACES
        else item
        if key in WORDS_OF_OURS
        else infest(item, text)
        for key, item in fields.items()
    }


def infested(text: str) -> list[Event]:
    return [
        Event(event.seq, event.at_ns, event.type, event.prev, infested_fields(event.fields, text))
        for event in sample()
    ]


PLAIN = Skeleton(html.render(build(infested("two words")))).tags


@SLOW
@given(ANYTHING)
def test_hostile_text_changes_no_tag_of_the_page(drawn: str) -> None:
    """Whatever the journal's texts say, the page has the tags that it has for plain words."""
    text = PREFIX + drawn
    page = html.render(build(infested(text)))
    found = Skeleton(page)
    assert found.tags == PLAIN
    assert any(legible(text) in said for said in found.text)
    assert PREFIX not in page
    page.encode("utf-8")


@SLOW
@given(ANYTHING)
def test_hostile_text_keeps_xml_svg_and_json_whole(drawn: str) -> None:
    """The other formats stay well formed and give the text back."""
    text = PREFIX + drawn
    report = build(infested(text))
    suites = ET.fromstring(junit.render(report))  # noqa: S314 - our own text
    assert suites.get("name") == legible(text)
    strip = next(
        attempt.strip for each in report.evidence for attempt in each.attempts if attempt.strip
    )
    picture = svg(strip, text)
    ET.fromstring(picture)  # noqa: S314 - our own text
    assert PREFIX not in picture
    found = json.loads(json.dumps(results.render(report), ensure_ascii=False).encode("utf-8"))
    assert found["run"]["title"] == legible(text)


@SLOW
@given(st.data())
def test_any_json_in_a_field_gives_a_report_or_an_input_error(data: st.DataObject) -> None:
    """A field may hold anything: the journal is reported or refused by name, never a crash."""
    events = sample()
    index = data.draw(st.sampled_from(range(len(events))), "event")
    event = events[index]
    name = data.draw(st.sampled_from(sorted(event.fields)) if event.fields else st.just("x"))
    fields = dict(event.fields) | {name: data.draw(JSON, "value")}
    events[index] = Event(event.seq, event.at_ns, event.type, event.prev, fields)
    try:
        report = build(events)
    except InputError:
        return
    Skeleton(html.render(report))
    ET.fromstring(junit.render(report))  # noqa: S314 - our own text
    json.dumps(results.render(report), allow_nan=False)


@given(ANYTHING)
def test_legible_text_is_left_alone_the_second_time(text: str) -> None:
    """Making text legible is done once and for all, and XML 1.0 can hold what comes out."""
    once = legible(text)
    assert legible(once) == once
    ET.fromstring("<a/>").text = once  # noqa: S314 - our own text
    assert all(c in "\t\n" or c >= " " for c in once)


def test_reordering_characters_are_spelled_out() -> None:
    """Text that would make a reader see other digits than those dialled shows its trick."""
    assert legible("+1\u202e2125550123") == "+1\\u202e2125550123"
