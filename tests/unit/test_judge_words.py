"""The verdict in words: sentence, strips of characters, a line a ruling, and as JSON."""

import json
from dataclasses import replace

from enumtest.judge.ruling import Judgement, Measured, Span, Vantage
from enumtest.verdict.report import (
    Doubt,
    Grade,
    Report,
    advice,
    event,
    interval,
    ranked,
    sentence,
    tshark,
)
from enumtest.verdict.words import lines, strips
from harness.packets.frame import Endpoint
from tests.verdict_bench import (
    FAIL,
    JUDGEMENT,
    OTHER,
    PASS,
    TWO,
    at,
    cites,
    report,
    ruling,
    run,
    table_of,
    with_rulings,
)

TABLE = table_of(run())
BLIND = Doubt(Grade.BLIND, "no answer at all", "capture both ways", "sbc.pcap")
SHORT = Doubt(Grade.INCOMPLETE, "the file is cut")


def said(*judgements: Judgement, doubts: tuple[Doubt, ...] = ()) -> list[str]:
    return list(lines(report(TABLE, *judgements, doubts=doubts)))


def of(judgement: Judgement, doubts: tuple[Doubt, ...] = ()) -> Report:
    return report(TABLE, judgement, doubts=doubts)


def test_one_line_a_ruling_worst_first() -> None:
    """FAIL with expectation, frames and time; then OTHER with the calls needed; then PASS."""
    found = [line for line in said() if line.startswith(("  FAIL", "  OTHER", "  PASS"))]

    assert found == [
        (
            "  FAIL   1 hold-down.kept         enum2: asked 12.3 s after it was given up, 30 s are "
            "declared; expected: not asked while it is held down [sbc.pcap:58 and 1 more, 14.000 s]"
        ),
        (
            "  OTHER    readmission.in-time    enum2: the capture ends before; expected: asked "
            "again within one round; at least 12 more calls are needed"
        ),
        "  PASS     rotation.next-in-turn  118 of 118 turns [sbc.pcap:1]",
    ]


def test_what_failed_has_a_command_to_look_at_it() -> None:
    """The line can be pasted into a shell."""
    assert "  look at hold-down.kept: tshark -r sbc.pcap -Y 'frame.number==58' -V" in said()


def test_a_file_name_is_one_word_of_the_shell() -> None:
    """Whatever is in it."""
    (cite,) = cites(3, name="a b's;rm.pcap")

    assert (
        tshark(of(JUDGEMENT), cite) == """tshark -r 'a b'"'"'s;rm.pcap' -Y 'frame.number==3' -V"""
    )


def test_a_port_that_tshark_does_not_know_is_told_to_it() -> None:
    """Otherwise it shows bytes."""
    made = replace(of(JUDGEMENT), servers={"enum1": Endpoint("192.0.2.11", 15053)})

    assert "-d udp.port==15053,dns -d tcp.port==15053,dns -Y" in tshark(made, *cites(3))


def test_a_frame_is_counted_once() -> None:
    """One return may end several hold-downs."""
    made = said(with_rulings(replace(ruling(), cites=cites(3, 3, 3, 5))))

    assert any(line.endswith("[sbc.pcap:3 and 1 more]") for line in made)


def test_first_line_is_the_verdict() -> None:
    """With the profile and the servers."""
    assert said()[0].startswith("FAIL: profile fixed-hold-down, servers enum1 198.51.100.11:53, ")


def test_an_assumed_vantage_is_said() -> None:
    """Who did not say where the captures come from is told what was taken."""
    made = replace(report(TABLE), vantage=Vantage.SERVERS, vantage_said=False)

    assert "taken at the servers, assumed" in list(lines(made))[1]


def test_sentence_of_each_outcome() -> None:
    """FAIL names the first broken rule, OTHER the calls needed, PASS says that all held."""
    passed = with_rulings(ruling(), ruling("rotation"))
    open_ = with_rulings(ruling(), ruling("rotation", OTHER, needed=7))
    texts = [sentence(of(one), one) for one in (JUDGEMENT, open_, passed, with_rulings())]

    assert texts == [
        "1 of 3 rulings is FAIL; the first is hold-down.kept (enum2), first in sbc.pcap:58.",
        (
            "No rule was seen broken, but 1 of 2 rulings could not be decided (rotation); "
            "at least 7 more calls are needed."
        ),
        "All 2 rulings held.",
        "Nothing could be judged: not one rule was applied.",
    ]


def test_nothing_judged_is_no_pass() -> None:
    """An SBC of which no rule could be applied is OTHER."""
    assert of(with_rulings()).outcome is OTHER


def test_the_worst_sbc_gives_the_verdict() -> None:
    """One FAIL among several."""
    made = report(TABLE, with_rulings(ruling()), JUDGEMENT)

    assert made.outcome is FAIL
    assert made.outcome_of(made.judgements[0]) is PASS


