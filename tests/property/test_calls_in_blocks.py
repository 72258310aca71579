"""What calls there are depends on the messages and their times alone."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.packets.frame import Endpoint
from probetest.calls.call import Call
from probetest.calls.dialogs import Tally
from tests.call_story import Story, whole_call
from tests.sip_wire import CARRIER, MS, PHONE, SBC, Leg

UNHURRIED = settings(deadline=None, max_examples=100)
PLACES = ((PHONE, SBC), (SBC, CARRIER), (SBC, PHONE), (CARRIER, SBC))
GAPS_MS = (0.4, 3, 90, 110, 600, 20_000, 31_000, 33_000, 50_000, 605_000, 3_700_000, 15_000_000)
SESSIONS = ("", "a" * 32, "b" * 32)
ORIGIN = b"v=0\r\no=x 12345 1 IN IP4 192.0.2.10\r\ns=-\r\n"

Told = tuple[object, ...]


def leg_of(draw: st.DrawFn) -> Leg:
    """Return any of a few legs, so that they meet."""
    session = draw(st.sampled_from(SESSIONS))
    return Leg(
        call_id=draw(st.sampled_from(["1@x", "2@x", "3@x"])),
        called=draw(st.sampled_from(["sip:12@192.0.2.20", "sip:123@192.0.2.20"])),
        from_tag=draw(st.sampled_from("ab")),
        to_tag=draw(st.sampled_from(["", "", "", "b", "c"])),
        branch=draw(st.sampled_from(["z9hG4bK-1", "z9hG4bK-2"])),
        number=draw(st.integers(1, 3)),
        extra=(("Session-ID", session),) if session else (),
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Return any messages at all, of a few Call-IDs."""
    story, at_ms = Story(), 0.0
    for _ in range(draw(st.integers(0, 25))):
        at_ms += draw(st.sampled_from(GAPS_MS))
        leg, (source, to) = leg_of(draw), draw(st.sampled_from(PLACES))
        kind = draw(
            st.sampled_from(["INVITE"] * 4 + ["ACK", "BYE", "CANCEL", "REFER", "INFO"] + [""] * 4)
        )
        body = draw(st.sampled_from([b"", b"", ORIGIN])) if kind == "INVITE" else b""
        status = draw(st.sampled_from([100, 180, 200, 302, 407, 484, 486, 487]))
        data = leg.request(kind, body) if kind else leg.response(status)
        story.say(at_ms, source, to, data, copy=draw(st.integers(0, 9)) == 0)
    return story


def told(calls: Iterable[Call]) -> list[Told]:
    """Return all that is said of calls."""
    return sorted(
        (
            *(call.first.seen.frame, call.dialled.seen.frame, call.end.value, call.far_ends),
            *(call.final, call.ringing, call.cancel, call.bye, call.transfers, call.partial),
            tuple(sorted(hop.seen.frame for hop in call.hops)),
            tuple((leg.joined_by, *told([leg])) for leg in call.legs),
        )
        for call in calls
    )


@UNHURRIED
@given(stories(), st.sampled_from([0.1, 100, 5_000, 45_000, 700_000]))
def test_when_calls_are_closed_changes_nothing(story: Story, every_ms: float) -> None:
    """Closed after each message, now and then, or all at the end: the same calls and steps."""
    one, calls = story.tally()
    other, closed = story.tally(close_every_ms=every_ms)

    assert told(closed) == told(calls)
    assert told(other.take_partial()) == told(one.take_partial())
    assert other.by_frame() == one.by_frame()
    frames = len(story.messages)
    assert other.waterfall(frames, len(closed)) == one.waterfall(frames, len(calls))


@UNHURRIED
@given(stories())
def test_every_invite_is_in_one_step(story: Story) -> None:
    """Whatever comes, the steps sum up, and each INVITE has one."""
    tally, calls = story.tally()
    waterfall = tally.waterfall(len(story.messages), len(calls))
    invites = {
        seen.frame
        for seen in story.messages
        if seen.gist and seen.gist.is_request and seen.gist.method == "INVITE"
    }

    assert set(tally.by_frame()) == invites
    assert waterfall.invites == len(invites)
    assert not any(call.partial for call in calls)


