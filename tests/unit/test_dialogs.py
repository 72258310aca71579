"""What each INVITE is counted as, and how a call ends: one rule a test."""

from dataclasses import replace

import pytest

from harness.packets.frame import Endpoint
from harness.records import CallEnd
from probetest.calls.dialogs import Tally
from probetest.calls.waterfall import Step
from tests.call_story import HOUR_MS, Story, whole_call
from tests.sip_wire import ALICE, BOB, CARRIER, MS, PHONE, SBC, START_NS, Leg

LEG = Leg()
FAR = Endpoint("198.51.100.40", 5060)


def again(number: int, branch: str, **parts: str) -> Leg:
    """Return the leg with another CSeq and branch."""
    return replace(LEG, number=number, branch=f"z9hG4bK-{branch}", **parts)  # type: ignore[arg-type]


def test_an_attempt_after_a_challenge_is_the_same_call() -> None:
    """Eleven INVITE frames of four calls: retransmissions and credentials make no more of them."""
    story = Story()
    for turn in range(4):
        at_ms = turn * 100_000
        one = replace(LEG, call_id=f"{turn}@192.0.2.10")
        two = replace(one, number=2, branch="z9hG4bK-2")
        story.ask(at_ms, one)
        if turn != 3:
            story.ask(at_ms + 500, one)
            story.answer(at_ms + 510, one, 407).ask(at_ms + 511, one, "ACK")
            story.ask(at_ms + 520, two)
        story.answer(at_ms + 600, two if turn != 3 else one, 200)
    story.ask(300_500, replace(LEG, call_id="3@192.0.2.10"))
    tally, calls = story.tally()
    waterfall = tally.waterfall(len(story.messages), len(calls))

    assert (waterfall.invites, waterfall.calls) == (11, 4)
    assert (waterfall.retransmissions, waterfall.auth_retries) == (4, 3)
    assert [call.final.status for call in calls if call.final] == [200] * 4


@pytest.mark.parametrize(
    ("status", "step"),
    [(401, Step.AUTH_RETRY), (407, Step.AUTH_RETRY), (422, Step.OTHER_RETRY)]
    + [(status, Step.OTHER_RETRY) for status in (302, 484, 488, 500, 503)],
)
def test_a_further_attempt_is_named_by_what_it_follows(status: int, step: Step) -> None:
    """A higher CSeq with the same Call-ID and From tag is the same call again."""
    more = again(2, "2")
    story = Story().ask(0, LEG).answer(10, LEG, status).ask(11, LEG, "ACK").ask(12, more)
    story.answer(20, more, 180).answer(30, more, 200)
    (call,) = story.calls()

    assert story.steps() == {1: Step.CALL, 4: step}
    assert call.final is not None
    assert call.final.status == 200


def test_an_attempt_that_changes_its_from_tag_is_still_the_same_call() -> None:
    """Some phones come with a new tag after a challenge."""
    more = again(2, "2", from_tag="z")
    story = Story().ask(0, LEG).answer(10, LEG, 401).ask(12, more).answer(30, more, 200)

    assert story.steps() == {1: Step.CALL, 3: Step.AUTH_RETRY}


def test_overlap_dialling_ends_at_the_longest_number() -> None:
    """Digits that follow are no calls; those after the phone rang are no destination."""
    numbers = ["sip:+1650@192.0.2.20", "sip:+1650555@192.0.2.20", f"sip:{BOB}@192.0.2.20"]
    story, legs = Story(), []
    for turn, number in enumerate(numbers):
        leg = again(turn + 1, str(turn), called=number)
        legs.append(leg)
        story.ask(turn * 100, leg)
        if turn < 2:
            story.answer(turn * 100 + 20, leg, 484)
    story.answer(300, legs[-1], 180)
    story.ask(400, again(4, "4", called=f"sip:{BOB}9@192.0.2.20"))
    (call,) = story.calls()

    assert list(story.steps().values()) == [Step.CALL] + [Step.OVERLAP] * 3
    assert call.dialled.message is not None
    assert call.dialled.message.request_uri == numbers[-1]
    assert call.first.message is not None
    assert call.first.message.request_uri == numbers[0]


