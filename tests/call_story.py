"""Stories of calls for tests: SIP messages with times and places, told to a tally."""

from dataclasses import dataclass, field

from harness.packets.frame import Endpoint
from probetest.calls.call import Call
from probetest.calls.dialogs import Tally
from probetest.calls.waterfall import Step
from probetest.sip.brief import gist
from probetest.sip.seen import Seen
from tests.sip_wire import MS, PHONE, SBC, START_NS, Leg

HOUR_MS = 3_600_000


@dataclass(slots=True)
class Story:
    """Messages in the order in which they are told; frames are numbered from 1."""

    messages: list[Seen] = field(default_factory=list)

    def say(
        self, at_ms: float, source: Endpoint, to: Endpoint, data: bytes, *, copy: bool = False
    ) -> "Story":
        """Add a message; return itself."""
        frame, found = len(self.messages) + 1, gist(data)
        at_ns = START_NS + round(at_ms * MS)
        seen = Seen(at_ns, frame, 0, source, to, False, copy, data, found.brief, found.why)
        self.messages.append(seen)
        return self

    def ask(self, at_ms: float, leg: Leg, method: str = "INVITE", **more: object) -> "Story":
        """Add a request from the phone to the SBC."""
        return self.say(at_ms, PHONE, SBC, leg.request(method), **more)  # type: ignore[arg-type]

    def answer(self, at_ms: float, leg: Leg, status: int, method: str = "INVITE") -> "Story":
        """Add a response from the SBC to the phone."""
        return self.say(at_ms, SBC, PHONE, leg.response(status, method))

    def tally(self, *, close_every_ms: float = 0) -> tuple[Tally, list[Call]]:
        """Return what comes of it, and the calls by time; calls are closed every so often."""
        tally, calls, next_ns = Tally(), list[Call](), 0
        tally.steps.with_frames = True
        for seen in sorted(self.messages, key=lambda one: (one.at_ns, one.frame)):
            if close_every_ms and seen.at_ns >= next_ns:
                calls += tally.close_before(seen.at_ns)
                next_ns = seen.at_ns + round(close_every_ms * MS)
            tally.add(seen)
        calls += tally.calls()
        calls.sort(key=lambda call: call.first.place)
        return tally, calls

    def calls(self) -> list[Call]:
        """Return the calls, in order of time."""
        return self.tally()[1]

    def steps(self) -> dict[int, Step]:
        """Return what the INVITE in each frame was counted as; the sums are checked."""
        tally, calls = self.tally()
        tally.waterfall(len(self.messages), len(calls))
        return dict(sorted(tally.by_frame().items()))


def whole_call(story: Story, at_ms: float, leg: Leg, *, seconds: float = 1) -> None:
    """Add INVITE, 180, 200, ACK, BYE and its 200."""
    inside = Leg(leg.call_id, leg.caller, leg.called, leg.from_tag, f"{leg.branch}-bye", 2, "b")
    acked = Leg(leg.call_id, leg.caller, leg.called, leg.from_tag, f"{leg.branch}-ack", 1, "b")
    story.ask(at_ms, leg).answer(at_ms + 100, leg, 180).answer(at_ms + 200, leg, 200)
    story.ask(at_ms + 201, acked, "ACK").ask(at_ms + 200 + seconds * 1000, inside, "BYE")
    story.answer(at_ms + 201 + seconds * 1000, inside, 200, "BYE")