def a_day(draw: st.DrawFn) -> tuple[Story, int]:
    """Return calls as they are made, several at once, some through a proxy and a B2BUA.

    How many they are is told too.
    """
    story, made = Story(), 0
    for turn in range(draw(st.integers(1, 5))):
        at_ms = draw(st.integers(0, 50)) * 100.0
        leg = Leg(f"{turn}@192.0.2.10", from_tag=f"f{turn}", branch=f"z9hG4bK-{turn}")
        made += 1
        match draw(st.sampled_from(["plain", "challenged", "proxied", "sent on", "looped"])):
            case "plain":
                whole_call(story, at_ms, leg)
            case "challenged":
                story.ask(at_ms, leg).answer(at_ms + 0.3, leg, 407).ask(at_ms + 0.5, leg, "ACK")
                more = replace(leg, number=2, branch=f"z9hG4bK-{turn}b")
                story.ask(at_ms + 0.6, more).answer(at_ms + 50, more, 486)
            case "proxied":
                via = (("Via", "SIP/2.0/UDP 192.0.2.10;branch=x"),)
                hop = replace(leg, branch=f"z9hG4bK-{turn}p", extra=via)
                story.say(at_ms + 0.2, SBC, CARRIER, hop.request())
                whole_call(story, at_ms, leg)
            case "sent on":
                session = (("Session-ID", f"{turn + 1:032x}"[::-1]),)
                onward = Leg(f"{turn}@192.0.2.20", from_tag="z", branch="y", extra=session)
                story.say(at_ms + 0.4, SBC, CARRIER, onward.request())
                whole_call(story, at_ms, replace(leg, extra=session))
            case _:
                made += 2
                for again in range(3):
                    whole_call(story, at_ms + again * 5_000, leg)
    return story, made


@UNHURRIED
@given(st.data())
def test_frames_shuffled_within_a_millisecond_make_the_same_calls(data: st.DataObject) -> None:
    """Two queues of a tap: every message up to a millisecond late."""
    story, made = a_day(data.draw)
    late = st.integers(0, MS - 1)
    shuffled = [seen._replace(at_ns=seen.at_ns + data.draw(late)) for seen in story.messages]
    tally, calls = story.tally()
    other, found = Story(shuffled).tally()

    assert len(calls) == made
    assert other.by_frame() == tally.by_frame()
    assert [outline(call) for call in sorted(found, key=frame_of)] == [
        outline(call) for call in sorted(calls, key=frame_of)
    ]


@UNHURRIED
@given(st.data())
def test_frames_shown_twice_make_the_same_calls(data: st.DataObject) -> None:
    """Each message again as the tap's copy: only `copies` differs."""
    story, made = a_day(data.draw)
    doubled = Story(list(story.messages))
    for seen in story.messages:
        doubled.messages.append(seen._replace(at_ns=seen.at_ns + 50_000, copy=True))
    tally, calls = story.tally()
    other, found = doubled.tally()
    assert len(calls) == made
    once, twice = tally.waterfall(0, len(calls)), other.waterfall(0, len(found))

    assert [outline(call) for call in found] == [outline(call) for call in calls]
    assert twice.copies == twice.invites // 2
    assert replace(
        twice, copies=0, invites=once.invites, sip_messages=once.sip_messages,
        other_messages=once.other_messages,
    ) == once  # fmt: skip


def frame_of(call: Call) -> int:
    """Return the frame of its first INVITE."""
    return call.first.seen.frame


def outline(call: Call) -> Told:
    """Return what does not depend on a millisecond."""
    moments = (call.final, call.ringing, call.bye)
    return (
        *(call.first.seen.frame, call.end, call.far_ends, len(call.hops)),
        *(None if one is None else (one.frame, one.status) for one in moments),
        *((leg.joined_by, leg.first.seen.frame) for leg in call.legs),
    )


def test_a_million_options_keep_nothing() -> None:
    """Requests that belong to no call leave no trace but their count."""
    story = Story().ask(0, Leg(), "OPTIONS")
    tally = Tally()
    for _ in range(1_000):
        tally.add(story.messages[0])

    assert (tally.open_uses, tally.messages) == (0, 1_000)
    assert Endpoint("192.0.2.10", 5060) == PHONE