def test_digits_may_follow_before_the_answer_that_asks_for_them() -> None:
    """RFC 3578: the next INVITE need not wait for 484."""
    longer = again(2, "2", called=f"sip:{BOB}@192.0.2.20")
    story = Story().ask(0, replace(LEG, called="sip:+1650555@192.0.2.20")).ask(5, longer)

    assert list(story.steps().values()) == [Step.CALL, Step.OVERLAP]


def test_a_proxy_shows_the_same_call_at_two_hops() -> None:
    """Same Call-ID, tag and CSeq, another branch; the caller's own answer is the call's."""
    hop = replace(LEG, branch="z9hG4bK-p", extra=(("Via", "SIP/2.0/UDP 192.0.2.10;branch=x"),))
    story = Story().ask(0, LEG).say(1, SBC, CARRIER, hop.request())
    story.say(50, CARRIER, SBC, hop.response(180)).answer(51, LEG, 180)
    story.say(90, CARRIER, SBC, hop.response(200)).answer(92, LEG, 200)
    (call,) = story.calls()

    assert list(story.steps().values()) == [Step.CALL, Step.FURTHER_HOP]
    assert (call.final, call.ringing) != (None, None)
    assert [one.frame for one in (call.ringing, call.final) if one] == [4, 6]


def test_the_hop_with_the_fewest_vias_is_the_first_whatever_the_tap_shows_first() -> None:
    """Two queues of a tap swap the frames of two hops."""
    hop = replace(LEG, branch="z9hG4bK-p", extra=(("Via", "SIP/2.0/UDP 192.0.2.10;branch=x"),))
    story = Story().say(0, SBC, CARRIER, hop.request()).ask(40, LEG)
    (call,) = story.calls()

    assert call.first.seen.source == PHONE
    assert story.steps() == {2: Step.CALL, 1: Step.FURTHER_HOP}


def test_a_fork_is_one_call_with_several_far_ends() -> None:
    """Two branches ring; the second answers; 32 s of ringing end nothing."""
    story = Story().ask(0, LEG)
    for turn, place in enumerate((CARRIER, FAR)):
        branch = replace(LEG, branch=f"z9hG4bK-f{turn}")
        story.say(1 + turn, SBC, place, branch.request())
        story.say(20 + turn, place, SBC, branch.response(180))
    late = replace(LEG, branch="z9hG4bK-f2")
    story.say(40_000, SBC, FAR, late.request())  # no answer: to the mailbox
    for at_ms, status, tag in ((30, 180, b"b"), (31, 180, b"c"), (41_000, 200, b"d")):
        data = LEG.response(status).replace(b";tag=b", b";tag=" + tag)
        story.say(at_ms, SBC, PHONE, data)
    (call,) = story.calls()

    assert list(story.steps().values()) == [Step.CALL] + [Step.FURTHER_HOP] * 3
    assert call.far_ends == 3


def test_of_several_answers_the_last_dialog_to_end_ends_the_call() -> None:
    """A caller that gets two 2xx hangs one of them up at once (RFC 3261 section 13.2.2.4)."""
    story = Story().ask(0, LEG)
    for tag in (b"b", b"c"):
        story.say(10, SBC, PHONE, LEG.response(200).replace(b";tag=b", b";tag=" + tag))
    for at_ms, tag in ((20, "c"), (5_000, "b")):
        story.ask(at_ms, again(2, "bye", to_tag=tag), "BYE")
    (call,) = story.calls()

    assert call.bye is not None
    assert call.bye.at_ns == START_NS + 5_000 * MS
    assert call.far_ends == 2


