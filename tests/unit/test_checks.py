"""The rules on what servers receive, what their answers order, and what the SBC then does."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from enumtest.checks.calls import (
    Agreed,
    calls_asked,
    calls_completed,
    malformed_queries,
    meaning,
    missed,
    policy_answers,
    policy_calls,
    receipt,
    received,
    undialled,
)
from enumtest.dns.message import encode_answer, encode_query, parse_answer, parse_query
from enumtest.naptr.naptr import NaptrRecord
from enumtest.sbc.decision import DEFAULT_RULES, Decision
from enumtest.traffic.dataset import records
from enumtest.traffic.lookups import Lookup, Traffic
from harness.dialplan import DialPlan
from harness.finding import Finding, Outcome
from harness.packets.frame import Endpoint
from harness.records import CallOutcome, CallRecord, Direction
from tests.enum_wire import (
    ALLOW,
    CLIENT,
    NUMBERS,
    REDIRECT,
    SECOND,
    TERMINATE,
    WholeNumber,
    Wire,
    changed,
    endpoints,
    good,
    lookup,
    question,
    sbc,
    sbc_config,
)

APEX = "e164.arpa"
SERVERS = ("enum1", "enum2", "enum3")
AGREED = Agreed(APEX, (CLIENT.address,), carries_source=True)
PLAN = DialPlan("main", "1", ("011",), "1")
DIALLED, ELSEWHERE = str(NUMBERS[0]), "+12125550150"


def wire(calls: int = 6, **changes: object) -> Wire:
    """Return a run of a sound SBC that sends the calling number."""
    config = sbc_config(endpoints(3), source_code=4)
    ran = Wire(sbc(changed(config, **changes)))  # type: ignore[arg-type]
    ran.calls(calls, SECOND)
    return ran.run()


def received_rules(
    traffic: Traffic, server: str = "enum1", agreed: Agreed = AGREED
) -> dict[str, str]:
    """Return rule and outcome of what is found about *server*."""
    found = receipt(traffic, traffic.lookups, server, agreed, minimum=6)
    return {one.rule.removeprefix("receipt."): one.outcome.value for one in found}


WELL = {"received": "PASS", "sender": "PASS", "well-formed": "PASS"}


@pytest.mark.parametrize("server", SERVERS)
def test_well_formed_requests_of_the_sbc_pass(server: str) -> None:
    """Received, from the SBC alone, each a question for a number with its caller."""
    assert received_rules(wire().traffic(), server) == WELL


def test_server_without_requests_fails_when_calls_were_enough() -> None:
    """Six lookups and none here: the SBC leaves this server out."""
    two = wire(servers=endpoints(2)).traffic()

    assert received_rules(two, "enum3") == {"received": "FAIL"}


def test_server_without_requests_is_open_when_calls_were_too_few() -> None:
    """Two lookups can't have reached three servers."""
    (found,) = receipt(wire(2).traffic(), wire(2).traffic().lookups, "enum3", AGREED, minimum=6)

    assert (found.outcome, found.needed) == (Outcome.OTHER, 4)


def test_stranger_who_asks_fails() -> None:
    """A test number asked for by somebody who is not the SBC."""
    agreed = replace(AGREED, sbc_addresses=("192.0.2.77",))

    assert received_rules(wire().traffic(), agreed=agreed) == WELL | {"sender": "FAIL"}


@pytest.mark.parametrize(
    "changes", [{"apex": "enum.example.net"}, {"source_code": 0}], ids=["apex", "no caller"]
)
def test_request_not_as_agreed_fails(changes: dict[str, object]) -> None:
    """The first one is named with its frame."""
    traffic = wire(**changes).traffic()  # type: ignore[arg-type]
    found = receipt(traffic, traffic.lookups, "enum1", AGREED, minimum=6)

    assert received_rules(traffic) == WELL | {"well-formed": "FAIL"}
    assert found[2].frames == (1, 7)


def test_calling_number_is_not_asked_for_where_it_was_not_agreed() -> None:
    """Many SBCs can't send it."""
    agreed = replace(AGREED, carries_source=False)

    assert received_rules(wire(source_code=0).traffic(), agreed=agreed) == WELL


