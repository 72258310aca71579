"""Misbehaviour that a case once passed, each with the rule that must catch it now."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import pytest

from enumtest.dns.message import Query, encode_answer, encode_query
from enumtest.profiles.profile_groups import Event
from enumtest.sbc.decision import Decision
from enumtest.sbc.sbc import Outgoing, Sbc
from fst.evidence import declared
from fst.exercises import CONTRAST
from fst.judgement import Judgement, judge
from fst.observation import MarkKind, Observation
from fst.plan import default_plan
from fst.verdict import propose
from harness.finding import Finding, Outcome
from harness.number import PhoneNumber
from harness.packets.capture import parse
from harness.packets.frame import Endpoint
from tests.enum_bench import (
    CONFIG,
    NEXT_HOP,
    PLAIN,
    REDIRECT_HOP,
    TABLE,
    Bench,
    End,
    Placed,
    bench,
    ring,
    sound,
    tell,
)
from tests.enum_wire import (
    ALLOW,
    MS,
    REDIRECT,
    TERMINATE,
    Down,
    Reply,
    Script,
    WholeNumber,
    Wire,
    allowing,
    changed,
    ids,
)
from tests.sbc_defects import DEFECTS, SOUND, Make, configured

STEPS = {step.id: step for step in default_plan().steps if step.id.startswith("B.")}
PASS, FAIL, OTHER = Outcome.PASS, Outcome.FAIL, Outcome.OTHER
FOR_EVER = (0, 10**15)
BUT_LAST = TABLE.enum_servers[:-1]
RULED = (PhoneNumber("12125550130"),)


@dataclass(frozen=True, slots=True)
class Word:
    """What one case says of a recording."""

    outcome: Outcome
    words: str
    judged: Judgement

    def of(self, rule: str) -> Finding:
        """Return the worst finding of *rule*."""
        found = [one for one in self.judged.findings if one.rule == rule]
        return min(found, key=lambda one: [FAIL, OTHER, PASS].index(one.outcome))


def said(step: str, seen: Observation, host: str = "") -> Word:
    """Return what the case *step* says."""
    judged = judge(step, host, seen, WholeNumber())
    outcome, words = propose(judged.findings, declared(STEPS[step], judged), attachments=1)
    return Word(outcome, words, judged)


def placed(made: Bench, calls: int = 15, numbers: tuple[PhoneNumber, ...] = PLAIN) -> Observation:
    """Return a recording of calls in a window."""
    made.mark(0, MarkKind.BEGIN)
    made.mark(made.place(calls, numbers=numbers), MarkKind.END)
    return made.finish()


def outage(
    make: Make = SOUND, down: Collection[str] = BUT_LAST, *, made: Bench | None = None
) -> Observation:
    """Return a recording of calls while *down* were out of service."""
    script = Down(dict.fromkeys(down, FOR_EVER))
    made = made or bench(make, script)
    made.wire.script = script
    made.mark(0, MarkKind.DOWN, *down)
    return placed(made)


def ordering(record: object) -> Script:
    """Return servers that answer every question with *record*."""

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        del server, now_ns
        return (Reply(encode_answer(query, records=(record,))),)  # type: ignore[arg-type]

    return script


def ruled(record: object, end: End = sound) -> Observation:
    """Return a recording of calls under the policy that *record* spells."""
    made = bench(script=ordering(record))
    made.end = end
    return placed(made, 6, RULED)


# A1: received means answered --------------------------------------------------------------------


@pytest.mark.parametrize("step", ["B.1.1", "B.1.2", "B.3.1"])
def test_server_whose_port_is_closed_has_not_received(step: str) -> None:
    """Requests left the SBC; not one answer shows that they arrived."""
    seen = placed(bench(script=Down({"enum1": FOR_EVER})))

    assert said(step, seen, "enum1").outcome is OTHER
    assert said(step, seen, "enum2").outcome is PASS
    if step != "B.3.1":
        assert "none answered" in said(step, seen, "enum1").of("receipt.received").observed


# A2, A3: each call its lookup -------------------------------------------------------------------


@pytest.mark.parametrize("step", ["B.1.3", "B.1.4", "B.2.1", "B.3.2", "B.3.7"])
def test_sbc_that_asks_for_every_second_call_only_never_passes(step: str) -> None:
    """The others may come from a cache."""
    made = bench()
    made.bypasses = lambda key: key % 2 == 0
    word = said(step, placed(made, 30))

    assert word.outcome is OTHER
    assert word.of("calls.asked").outcome is OTHER
    assert word.of("calls.asked").frames


@pytest.mark.parametrize(("step", "down"), [("B.3.3", BUT_LAST[:1]), ("B.3.4", BUT_LAST)])
def test_sbc_that_does_without_enum_in_an_outage_never_passes(
    step: str, down: Collection[str]
) -> None:
    """A server was left to ask."""
    made = bench()
    made.bypasses = lambda key: key > 6 and key % 2 == 0
    word = said(step, outage(down=down, made=made))

    assert word.outcome is OTHER
    assert word.of("calls.asked").outcome is OTHER


def test_calls_without_a_lookup_are_right_while_every_server_is_held() -> None:
    """There is nobody to ask; the same calls before that would be left out."""
    everyone = TABLE.enum_servers
    made = bench(script=Down(dict.fromkeys(everyone, FOR_EVER)))

    assert said("B.3.6", outage(down=everyone)).of("calls.asked").outcome is PASS
    made.bypasses = lambda key: key == 1
    assert said("B.3.6", outage(down=everyone, made=made)).of("calls.asked").outcome is OTHER


class WrongDigits(Sbc):
    """Asks for a number with its last digit cut off, each third time."""

    def place_call(self, number: PhoneNumber, source: str, now_ns: int) -> int:
        """Place the call."""
        wrong = self._calls % 3 == 2
        cut = PhoneNumber.parse(str(number)[:-1]) if wrong else number
        return super().place_call(cut, source, now_ns)


def wrong_digits(config: object) -> Sbc:
    return WrongDigits(config, ids(), WholeNumber())  # type: ignore[arg-type]


def test_request_for_a_number_that_nobody_dialled_fails() -> None:
    """At the server that got it; its frames are cited."""
    seen = placed(bench(wrong_digits))
    words = {host: said("B.1.1", seen, host) for host in TABLE.enum_servers}

    assert {host for host, word in words.items() if word.outcome is FAIL} == {"enum3"}
    assert words["enum3"].of("receipt.expected").outcome is FAIL
    assert len(words["enum3"].of("receipt.expected").frames) == 5
    assert said("B.1.4", seen).outcome is FAIL
    assert said("B.1.2", seen, "enum1").of("rate.sum").outcome is OTHER


@pytest.mark.parametrize("step", ["B.3.2", "B.3.3", "B.3.4", "B.3.7"])
def test_request_for_a_wrong_number_leaves_routing_open(step: str) -> None:
    """Its call was not looked up."""
    assert said(step, placed(bench(wrong_digits))).of("calls.asked").outcome is OTHER


def test_lookup_of_a_production_call_is_no_wrong_number() -> None:
    """Somebody dialled it."""
    stranger = PhoneNumber("442079460123")
    seen = placed(bench(), 20, (*PLAIN[:3], stranger))

    assert len(seen.others) == 5
    assert said("B.1.1", seen, "enum1").of("receipt.expected").outcome is PASS


# A4, A5, B4, B5: where calls go -----------------------------------------------------------------


def swapped(wire: Wire, call: Placed, decision: Decision) -> None:
    """Send calls to the other hop."""
    redirected = decision is Decision.REDIRECT
    number = PhoneNumber("12125550150") if redirected else call.number
    ring(wire, call, number, NEXT_HOP if redirected else REDIRECT_HOP)
    tell(wire, call, 200)


def forked(wire: Wire, call: Placed, decision: Decision) -> None:
    """Ring the dialled party too."""
    ring(wire, call, call.number, NEXT_HOP)
    sound(wire, call, decision)


def denied(wire: Wire, call: Placed, decision: Decision) -> None:
    """Tell the caller 500 where the callee took the call."""
    del decision
    ring(wire, call, call.number, NEXT_HOP)
    tell(wire, call, 500)


def leaking(wire: Wire, call: Placed, decision: Decision) -> None:
    """Send a refused call to voice mail, by an INVITE that no identifier joins to it."""
    ring(wire, call, PhoneNumber("12125550199"), NEXT_HOP, joined=False)
    sound(wire, call, decision)


@pytest.mark.parametrize(
    ("step", "record", "end", "outcome", "words"),
    [
        ("B.2.1", ALLOW, swapped, FAIL, str(REDIRECT_HOP)),
        ("B.2.3", REDIRECT, swapped, FAIL, str(NEXT_HOP)),
        ("B.2.3", REDIRECT, forked, FAIL, "also sent to the dialled party"),
        ("B.2.1", ALLOW, denied, FAIL, "the caller was told 500"),
        ("B.2.2", TERMINATE, forked, FAIL, "taken by the called party"),
        ("B.2.2", TERMINATE, leaking, OTHER, "without an outcome"),
        ("B.2.2", TERMINATE, sound, PASS, "6 calls"),
        ("B.2.3", REDIRECT, sound, PASS, "6 calls"),
    ],
)
def test_what_became_of_the_call_is_told(
    step: str, record: object, end: End, outcome: Outcome, words: str
) -> None:
    """`policy.call` says where it went, and fails what is certain."""
    found = said(step, ruled(record, end)).of("policy.call")

    assert (found.outcome, found.frames != ()) == (outcome, True)
    assert words in found.observed


@pytest.mark.parametrize("end", [swapped, denied])
@pytest.mark.parametrize("step", ["B.2.5", "B.3.2", "B.3.3", "B.3.4", "B.3.5", "B.3.6", "B.3.7"])
def test_call_that_went_astray_fails_wherever_calls_are_judged(step: str, end: End) -> None:
    """`calls.completed`, with the frames."""
    made = bench()
    made.end = end
    found = said(step, placed(made)).of("calls.completed")

    assert (found.outcome, found.frames != ()) == (FAIL, True)


# A6: the allow rule against a contrast ----------------------------------------------------------


def allowed(before: Script) -> Observation:
    """Return a recording of B.2.1 with these answers before the allow rule was installed."""
    begin_ns = 400 * MS

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        act = before if now_ns < begin_ns else allowing
        return tuple(act(server, query, now_ns))

    made = bench(script=script)
    made.mark(0, MarkKind.INSTALLED, CONTRAST)
    made.place(6, numbers=RULED)
    made.mark(begin_ns, MarkKind.INSTALLED, "fst-allow")
    made.mark(begin_ns, MarkKind.BEGIN)
    made.mark(made.place(6, from_ns=begin_ns, numbers=RULED), MarkKind.END)
    return made.finish()


def test_allow_rule_passes_when_the_same_calls_were_ended_before() -> None:
    """Every server ended them, then let them through."""
    assert said("B.2.1", allowed(ordering(TERMINATE))).outcome is PASS


def test_allow_rule_that_nothing_contrasts_is_open() -> None:
    """Calls that go through anyway prove no rule."""
    word = said("B.2.1", allowed(allowing))

    assert (word.outcome, word.of("policy.contrast").outcome) == (OTHER, OTHER)


# A7: the declared time-out ----------------------------------------------------------------------


@pytest.mark.parametrize("times", [2, 3, 6, 8])
def test_longer_time_out_than_declared_is_open_and_fails_nothing(times: int) -> None:
    """The site file is wrong, and the calls all went through."""
    made = configured(timeout_ns=CONFIG.profile.timeout_ns * times)
    word = said("B.3.3", outage(made, BUT_LAST[:1]))

    assert (word.outcome, word.of("outage.timeout").outcome) == (OTHER, OTHER)
    assert "as the site file declares" in word.of("outage.timeout").expected
    assert all(one.outcome is not FAIL for one in word.judged.findings)


@pytest.mark.parametrize("changes", [{"retransmissions": 3}, {"timeout_ns": 100 * MS}])
def test_other_retransmissions_or_a_shorter_time_out_are_open(changes: dict[str, int]) -> None:
    """Neither is set by the plan."""
    word = said("B.3.3", outage(configured(**changes), BUT_LAST[:1]))

    assert (word.outcome, word.of("outage.timeout").outcome) == (OTHER, OTHER)


def test_declared_time_out_passes() -> None:
    """The control."""
    word = said("B.3.3", outage(down=BUT_LAST[:1]))

    assert (word.outcome, word.of("outage.timeout").outcome) == (PASS, PASS)


def test_call_given_up_without_a_failover_still_fails() -> None:
    """The next call to the same number is not taken for it."""
    word = said("B.3.3", outage(DEFECTS["no failover"], BUT_LAST[:1]))

    assert word.of("outage.served").outcome is FAIL


def test_post_dial_delay_is_measured() -> None:
    """In each routing case, without limits."""
    names = {one.name for one in said("B.3.2", placed(bench())).judged.extra}

    assert {f"post-dial delay at the SBC, {which}" for which in ("median", "longest")} < names


# A10, A11, B7: what the requests say ------------------------------------------------------------


class LocalSource(Sbc):
    """Sends the calling number in national form."""

    def place_call(self, number: PhoneNumber, source: str, now_ns: int) -> int:
        """Place the call."""
        return super().place_call(number, source.replace("sip:+1", "sip:"), now_ns)


def test_source_in_national_form_fails() -> None:
    """The dial plan could read it; the plan asks for it normalised."""
    word = said("B.1.3", placed(bench(lambda c: LocalSource(c, ids(), WholeNumber()))))
    value, frames = word.judged.values["sources_wrong"]

    assert (word.outcome, word.of("top.source").outcome, value) == (FAIL, FAIL, 15)
    assert frames


def elsewhere() -> Observation:
    """Return a recording of an SBC that asks from another address than its own."""
    made = bench()
    made.wire.client = Endpoint("127.0.0.99", 40_000)
    return placed(made)


@pytest.mark.parametrize("step", ["B.1.3", "B.1.4", "B.2.1", "B.3.2", "B.3.3", "B.3.7"])
def test_requests_of_another_address_are_never_taken_for_the_sbcs(step: str) -> None:
    """None is none."""
    seen = elsewhere()

    assert seen.own_between(*seen.window) == ()
    assert said(step, seen).outcome is not PASS


def test_requests_of_another_address_fail_by_their_sender() -> None:
    """B.1.1 names it."""
    word = said("B.1.1", elsewhere(), "enum1")

    assert word.of("receipt.sender").outcome is FAIL
    assert "127.0.0.99" in word.of("receipt.sender").observed


class OtherType(Sbc):
    """Asks for TXT records."""

    def to_send(self) -> Outgoing | None:
        """Return the next message."""
        found = super().to_send()
        if found is None:
            return None
        number = next(iter(self._open.values())).number
        return replace(found, payload=encode_query(1, number.enum_domain(), qtype="TXT"))


@pytest.mark.parametrize("step", ["B.1.1", "B.1.2"])
def test_question_of_another_type_is_malformed(step: str) -> None:
    """Counted, with its frames."""
    seen = placed(bench(lambda config: OtherType(config, ids(), WholeNumber())))
    word = said(step, seen, "enum1")

    assert word.outcome is FAIL
    if step == "B.1.1":
        assert word.of("receipt.well-formed").frames
    else:
        value, frames = word.judged.values["requests_malformed"]
        assert value
        assert frames


# A12: one server --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", sorted(STEPS))
def test_sbc_with_one_server_is_judged_without_a_crash(step: str) -> None:
    """What takes two servers is OTHER; the rest is as it is."""
    table = TABLE.model_copy(update={"enum_servers": ["enum1"]})
    made = bench(lambda config: SOUND(changed(config, servers={"enum1": config.servers["enum1"]})))
    made.table = table
    made.mark(0, MarkKind.DOWN)
    word = said(step, placed(made), "enum1" if step in ("B.1.1", "B.1.2", "B.3.1") else "")

    if step in ("B.3.2", "B.3.3", "B.3.4", "B.3.5"):
        assert word.outcome is OTHER
        assert "one server cannot take turns" in word.words
    if step in ("B.1.1", "B.1.2", "B.1.3", "B.1.4", "B.3.1", "B.3.7"):
        assert word.outcome is PASS
    assert any("took part" in note for note in word.judged.notes) is (
        step not in ("B.1.1", "B.1.2", "B.3.1")
    )


# B2: what the capture lacks ---------------------------------------------------------------------


def cut(seen: Observation) -> Observation:
    return replace(seen, capture=parse(seen.capture.data.tobytes()[:-3]))


def lossy(seen: Observation) -> Observation:
    return replace(seen, dropped=7)


def empty(seen: Observation) -> Observation:
    return replace(seen, capture=parse(seen.capture.data.tobytes()[:24]))


def lossless(seen: Observation) -> Observation:
    return seen


@pytest.mark.parametrize("harm", [cut, lossy, empty])
@pytest.mark.parametrize("make", [SOUND, DEFECTS["hunts"], DEFECTS["comes back at 80 %"]])
@pytest.mark.parametrize("step", sorted(STEPS))
def test_capture_that_lacks_packets_decides_nothing(
    step: str, make: Make, harm: Callable[[Observation], Observation]
) -> None:
    """Neither for nor against a sound SBC or a broken one, and no value is taken."""
    seen = harm(outage(make, BUT_LAST))
    host = "enum1" if step in ("B.1.1", "B.1.2", "B.3.1") else ""
    word = said(step, seen, host)
    limited = {one.name for one in STEPS[step].measurements if one.high is not None or one.low}
    unlost = {"packets_dropped"} if harm is empty else set()  # an empty capture lost nothing

    assert word.outcome is OTHER
    assert {
        name for name in limited - unlost if word.judged.values.get(name, (None,))[0] is not None
    } == set()


# B3: what this SBC counts as a failure ----------------------------------------------------------


def sick(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
    """Let enum2 answer SERVFAIL, the others well."""
    del now_ns
    if server != "enum2":
        return (Reply(encode_answer(query, records=(ALLOW,))),)
    return (Reply(encode_answer(query, "SERVFAIL")),)


@pytest.mark.parametrize("step", ["B.3.2", "B.3.7"])
@pytest.mark.parametrize("counted", [True, False])
def test_sick_server_is_named_and_no_fault_of_the_sbc(step: str, counted: bool) -> None:
    """Whether or not the SBC asks another one then."""
    failures = [Event.SILENCE, *([Event.SERVFAIL] if counted else [])]
    made = bench(configured(failures=frozenset(failures)), sick)
    made.table = TABLE.model_copy(update={"failures": failures})
    word = said(step, placed(made))

    assert word.outcome is OTHER
    assert "enum2 answers SERVFAIL" in word.of("rotation.next-in-turn").observed


def test_error_that_the_site_does_not_count_is_an_answer() -> None:
    """No failover is joined to it, and nobody is given up."""
    seen = placed(bench(script=sick))

    assert {len(one.hops) for one in seen.traffic.lookups} == {1}
    assert not any(one.last.failed for one in seen.traffic.lookups)
    assert sum(one.last.sick for one in seen.traffic.lookups) == 5


def test_server_that_comes_back_sick_is_open_and_named() -> None:
    """The SBC asked it again, as it must."""

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        if server == "enum3":
            return tuple(allowing(server, query, now_ns))
        return () if now_ns < 500 * MS else (Reply(encode_answer(query, "SERVFAIL")),)

    made = bench(script=script)
    made.mark(0, MarkKind.DOWN, *BUT_LAST)
    made.mark(0, MarkKind.BEGIN)
    made.place(1)
    made.mark(made.place(50, from_ns=450 * MS), MarkKind.END)
    word = said("B.3.5", made.finish())

    assert word.outcome is OTHER
    assert "answered SERVFAIL" in word.of("readmission.after").observed


# B8: words --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["B.2.1", "B.2.2", "B.2.4", "B.3.4"])
def test_more_calls_are_not_asked_for_where_they_would_not_help(step: str) -> None:
    """An SBC that hunts never asks the others."""
    made = bench(DEFECTS["hunts"], ordering(ALLOW))
    made.mark(0, MarkKind.DOWN, "enum2")
    word = said(step, placed(made, 15))

    assert "more call" not in word.words or "would not change" in word.words
    assert "needed" not in word.words


def test_hold_down_shorter_than_the_time_outs_is_said() -> None:
    """No server stays held until the last is given up."""
    made = bench(configured(hold_down_ns=300 * MS))
    made.table = TABLE.model_copy(update={"hold_down_ms": 300})
    word = said("B.3.4", outage(made=made))

    assert word.of("outage.hold-down").outcome is OTHER
    assert "needed" not in word.words


# B9: frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "host", "name"),
    [
        ("B.1.1", "enum2", "requests_seen"),
        ("B.1.2", "enum2", "requests_seen"),
        ("B.3.2", "", "requests_at_least_used"),
        ("B.3.2", "", "requests_out_of_turn"),
    ],
)
def test_number_that_fails_cites_frames(step: str, host: str, name: str) -> None:
    """Also a zero: the lookups that went elsewhere."""
    value, frames = said(step, placed(bench(DEFECTS["hunts"])), host).judged.values[name]

    assert (value in (0, 14), frames != ()) == (True, True)