@pytest.mark.parametrize(
    ("from_tag", "to_tag", "end"), [("a", "b", "caller"), ("b", "a", "callee")]
)
def test_a_bye_says_who_hung_up(from_tag: str, to_tag: str, end: str) -> None:
    """Its From tag is that of the one who sent it."""
    story = Story().ask(0, LEG).answer(10, LEG, 200)
    bye = replace(LEG, from_tag=from_tag, to_tag=to_tag, number=9, branch="z9hG4bK-9")
    (call,) = story.ask(5_000, bye, "BYE").calls()

    assert (call.end, call.ended_ns) == (CallEnd(end), START_NS + 5_000 * MS)


def test_a_call_that_was_given_up_has_ended_by_cancel() -> None:
    """CANCEL has the branch of the INVITE that it gives up; 487 ends the call."""
    story = Story().ask(0, LEG).answer(10, LEG, 180).ask(3_000, LEG, "CANCEL")
    (call,) = story.answer(3_005, LEG, 200, "CANCEL").answer(3_010, LEG, 487).calls()

    assert (call.end, call.ended_ns) == (CallEnd.CANCELLED, START_NS + 3_010 * MS)


def test_an_answer_that_crosses_the_cancel_makes_the_call_answered() -> None:
    """RFC 3261 section 9.1: CANCEL has no effect on an answered call."""
    story = Story().ask(0, LEG).ask(100, LEG, "CANCEL").answer(101, LEG, 200)
    (call,) = story.ask(200, again(2, "bye", to_tag="b"), "BYE").calls()

    assert call.end is CallEnd.CALLER


def test_a_capture_replayed_in_a_loop_holds_a_call_a_turn() -> None:
    """One Call-ID, the same bytes, ten times, also when the calls fail or are never ended."""
    story = Story()
    for turn in range(10):
        whole_call(story, turn * 3_000, LEG)
    for turn in range(5):
        busy = replace(LEG, call_id="busy@192.0.2.10")
        story.ask(turn * 2_000, busy).answer(turn * 2_000 + 10, busy, 486)
        story.ask(turn * 2_000 + 11, busy, "ACK")
    tally, calls = story.tally()

    assert len(calls) == 15
    assert tally.waterfall(1).retransmissions == 0


def test_an_invite_repeated_for_want_of_an_answer_is_a_retransmission() -> None:
    """Timer A: after 0.5, 1, 2, 4, 8 and 16 s."""
    story = Story()
    for at_ms in (0, 500, 1_500, 3_500, 7_500, 15_500, 31_500):
        story.ask(at_ms, LEG)

    assert list(story.steps().values()) == [Step.CALL] + [Step.RETRANSMISSION] * 6


def test_a_reinvite_never_sets_the_direction() -> None:
    """The callee's own INVITE inside the dialog is neither a call nor its first."""
    story = Story().ask(0, LEG).answer(10, LEG, 200)
    inside = replace(LEG, from_tag="b", to_tag="a", number=7, branch="z9hG4bK-in")
    story.say(2_000, SBC, PHONE, inside.request()).say(2_010, PHONE, SBC, inside.response(491))
    more = replace(inside, number=8, branch="z9hG4bK-in2")
    story.say(4_000, SBC, PHONE, more.request()).say(4_500, SBC, PHONE, more.request())
    (call,) = story.calls()

    assert call.first.seen.source == PHONE
    assert list(story.steps().values())[1:] == [*[Step.RE_INVITE] * 2, Step.RETRANSMISSION]
    assert call.final is not None
    assert call.final.status == 200


@pytest.mark.parametrize("method", ["ACK", "BYE", "INVITE", "CANCEL"])
def test_a_call_that_began_before_the_capture_is_partial(method: str) -> None:
    """It is counted beside the calls, once, whatever of it is seen."""
    inside = again(2, "in", to_tag="b")
    story = Story().ask(0, inside, method).ask(9_000, inside, "BYE").ask(9_500, inside, "BYE")
    tally, calls = story.tally()

    assert calls == []
    assert tally.waterfall(3).partial_calls == 1
    assert [call.partial for call in tally.take_partial()] == [True]
    assert tally.take_partial() == []