@pytest.mark.parametrize(
    "payload",
    [
        question()[:-4] + b"\x00\x23\x00\x03",
        question() + b"tail",
        encode_query(1, "1.2.e164.arpa.example.net"),
        encode_query(1, "23.2.1.e164.arpa"),
    ],
    ids=["class CHAOS", "trailing bytes", "below the apex of others", "a label of two digits"],
)
def test_odd_question_of_the_sbc_fails(payload: bytes) -> None:
    """Whatever else is in order."""
    ran = wire()
    server = next(iter(ran.sbc.config.servers.values()))
    ran.note(CLIENT, server, payload)

    agreed = replace(AGREED, carries_source=False)
    assert received_rules(ran.traffic(), agreed=agreed) == WELL | {"well-formed": "FAIL"}


def test_odd_failover_is_judged_at_the_server_that_got_it() -> None:
    """The second hop of a lookup has its own question."""
    hop = lookup((0, "enum1", None), (2, "enum2", 2.1))
    second = replace(hop.last, query=replace(hop.last.query, trailing_bytes=3))
    odd = Lookup((hop.first, second))
    agreed = replace(AGREED, carries_source=False)
    traffic = Traffic((odd,), (), (), ())

    assert received_rules(traffic, "enum1", agreed) == WELL | {"received": "OTHER"}
    assert received_rules(traffic, "enum2", agreed) == WELL | {"well-formed": "FAIL"}


@pytest.mark.parametrize(
    ("source", "at", "blamed"),
    [
        (CLIENT, 0, {"enum1"}),
        (CLIENT, 2, {"enum3"}),
        (Endpoint("203.0.113.9", 40_000), 0, set()),
    ],
    ids=["the SBC at enum1", "the SBC at enum3", "a stranger"],
)
def test_garbage_is_held_against_the_sbc_where_it_sent_it(
    source: Endpoint, at: int, blamed: set[str]
) -> None:
    """A scanner's packet, or one at another server, is no fault of this form."""
    ran = wire()
    ran.note(source, list(ran.sbc.config.servers.values())[at], b"\x00\x01garbage")
    traffic = ran.traffic()

    assert {name for name in SERVERS if received_rules(traffic, name) != WELL} == blamed
    assert {name for name in SERVERS if malformed_queries(traffic, name, AGREED)} == blamed


def test_garbage_of_a_server_is_not_held_against_the_sbc() -> None:
    """It asked well."""
    ran = wire()
    ran.note(next(iter(ran.sbc.config.servers.values())), CLIENT, b"\xff" * 20)

    assert received_rules(ran.traffic()) == WELL
    assert len(ran.traffic().malformed) == 1


def answered(server: str, *naptr: NaptrRecord, rcode: str = "NOERROR") -> Lookup:
    """Return a lookup with this answer."""
    plain = good(1, server)
    query = parse_query(question())
    answer = parse_answer(encode_answer(query, rcode, naptr))
    return Lookup((replace(plain.first, answer=answer),))


def read(one: Lookup) -> tuple[Decision, str]:
    return meaning(one, APEX, DEFAULT_RULES, WholeNumber())


@pytest.mark.parametrize(
    ("one", "decision"),
    [
        (answered("enum1", ALLOW), Decision.ALLOW),
        (answered("enum1", TERMINATE), Decision.TERMINATE),
        (answered("enum1", REDIRECT), Decision.REDIRECT),
        (answered("enum1"), Decision.NO_INSTRUCTION),
        (answered("enum1", rcode="NXDOMAIN"), Decision.NO_INSTRUCTION),
        (answered("enum1", replace(ALLOW, services="E2U+void:http")), Decision.NO_INSTRUCTION),
        (answered("enum1", rcode="SERVFAIL"), Decision.NO_SERVER),
        (lookup((0, "enum1", None)), Decision.NO_SERVER),
        (answered("enum1", replace(ALLOW, regexp="!^.*$!http://x!")), Decision.UNCLASSIFIED),
    ],
)
def test_answer_means_what_its_first_usable_record_says(one: Lookup, decision: Decision) -> None:
    """Silence and errors mean that nobody answered, which is no instruction."""
    assert read(one)[0] is decision


