"""The page of a verdict: pictures, rulings, sources; bounded, escaped, readable without colour."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from enumtest.judge.ruling import Span
from enumtest.profiles.profile_groups import Event
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN, HopTable, LookupTable
from enumtest.verdict.chart import chart
from enumtest.verdict.marks import (
    MAX_MARKS,
    SECOND,
    Kind,
    Window,
    duration,
    kinds_of,
    marks_of,
    rows_of,
    tick_ns,
)
from enumtest.verdict.page import close_window, page, picture
from enumtest.verdict.report import Doubt, Grade
from tests.enum_wire import MS, START_NS
from tests.verdict_bench import (
    FAIL,
    JUDGEMENT,
    ONE,
    SPANS,
    TWO,
    at,
    cites,
    report,
    ruling,
    run,
    table_of,
    with_rulings,
)

NS = "{http://www.w3.org/2000/svg}"
TABLE = table_of(run())
HOPS = TABLE.hops
WHOLE = Window(at(0), at(60))
HOSTILE = "<script>alert(1)</script>\x1b[31m\"'&\u202e"


def tree(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own text


def drawn(hops: HopTable = HOPS, window: Window = WHOLE) -> tuple[ET.Element, str]:
    """Return the picture, and what is said below it."""
    text, note = chart(hops, JUDGEMENT, window)
    return tree(text), note


def titles(root: ET.Element) -> list[str]:
    return [one.text or "" for one in root.iter(f"{NS}title")]


def large(size: int) -> HopTable:
    """Return a table of so many questions in an hour, every hundredth without an answer."""
    fill = {
        "server": np.arange(size) % 3,
        "qtype": np.full(size, 35),
        "event": np.where(np.arange(size) % 100 == 99, EVENTS.index(Event.SILENCE), 0),
        "answered_ns": np.full(size, START_NS),
        "late_ns": np.full(size, NOT_SEEN),
        "sends_from": np.arange(size + 1),
        "send_ns": START_NS + np.arange(size) * (3600 * SECOND // max(size, 1)),
        "send_frame": np.arange(1, size + 1),
    }
    names = [name for name in HopTable.__slots__ if isinstance(getattr(HOPS, name), np.ndarray)]
    columns = {
        name: fill.get(name, np.zeros(size)).astype(getattr(HOPS, name).dtype) for name in names
    }
    return replace(HOPS, **columns)  # type: ignore[arg-type]


def test_every_question_is_a_mark_with_its_frame() -> None:
    """In a capture of 120 calls each question is drawn, and says file, frame, time and number."""
    root, note = drawn()
    uses = list(root.iter(f"{NS}use"))

    assert len(uses) == len(HOPS.send_ns)
    assert note == ""
    assert "enum1, 0.000 s, answered after 3.0 ms; sbc.pcap:1; " + HOPS.questions[0] in titles(root)


def test_each_server_has_a_strip_with_its_states() -> None:
    """Names, counts and states, each state with its time and with the frame that began it."""
    root, _ = drawn()
    texts = [part for one in root.iter(f"{NS}text") for part in one.itertext()]

    assert {"enum1", "enum2", "enum3"} <= set(texts)
    assert f"{sum(HOPS.server == 0)} asked" in texts
    assert "enum2 held, 10.000 s to 40.000 s, because of sbc.pcap:40" in titles(root)


def test_a_broken_rule_has_a_number_and_its_frames_a_ring() -> None:
    """The number in the picture is that of the table; every cited frame in a row is ringed."""
    root, _ = drawn()
    rings = [one for one in root.iter(f"{NS}circle") if one.get("class") == "ring"]
    rows = {row for one in cites(58, 61) for row in rows_of(HOPS, one)}

    assert len(rings) == len(rows)
    assert any(title.startswith("1: hold-down.kept: asked 12.3 s") for title in titles(root))


def test_every_kind_has_its_own_shape() -> None:
    """Without any colour, no two kinds of mark look the same."""
    hops = large(3 * len(Kind))
    events = [None, Event.NXDOMAIN, Event.TRUNCATED, Event.SILENCE, Event.SERVFAIL, Event.GARBLED]
    numbers = np.array([EVENTS.index(event) for event in events], np.int8)
    mixed = replace(hops, event=np.resize(numbers, len(hops)))
    mixed.probe[:12] = True
    mixed.late_ns[21] = START_NS  # one of the silent ones
    text, _ = chart(mixed, JUDGEMENT, Window(START_NS, START_NS + 3600 * SECOND))
    shapes = re.findall(r'<g id="strip-\d+">(.*?)</g>', text)
    outlines = {re.sub(r' (fill|stroke)="(?!#fff)[^"]*"', "", shape) for shape in shapes}

    assert len(shapes) == len(Kind) - 1  # nothing was sent again
    assert len(outlines) == len(shapes)


def test_kinds_follow_the_event_the_probe_and_the_late_answer() -> None:
    """NODATA is an answer, a late one is no silence, a probe is told apart by how it went."""
    events = [None, Event.NODATA, Event.REFUSED, Event.WRONG_ID, Event.SILENCE, Event.SILENCE]
    hops = large(len(events) + 2)
    numbers = [EVENTS.index(event) for event in events]
    hops.event[:] = [*numbers, 0, EVENTS.index(Event.SERVFAIL)]
    hops.late_ns[5] = START_NS
    hops.probe[6:] = True

    assert kinds_of(hops).tolist() == [
        *(Kind.ANSWERED, Kind.NO_NUMBER, Kind.ERROR, Kind.UNREADABLE, Kind.SILENT, Kind.LATE),
        *(Kind.PROBE_ANSWERED, Kind.PROBE_FAILED),
    ]


@pytest.mark.parametrize("size", [5_000, 300_000])
def test_many_questions_share_marks(size: int) -> None:
    """However many they are, the picture stays small, says so, and counts every one of them."""
    hops = large(size)
    window = Window(START_NS, START_NS + 3600 * SECOND)
    marks = marks_of(hops, JUDGEMENT.client, window)
    text, note = chart(hops, JUDGEMENT, window)

    assert marks.many.sum() == size
    assert len(marks.row) <= MAX_MARKS
    assert len(text) < 1_000_000
    assert f"{size:,} queries are too many for a mark each" in note
    assert any("times answered, the first in sbc.pcap:" in title for title in titles(tree(text)))


def test_what_failed_never_hides_in_a_mark_of_answers() -> None:
    """One silent question among 300 000 has a mark of its own."""
    hops = large(300_000)
    hops.event[:] = 0
    hops.event[150_000] = EVENTS.index(Event.SILENCE)
    marks = marks_of(hops, JUDGEMENT.client, Window(START_NS, START_NS + 3600 * SECOND))

    (alone,) = np.flatnonzero(marks.kind == Kind.SILENT)
    assert (marks.many[alone], marks.row[alone]) == (1, 150_000)


def test_retransmissions_are_marks_but_no_questions() -> None:
    """They stand below, and the count beside the name leaves them out."""
    root, _ = drawn()
    again = [one for one in root.iter(f"{NS}use") if one.get("href") == f"#strip-{Kind.AGAIN}"]

    assert len(again) == len(HOPS.send_ns) - len(HOPS) > 0


def test_only_the_client_asked_for_is_drawn() -> None:
    """Another SBC's questions are in its own picture."""
    stranger = replace(JUDGEMENT, client="192.0.2.99")
    text, _ = chart(HOPS, stranger, WHOLE)

    assert "<use" not in text
    assert "enum1: no queries" in text


