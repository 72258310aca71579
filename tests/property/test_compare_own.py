"""A report made from our own figures is equal, in every view and bucket."""

from typing import TYPE_CHECKING, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.packets.blocks import whole
from harness.premises import Premises
from harness.views import View, as_csv
from probetest.compare.counting import Observed, by_bucket, by_party, counted
from probetest.compare.evidence import read_evidence
from probetest.compare.hypotheses import HYPOTHESES, Hypothesis
from probetest.compare.report import Kind, Number, Report, Reported
from probetest.compare.run import run
from probetest.compare.theirs import read_report
from probetest.compare.way import OURS
from probetest.dataset import read_tap
from probetest.summary import table
from tests.sip_wire import PHONE, SBC, Leg, Tape, dialog

if TYPE_CHECKING:
    from harness.buckets import Group

VIEWS = (View.AVERAGE, View.PEAK, View.TOP_SOURCE, View.TOP_DESTINATION, View.CALLS, View.STREAMS)
ZONES = ("UTC", "Europe/London", "Asia/Kathmandu")


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Return calls of a few parties over a few hours, some seen twice, some never answered."""
    tape = Tape()
    for number in range(draw(st.integers(1, 8))):
        at_ms = draw(st.integers(0, 3 * 3_600_000))
        caller, called = (f"+1650555010{draw(st.integers(0, 3))}" for _ in range(2))
        leg = Leg(
            f"{number}@192.0.2.10",
            f"<sip:{caller}@192.0.2.10>",
            f"sip:{called}@192.0.2.20",
            f"a{number}",
            f"z9hG4bK-{number}",
        )
        if draw(st.booleans()):
            dialog(tape, at_ms, leg, seconds=draw(st.integers(1, 30)))
        else:
            tape.udp(at_ms, PHONE, SBC, leg.request())
            if draw(st.booleans()):
                tape.udp(at_ms + 1, PHONE, SBC, leg.request(), ip_id=tape.ip_id)
    tape.frames.sort()
    return tape


@settings(max_examples=60, deadline=None)
@given(tapes(), st.sampled_from(VIEWS), st.sampled_from(("minute", "hour", "day")), st.data())
def test_our_own_view_is_equal(tape: Tape, view: View, group: str, data: st.DataObject) -> None:
    """Each view's CSV, read back and compared with the capture that it is of."""
    zone = data.draw(st.sampled_from(ZONES))
    top = data.draw(st.integers(1, 4))
    length = cast("Group", group)
    tap = read_tap(tape.capture(), Premises(), device="probe1")
    text = as_csv(table(view, [tap], length, zone, top))
    report = read_report(text, Premises(), form=view.value)
    found = run(lambda: [whole(tape.capture())], report, Premises(), group=length, zone=zone)

    assert found.rows
    assert [row for row in found.rows if row.verdict != "equal"] == []


@settings(max_examples=40, deadline=None)
@given(tapes(), st.sampled_from(HYPOTHESES))
def test_the_figures_of_a_bug_name_it(tape: Tape, bug: Hypothesis) -> None:
    """Counts and destinations made with the bug are equal to ours, or explained by it too."""
    way = bug.change(OURS)
    evidence = read_evidence([whole(tape.capture())], Premises(), view=way.view)
    tap = read_tap(tape.capture(), Premises())
    observed = Observed(tap.watched, "hour", "UTC", tap.streams)
    calls = counted(evidence, way)
    rows = [
        Reported(
            Kind.BUCKET,
            1,
            one.at_ns,
            numbers={"calls": Number(one.calls), "rate": Number(one.rate)},
        )
        for one in by_bucket(calls, observed, way)
    ]
    rows += [
        Reported(Kind.TOP_DESTINATION, 2, at_ns, key=(party,), numbers={"calls": Number(number)})
        for at_ns, parties in by_party(calls, observed, way, "destination").items()
        for party, number in parties.items()
    ]
    found = run(lambda: [whole(tape.capture())], Report("own", tuple(rows)), Premises())

    assert found.is_equal or (bug,) in {one.together for one in found.explanations}


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.sampled_from(("", "report", "cdr", "streams", "sngrep")))
def test_any_text_is_a_report_or_refused(text: str, form: str) -> None:
    """Rows or `InputError`, nothing else."""
    try:
        report = read_report(text, Premises(), form=form)
    except InputError:
        return
    assert all(row.line > 0 for row in report.rows)