def test_an_answer_alone_is_a_partial_call_with_its_status() -> None:
    """The INVITE was sent just before the capture began."""
    tally, calls = Story().answer(0, LEG, 180).answer(900, LEG, 200).tally()
    (call,) = tally.take_partial()

    assert calls == []
    assert call.final is not None
    assert call.final.status == 200


def test_a_busy_call_is_one_call() -> None:
    """Retransmissions, 180 again and again, keep-alive re-INVITEs: one call of 32 messages."""
    story = Story().ask(0, LEG).ask(500, LEG).ask(1_500, LEG)
    for turn in range(8):
        story.answer(2_000 + turn * 2_000, LEG, 180)
    story.answer(19_000, LEG, 200).answer(19_500, LEG, 200)
    story.ask(19_600, again(1, "ack", to_tag="b"), "ACK")
    for turn in range(6):
        inside = again(2 + turn, f"in{turn}", to_tag="b")
        at_ms = 900_000 * (turn + 1)
        story.ask(at_ms, inside).answer(at_ms + 9, inside, 200).ask(at_ms + 20, inside, "ACK")
    tally, calls = story.tally()
    waterfall = tally.waterfall(len(story.messages), len(calls))

    assert (waterfall.sip_messages, waterfall.invites, waterfall.calls) == (32, 9, 1)
    assert (waterfall.retransmissions, waterfall.re_invites) == (2, 6)


def test_other_requests_make_no_calls() -> None:
    """Neither out of a dialog nor in one that was never heard of."""
    story = Story()
    for method in ("OPTIONS", "REGISTER", "MESSAGE", "NOTIFY", "INFO", "UPDATE", "REFER"):
        story.ask(0, replace(LEG, to_tag="b"), method)
    story.answer(5, LEG, 200, "OPTIONS")
    tally, calls = story.tally()

    assert (calls, tally.take_partial()) == ([], [])


def test_responses_seen_before_their_request_make_no_call() -> None:
    """Two queues of a tap are up to 100 ms apart."""
    story = Story().answer(0, LEG, 100).answer(1, LEG, 180).ask(100, LEG).answer(500, LEG, 200)
    tally, (call,) = story.tally()

    assert call.ringing is not None
    assert call.final is not None
    assert tally.waterfall(4).partial_calls == 0


def test_attempts_swapped_by_the_tap_are_put_right() -> None:
    """CSeq 2 before CSeq 1 within 100 ms, on a link where a challenge takes a millisecond."""
    story = Story().answer(0, LEG, 407).ask(0.3, again(2, "2")).ask(0.5, LEG)
    (call,) = story.calls()

    assert story.steps() == {3: Step.CALL, 2: Step.AUTH_RETRY}
    assert call.first.gist.number == 1


def test_long_calls_live_as_long_as_something_is_heard_of_them() -> None:
    """An hour without a message ends none; after four with nothing a BYE is all that is known."""
    story = Story().ask(0, LEG).answer(10, LEG, 200)
    bye = again(2, "bye", to_tag="b")
    (call,) = Story(list(story.messages)).ask(HOUR_MS, bye, "BYE").calls()
    tally, (lost,) = story.ask(5 * HOUR_MS, bye, "BYE").tally()

    assert call.end is CallEnd.CALLER
    assert lost.end is CallEnd.NOT_SEEN
    assert tally.waterfall(3).partial_calls == 1


def test_a_call_may_wait_long_in_a_queue() -> None:
    """Half an hour of silence after 182 is no end; without any response it is."""
    for heard, statuses in ((True, [200]), (False, [0])):
        story = Story().ask(0, LEG)
        if heard:
            story.answer(10, LEG, 182)
        calls = story.answer(HOUR_MS / 2, LEG, 200).calls()

        assert [call.final.status if call.final else 0 for call in calls] == statuses