def answers(*lookups: Lookup, wanted: Decision = Decision.TERMINATE) -> Finding:
    return policy_answers(lookups, SERVERS, frozenset({wanted}), read)


def test_policy_passes_when_every_server_answers_as_installed() -> None:
    """All of the group, each at least once."""
    assert answers(*(answered(name, TERMINATE) for name in SERVERS)).outcome is Outcome.PASS


def test_policy_is_open_while_a_server_gave_no_answer() -> None:
    """One of three has not spoken: one more lookup at least."""
    found = answers(answered("enum1", TERMINATE), answered("enum2", TERMINATE))

    assert (found.outcome, found.needed) == (Outcome.OTHER, 1)
    assert "enum3" in found.observed


def test_policy_without_lookups_is_open() -> None:
    """Nothing was said."""
    assert answers().outcome is Outcome.OTHER


@pytest.mark.parametrize(
    "bad",
    [
        answered("enum3", ALLOW),
        answered("enum3"),
        answered("enum3", rcode="SERVFAIL"),
        lookup((0, "enum3", None)),
        answered("enum3", replace(TERMINATE, services="E2U+void:http")),
    ],
)
def test_one_other_answer_fails_the_policy(bad: Lookup) -> None:
    """A terminate that a client does not understand is no terminate."""
    found = answers(answered("enum1", TERMINATE), answered("enum2", TERMINATE), bad)

    assert found.outcome is Outcome.FAIL
    assert found.frames == bad.frames


def call(
    outcome: CallOutcome = CallOutcome.ALLOWED, target: str = DIALLED, status: int = 200
) -> CallRecord:
    """Return a call to the first number."""
    return CallRecord(
        at_ns=0,
        frame=1,
        call_id="c",
        source="",
        source_rule="",
        destination=DIALLED,
        destination_rule="",
        direction=Direction.UNKNOWN,
        direction_rule="",
        outcome=outcome,
        target=target,
        status=status,
        frames=(1, 2),
    )


ALLOWED = call()
REDIRECTED = call(CallOutcome.REDIRECTED, ELSEWHERE)
TERMINATED = call(CallOutcome.TERMINATED, "", 603)
BUSY = call(CallOutcome.NONE, DIALLED, 486)  # sent on to the dialled party, which refused
MISSENT = call(CallOutcome.NONE, ELSEWHERE, 486)
BY_WHOM = call(CallOutcome.NONE, "", 200)  # answered, but no onward leg is known
REFUSED_BY_WHOM = call(CallOutcome.NONE, "", 603)
LOST = call(CallOutcome.NONE, "", 0)


@pytest.mark.parametrize(
    ("wanted", "target", "right", "unclear", "wrong"),
    [
        (
            CallOutcome.ALLOWED,
            "",
            [ALLOWED],
            [BUSY, BY_WHOM, REFUSED_BY_WHOM],
            [REDIRECTED, TERMINATED, MISSENT, LOST],
        ),
        (
            CallOutcome.TERMINATED,
            "",
            [TERMINATED],
            [REFUSED_BY_WHOM],
            [ALLOWED, REDIRECTED, BUSY, MISSENT, BY_WHOM, LOST],
        ),
        (
            CallOutcome.REDIRECTED,
            ELSEWHERE,
            [REDIRECTED],
            [MISSENT, BY_WHOM, REFUSED_BY_WHOM],
            [ALLOWED, TERMINATED, BUSY, LOST, call(CallOutcome.REDIRECTED, "+12125550199")],
        ),
    ],
)
def test_call_is_right_wrong_or_unclear(
    wanted: CallOutcome,
    target: str,
    right: list[CallRecord],
    unclear: list[CallRecord],
    wrong: list[CallRecord],
) -> None:
    """A busy callee and an answer of an unknown party are nobody's fault, and nobody's merit."""
    found = missed([*right, *unclear, *wrong], wanted, target)

    assert (list(found.unclear), list(found.wrong)) == (unclear, wrong)


def did(calls: Sequence[CallRecord], minimum: int = 2) -> Outcome:
    return policy_calls(calls, CallOutcome.TERMINATED, minimum=minimum).outcome