def test_a_page_is_one_file_without_a_script() -> None:
    """Nothing is fetched and nothing runs."""
    text = page(report(TABLE))

    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?!#)', text)
    assert not re.search(r"url\((?!#)", text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_page_shows_each_ruling_with_frame_and_command() -> None:
    """Worst first; what failed has the tshark line that shows its first frame."""
    text = page(report(TABLE))
    outcomes = re.findall(r'<td><span class="word (\w+)">', text)

    assert outcomes == ["FAIL", "OTHER", "PASS"]
    assert "sbc.pcap:58, at 14.000 s; also 61" in text
    assert "tshark -r sbc.pcap -Y &#39;frame.number==58&#39; -V" in text
    assert "at least 12 more calls are needed" in text
    assert "29.9 to 30.1 s" in text


def test_a_page_names_sources_and_what_nobody_knows() -> None:
    """Each declared value stands with its source; the others are named, and were not judged."""
    text = page(report(TABLE))

    assert "FST plan, part B.3, step 2" in text
    assert "Nobody knows, and every reading was accepted of: " in text
    assert "retransmission.expire (ms)" in text
    assert "What this does not prove" in text


def test_hostile_text_stays_text() -> None:
    """Names off the wire, of files and in rulings neither run, nor close a tag, nor turn a line."""
    hops = replace(
        HOPS,
        questions=tuple(HOSTILE for _ in HOPS.questions),
        watches=tuple(replace(one, name=HOSTILE) for one in HOPS.watches),
    )
    broken = ruling(outcome=FAIL, observed=HOSTILE, server=TWO, at_ns=at(9), cites=cites(58))
    hostile = replace(with_rulings(broken), client=JUDGEMENT.client)
    made = report(replace(TABLE, hops=hops), hostile, doubts=(Doubt(Grade.NOTE, HOSTILE),))
    text = page(replace(made, command=HOSTILE))

    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    tree(text[text.index("<svg") : text.index("</svg>") + 6])


def test_the_picture_alone_is_a_file() -> None:
    """For another document."""
    assert tree(picture(report(TABLE))).tag == f"{NS}svg"


def test_a_closer_look_holds_the_state_it_lies_in() -> None:
    """From before the hold-down to behind it, when the whole is much longer."""
    broken = ruling(outcome=FAIL, server=TWO, at_ns=at(14))
    window = close_window(broken, SPANS, Window(at(0), at(600)))

    assert window is not None
    assert window.from_ns <= at(10)
    assert window.until_ns >= at(42)


@pytest.mark.parametrize(
    ("at_ns", "until_s"), [(at(14), 60), (0, 600), (at(700), 600)], ids=["short", "none", "beyond"]
)
def test_no_closer_look_where_it_shows_nothing_new(at_ns: int, until_s: float) -> None:
    """The whole is short already, or the violation has no time, or lies beyond the capture."""
    broken = ruling(outcome=FAIL, server=TWO, at_ns=at_ns)

    assert close_window(broken, SPANS, Window(at(0), at(until_s))) is None


def test_badges_of_one_moment_stand_side_by_side() -> None:
    """Two rules broken by one question are two numbers that can be read."""
    rules = [ruling(f"rule.{n}", FAIL, server=TWO, at_ns=at(14), cites=cites(58)) for n in "ab"]
    text, _ = chart(HOPS, with_rulings(*rules), WHOLE)
    boxes = re.findall(r'<rect x="([0-9.]+)" y="\d+" width="16" height="16"', text)

    assert len(set(boxes)) == len(boxes) == 2


def test_a_state_that_is_not_known_is_drawn_as_perhaps() -> None:
    """No word of a judge makes the picture fail."""
    odd = replace(JUDGEMENT, spans=(Span(ONE, "resting", at(0), at(9)),))

    assert "enum1 resting, 0.000 s to 9.000 s" in titles(tree(chart(HOPS, odd, WHOLE)[0]))


@pytest.mark.parametrize("length_ns", [1, 999, 40 * MS, SECOND, 61 * SECOND, 86_400 * 9 * SECOND])
def test_ticks_are_round_and_few(length_ns: int) -> None:
    """At most a dozen on an axis, whatever its length."""
    assert length_ns / tick_ns(length_ns) <= 12


def test_short_times_are_told_precisely() -> None:
    """Ticks of milliseconds are not all "0 s"."""
    assert duration(4 * MS, MS) == "0.004 s"


def test_a_frame_is_found_by_any_of_its_parts() -> None:
    """A send, a retransmission and an answer lead to their row; one of another file does not."""
    row = int(np.flatnonzero(np.diff(HOPS.sends_from) > 1)[0])
    again = int(HOPS.send_frame[HOPS.sends_from[row] + 1])

    assert rows_of(HOPS, cites(again)[0]) == [row]
    assert rows_of(HOPS, cites(int(HOPS.answer_frame[5]))[0]) == [5]
    assert rows_of(HOPS, cites(again, name="other.pcap")[0]) == []


def test_a_page_without_a_call_is_a_page() -> None:
    """Nothing to judge is said, not raised."""
    empty = LookupTable(large(0), np.zeros(0, np.int64), np.zeros(1, np.int64), (), 0)

    assert "not one rule was applied" in page(report(empty, with_rulings()))
