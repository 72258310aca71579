"""What people said stands in every report: declarations, caveats, witnesses, acceptance."""

import json
import xml.etree.ElementTree as ET

from fst.report import html, junit, results
from fst.report.model import build
from fst.report.overview import overall
from tests.unit.test_report_sample import Writer, sample

BOX = {"step": "B.3.2", "target": "site1", "attempt": 2}


def told() -> Writer:
    """Return the sample run with everything that people can say."""
    journal = Writer()
    journal.events = sample()
    journal.add("caveat", **BOX, words="<two> servers only", severity="major", by="T. Ester")
    journal.add("witness", **BOX, by="W. Itness", says="other", words="one call was late")
    journal.add("disagreement", **BOX, said="heard a tone", packets="no RTP at all", who="T. Ester")
    told = {"outcome": "OTHER", "words": "an echo was heard", "by": "T. Ester"}
    journal.add("verdict.declared", **BOX, **told)
    boxes = [["B.3.2", "site1", 2]]
    kept = {"path": "acceptance/reply.eml", "sha256": "d4" * 32, "bytes": 3}
    journal.add("acceptance", boxes=boxes, by="C. Ustomer", note="", **kept)
    journal.add("run.handover", **{"from": "T. Ester", "to": "S. Econd"})
    journal.add("run.resumed", pid=7, reason="the line dropped", retest=["B.3.4"])
    journal.add("hold.gap", gap="gap-1", target="site1/enum1", gap_ns=95_000_000_000, why="asleep")
    journal.add("journal.repaired", file="journal.torn-1", bytes=17, sha256="e5" * 32)
    return journal


def test_the_page_tells_everything_in_words() -> None:
    """Form, evidence and summary each have it, escaped."""
    page = html.render(build(told().events))
    for said in (
        "Declared OTHER</strong> by T. Ester",
        "an echo was heard",
        "The checks earned PASS.",
        "Caveat (major):</strong> &lt;two&gt; servers only",
        "Witness W. Itness says OTHER",
        "said: heard a tone; the packets: no RTP at all (T. Ester)",
        "Accepted</strong> by C. Ustomer",
        'href="acceptance/reply.eml"',
        "Handed over from T. Ester to S. Econd.",
        "Resumed. the line dropped; tried again: B.3.4",
        "A wait at site1/enum1 was not watched for 95 s. asleep",
        "its 17 bytes are kept in journal.torn-1",
        "T. Ester, then S. Econd",
    ):
        assert said in page


def test_a_change_after_the_acceptance_is_said() -> None:
    """The old consent is shown for what it is."""
    journal = told()
    assert "not accepted as it is now" not in html.render(build(journal.events))
    journal.add("caveat", **BOX, words="and at night", by="T. Ester")
    assert "Something changed after that: not accepted as it is now." in html.render(
        build(journal.events)
    )


def test_programs_find_it_too() -> None:
    """JSON has state, reservations and consent of a box, and how the run stands."""
    found = json.loads(json.dumps(results.render(build(told().events)), allow_nan=False))
    box = next(each for each in found["forms"][0]["boxes"] if each["step"] == "B.3.2")
    assert (box["state"], box["accepted"]) == ("OTHER", True)
    assert box["reservations"] == [
        "OTHER: an echo was heard",
        "caveat: <two> servers only",
        "disagreement: said: heard a tone; the packets: no RTP at all",
    ]
    assert found["standing"]["word"] == "FAIL"
    attempt = found["evidence"][box["evidence"] - 1]["attempts"][1]
    assert attempt["people"]["declared"][0]["words"] == "an echo was heard"
    assert attempt["proposed"] == "PASS"


def test_ci_servers_see_the_declared_verdict() -> None:
    """A declared OTHER is an error there, and who said what is a property."""
    suites = ET.fromstring(junit.render(build(told().events)))  # noqa: S314 - our own text
    case = next(one for one in suites.iter("testcase") if one.get("name") == "B.3.2 F13")
    error = case.find("error")
    assert error is not None
    assert error.get("message") == "an echo was heard"
    held = {(one.get("name"), one.get("value")) for one in case.iter("property")}
    assert ("declared", "OTHER by T. Ester: an echo was heard") in held
    assert ("witness", "W. Itness says OTHER: one call was late") in held
    assert ("accepted", "yes") in held


def test_overall_tells_what_waits_for_the_customer() -> None:
    """The customer's page counts what was accepted and what was not."""
    sentences = overall(build(told().events)).sentences
    assert "The customer accepted 1 case with caveats or OTHER." in sentences
    assert any("1 case with caveats, OTHER or a disagreement" in said for said in sentences)


def test_a_rehearsal_leaves_no_line_to_sign() -> None:
    """What can't be signed has no place for it; the warning says why."""
    events = sample()
    fields = dict(events[0].fields) | {"mode": "rehearsal", "watermark": "REHEARSAL"}
    journal = Writer()
    journal.add("run.start", **fields)
    page = html.render(build(journal.events))
    assert "can be neither accepted nor signed" in page
    assert 'class="sign"' not in page