def test_calls_pass_when_enough_of_them_ended_as_wanted() -> None:
    """Two of two; of two when three are needed nothing is said yet."""
    assert did([TERMINATED, TERMINATED]) is Outcome.PASS
    assert did([TERMINATED, TERMINATED], minimum=3) is Outcome.OTHER
    assert did([]) is Outcome.OTHER


def test_one_wrong_call_fails_and_one_unclear_call_leaves_it_open() -> None:
    """The worse counts."""
    assert did([TERMINATED, TERMINATED, ALLOWED]) is Outcome.FAIL
    assert did([TERMINATED, TERMINATED, REFUSED_BY_WHOM]) is Outcome.OTHER
    assert did([REFUSED_BY_WHOM, ALLOWED]) is Outcome.FAIL


def test_wrong_call_is_told_with_what_became_of_it() -> None:
    """Number, outcome, frames."""
    found = policy_calls([MISSENT], CallOutcome.TERMINATED, minimum=1)

    assert found.observed.endswith(
        f"call to {DIALLED} was sent on to {ELSEWHERE}, then left without an outcome (status 486)"
    )
    assert found.frames == (1, 2)


def test_completed_calls_reached_the_dialled_party() -> None:
    """Redirected, refused and lost calls did not."""
    assert calls_completed([ALLOWED], minimum=1).outcome is Outcome.PASS
    assert calls_completed([ALLOWED, REDIRECTED], minimum=1).outcome is Outcome.FAIL
    assert calls_completed([ALLOWED, TERMINATED], minimum=1).outcome is Outcome.FAIL
    assert calls_completed([ALLOWED, LOST], minimum=1).outcome is Outcome.FAIL
    assert calls_completed([ALLOWED, BUSY], minimum=1).outcome is Outcome.OTHER


@pytest.mark.parametrize(
    ("wrong", "unclear", "value"),
    [([], [], 0), ([LOST], [], 1), ([], [BUSY], None), ([LOST], [BUSY], 1)],
)
def test_number_of_missed_calls_is_none_while_it_is_not_known(
    wrong: list[CallRecord], unclear: list[CallRecord], value: float | None
) -> None:
    """A measurement that was not taken can't pass."""
    assert missed([*wrong, *unclear]).value()[0] == value


def test_calls_that_each_made_a_lookup_pass() -> None:
    """None left out, none asked twice."""
    assert calls_asked([ALLOWED], (), ()).outcome is Outcome.PASS
    assert calls_asked([], (), ()).outcome is Outcome.OTHER


def test_calls_without_a_lookup_are_open_and_cited() -> None:
    """It can be a cache, or an SBC that does not ask: a person must look."""
    found = calls_asked([ALLOWED, TERMINATED], [TERMINATED], ())

    assert (found.rule, found.outcome, found.frames) == ("calls.asked", Outcome.OTHER, (1,))
    assert DIALLED in found.observed
    assert "cache" in found.observed


def test_lookups_beyond_one_a_call_are_open_and_cited() -> None:
    """A client that asks again."""
    found = calls_asked([ALLOWED], (), [good(3, "enum1")])

    assert (found.outcome, found.frames) == (Outcome.OTHER, (30,))


NEXT, REDIRECT_HOP = "192.0.2.20:5060", "192.0.2.21:5060"


@pytest.mark.parametrize(
    ("wanted", "one", "words"),
    [
        (CallOutcome.ALLOWED, replace(ALLOWED, target_endpoint=REDIRECT_HOP), REDIRECT_HOP),
        (CallOutcome.ALLOWED, replace(BUSY, target_endpoint=REDIRECT_HOP), REDIRECT_HOP),
        (CallOutcome.REDIRECTED, replace(REDIRECTED, target_endpoint=REDIRECT_HOP), REDIRECT_HOP),
        (CallOutcome.ALLOWED, replace(BUSY, status=500, taken=True), "the caller was told 500"),
        (
            CallOutcome.REDIRECTED,
            replace(REDIRECTED, rang=(DIALLED, ELSEWHERE)),
            "also sent to the dialled party",
        ),
        (
            CallOutcome.REDIRECTED,
            call(CallOutcome.NONE, "", 200),
            None,
        ),
    ],
)
def test_call_that_certainly_went_astray_fails(
    wanted: CallOutcome, one: CallRecord, words: str | None
) -> None:
    """The wrong hop, a taken call denied, a redirected call that rings as dialled too."""
    target = ELSEWHERE if wanted is CallOutcome.REDIRECTED else ""
    found = policy_calls([one], wanted, target=target, place=NEXT, minimum=1)

    assert found.outcome is (Outcome.OTHER if words is None else Outcome.FAIL)
    assert (words or "left without an outcome") in found.observed