def test_blindness_leaves_neither_pass_nor_fail() -> None:
    """Without a single answer even a broken rule is not believed; the line says what to do."""
    made = of(JUDGEMENT, (BLIND,))

    assert made.outcome is OTHER
    assert sentence(made, JUDGEMENT) == "Nothing is decided: no answer at all. No ruling counts."
    assert "blind: sbc.pcap: no answer at all; capture both ways" in list(lines(made))


def test_incomplete_captures_leave_a_fail_but_no_pass() -> None:
    """What was seen broken is broken, whatever was not seen."""
    passed = with_rulings(ruling())

    assert of(JUDGEMENT, (SHORT,)).outcome is FAIL
    assert of(passed, (SHORT,)).outcome is OTHER
    assert sentence(of(passed, (SHORT,)), passed).endswith(f"not all: {SHORT.words}.")


def test_a_note_changes_no_verdict() -> None:
    """It is for the reader."""
    assert of(with_rulings(ruling()), (Doubt(Grade.NOTE, "two SBCs"),)).outcome is PASS


def test_strips_show_answers_failures_hold_down_and_violation() -> None:
    """One character a stretch of time: the reader sees the outage without a browser."""
    _, two, _, scale, legend = strips(report(TABLE), JUDGEMENT, 60)

    assert two.startswith("  enum2 |")
    assert two.index(".") < two.index("o") < two.index("=") < two.index("!") < two.index("~")
    assert scale.split() == ["0", "s", "59.503", "s"]
    assert legend == "  . answered  o no answer  = held down  ~ perhaps held  ! rule broken"


def test_strips_show_when_answers_and_failures_share_a_character() -> None:
    """A failure among answers is seen, and is not taken for silence."""
    _, two, _, _, legend = strips(report(TABLE), replace(JUDGEMENT, spans=()), 4)

    assert two == "  enum2 |! ..|"
    assert strips(report(TABLE), with_rulings(), 4) is not None
    assert "% answers and failures" not in legend
    _, mixed, _, _, legend = strips(report(TABLE), with_rulings(), 2)
    assert mixed == "  enum2 |%.|"
    assert "% answers and failures" in legend


def test_lines_cannot_drive_a_terminal() -> None:
    """Escape sequences off the wire are written as numbers."""
    broken = ruling(outcome=FAIL, observed="asked for \x1b]0;x\x07", at_ns=at(3))

    assert all(line.isprintable() for line in said(with_rulings(broken)))


def test_rulings_of_one_outcome_are_in_order_of_time() -> None:
    """The first FAIL is the first that happened."""
    late, early = ruling("a", FAIL, at_ns=at(9)), ruling("b", FAIL, at_ns=at(3))

    assert ranked([ruling("c"), late, early])[:2] == (early, late)


def test_advice_counts_calls_and_names_rules() -> None:
    """The largest need, once; at the servers' taps also where to capture instead."""
    rules = [ruling(f"r{n}", OTHER, needed=n) for n in range(1, 6)]
    made = replace(of(with_rulings(*rules)), vantage=Vantage.SERVERS)
    found = advice(made, made.judgements[0])

    assert found == (
        "place at least 5 more calls in one capture (for r1, r2, r3 and 2 more)",
        "capture at the SBC: what it sent and got is then known, not inferred",
    )


def test_advice_on_what_the_profile_does_not_know() -> None:
    """More calls would not help there: measure, or declare."""
    judgement = with_rulings(ruling("hold-down.kept", OTHER))
    (only,) = advice(of(judgement), judgement)

    assert "unknown: measure this SBC with enumtest infer" in only


def test_intervals() -> None:
    """Both ends, one, or none; one value when they are the same."""
    ends = [(1.5, 2.0), (3.0, 3.0), (4.0, None), (None, 5.0), (None, None)]
    found = [interval(Measured("x", "s", low, high, 1)) for low, high in ends]

    assert found == ["1.5 to 2 s", "3 s", "4 s or more", "5 s or less", "not seen"]


def test_json_holds_all_of_it() -> None:
    """Version, verdict, each ruling with frames and time, states, measurements, doubts."""
    made = report(TABLE, doubts=(SHORT,))
    found = json.loads(json.dumps(event(made)))
    (sbc,) = found["sbcs"]

    assert (found["schema"], found["verdict"], found["calls"]) == (1, "FAIL", 120)
    assert found["doubts"][0]["grade"] == "incomplete"
    assert [one["rule"] for one in sbc["rulings"]] == [
        one.rule for one in ranked(JUDGEMENT.rulings)
    ]
    assert sbc["rulings"][0]["frames"][0] == {"file": "sbc.pcap", "frame": 58}
    assert sbc["states"][2]["state"] == "held"
    assert sbc["measured"][1]["low"] is None
    assert found["captures"][0]["servers"] == ["enum1", "enum2", "enum3"]


def test_a_span_of_a_server_that_is_not_judged_is_left_out() -> None:
    """Nothing is raised for it."""
    odd = replace(JUDGEMENT, spans=(Span("enum9", "held", at(1), at(2)),))

    assert len(list(strips(report(TABLE), odd))) == 5
    assert TWO in "".join(strips(report(TABLE), odd))