def test_closed_calls_are_handed_out_once_and_forgotten() -> None:
    """Memory holds what lives, and what ended within the last 33 s."""
    tally, story, handed_out = Tally(), Story(), 0
    for turn in range(500):
        whole_call(story, turn * 1_000, replace(LEG, call_id=f"{turn}@192.0.2.10"))
    for seen in sorted(story.messages, key=lambda one: one.at_ns):
        tally.add(seen)
        handed_out += len(tally.close_before(seen.at_ns))
        assert tally.open_uses < 50

    assert handed_out + len(tally.calls()) == 500
    assert tally.calls() == ()


def test_a_flood_of_call_ids_is_bounded_and_told() -> None:
    """With more Call-IDs at once than are kept, the quietest are closed; none is lost."""
    tally = Tally(most_uses=80)
    story = Story()
    for turn in range(200):
        story.ask(turn, replace(LEG, call_id=f"{turn}@192.0.2.10"))
    for seen in story.messages:
        tally.add(seen)
        assert tally.open_uses <= 80

    assert len(tally.calls()) == 200
    assert tally.crowded_out > 0


def test_transfer_and_takeover_are_noted() -> None:
    """REFER inside the call, and an INVITE with Replaces (RFC 3515, RFC 3891)."""
    takes = replace(LEG, extra=(("Replaces", "9@192.0.2.30;to-tag=x;from-tag=y"),))
    story = Story().ask(0, takes).answer(10, takes, 200)
    (call,) = story.ask(99, again(2, "r", to_tag="b"), "REFER").calls()

    assert call.replaces == "9@192.0.2.30;to-tag=x;from-tag=y"
    assert call.transfers == 1


def test_hours_sum_up_as_the_whole_does() -> None:
    """Each INVITE has its time and its step: any bucket's steps are those of its INVITEs."""
    story = Story()
    for turn in range(3):
        whole_call(story, turn * HOUR_MS, replace(LEG, call_id=f"{turn}@x"))
        story.ask(turn * HOUR_MS + 90, replace(LEG, call_id=f"{turn}@x"))
    story.ask(50, LEG, copy=True)
    tally, calls = story.tally()
    at_ns, steps = tally.columns()
    hours = ((at_ns - START_NS) // (HOUR_MS * MS)).tolist()

    assert sorted(zip(hours, steps.tolist(), strict=True)) == sorted(
        [(0, Step.COPY), *[(hour, Step.CALL) for hour in range(3)]]
        + [(hour, Step.RETRANSMISSION) for hour in range(3)]
    )
    assert tally.waterfall(1, len(calls)).invites == len(steps)
    assert ALICE in LEG.caller


def test_a_device_that_tries_for_ever_takes_bounded_memory_and_time() -> None:
    """Challenged every second with one Call-ID: a call a thousand attempts, each counted."""
    story = Story()
    for turn in range(5_000):
        leg = again(turn + 1, str(turn))
        story.ask(turn * 1_000, leg).answer(turn * 1_000 + 10, leg, 401)
        story.ask(turn * 1_000 + 11, leg, "ACK")
    tally, calls = story.tally()
    waterfall = tally.waterfall(0, len(calls))

    assert (waterfall.calls, waterfall.auth_retries) == (5, 4_995)


def test_repetitions_without_end_are_kept_once() -> None:
    """A million times the same 180, BYE and re-INVITE are one of each."""
    story = Story().ask(0, LEG).answer(1, LEG, 180).answer(2, LEG, 200)
    story.ask(3, again(2, "in", to_tag="b")).ask(4, again(3, "bye", to_tag="b"), "BYE")
    tally = Tally()
    for _ in range(1_000):
        for seen in story.messages[1:]:
            tally.add(seen)
    use = tally._uses[LEG.call_id]  # noqa: SLF001 - what is kept is the point

    assert (len(use.responses), len(use.byes)) == (2, 1)