def test_call_at_its_hop_passes_and_one_whose_place_was_not_seen_too() -> None:
    """A 3xx has no onward leg of the SBC."""
    here = replace(ALLOWED, target_endpoint=NEXT)

    assert calls_completed([here, ALLOWED], place=NEXT, minimum=2).outcome is Outcome.PASS


def test_answer_that_crossed_the_callers_hang_up_is_no_fault() -> None:
    """487 is what the caller asked for."""
    assert missed([replace(BUSY, status=487, taken=True)]).unclear


def test_terminated_call_that_rang_anybody_fails() -> None:
    """Also when the caller was refused."""
    rang = replace(REFUSED_BY_WHOM, rang=(ELSEWHERE,))

    assert did([TERMINATED, rang]) is Outcome.FAIL


def test_server_that_never_answered_did_not_receive_for_certain() -> None:
    """Requests that left the SBC may have met a closed port."""
    silent = [lookup((at, "enum1", None), (at + 2, "enum2", at + 2.1)) for at in range(6)]
    found = received(silent, "enum1", minimum=6)

    assert found.outcome is Outcome.OTHER
    assert "none answered" in found.observed
    assert received([*silent, good(9, "enum1")], "enum1", minimum=6).outcome is Outcome.PASS


def test_error_of_a_server_proves_that_it_received() -> None:
    """Any rcode."""
    one = lookup((0, "enum1", 0.1, "REFUSED"))

    assert received([one], "enum1", minimum=6).outcome is Outcome.PASS


def test_request_for_a_number_that_nobody_dialled_fails_where_it_came() -> None:
    """The frame is cited."""
    found = undialled([good(3, "enum2")], APEX, "enum2")

    assert (found.rule, found.outcome, found.frames) == ("receipt.expected", Outcome.FAIL, (30,))
    assert undialled([good(3, "enum2")], APEX, "enum1").outcome is Outcome.PASS


def test_test_number_asked_for_with_another_type_fails() -> None:
    """A health check has a name of its own, and is none of the requests."""
    ran = wire()
    server = next(iter(ran.sbc.config.servers.values()))
    ran.note(CLIENT, server, encode_query(9, "health.example.net", qtype="A"))
    assert received_rules(ran.traffic()) == WELL

    ran.note(CLIENT, server, question(qtype="TXT"))
    assert received_rules(ran.traffic()) == WELL | {"well-formed": "FAIL"}


def test_dataset_has_a_row_for_each_lookup() -> None:
    """Device, parties in E.164, direction, latency, frame."""
    lookups = wire(3).traffic().lookups
    rows = records(lookups, APEX, PLAN, (str(NUMBERS[0]),))

    assert [row.device for row in rows] == list(SERVERS)
    assert [row.source for row in rows] == ["+16505550100"] * 3
    assert [row.destination for row in rows] == [str(number) for number in NUMBERS[:3]]
    assert [row.direction for row in rows] == [Direction.INBOUND, *[Direction.UNKNOWN] * 2]
    assert {row.latency_ns for row in rows} == {3_000_000}
    assert [row.frame for row in rows] == [1, 3, 5]


def test_dataset_guesses_nothing_that_was_not_sent() -> None:
    """No caller in the query, no answer, an answer seen before its query."""
    (silent,) = records([lookup((0, "enum1", None))], APEX, PLAN, ())
    (early,) = records([lookup((1, "enum1", 0.9))], APEX, PLAN, ())

    assert (silent.source, silent.rcode, silent.latency_ns) == ("", "", None)
    assert silent.direction is Direction.UNKNOWN
    assert early.latency_ns == 0
