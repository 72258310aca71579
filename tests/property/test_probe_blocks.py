"""What a tap saw does not depend on how much of the capture is read at a time."""

import io
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import ToolError, WireError
from harness.packets.blocks import read_blocks
from harness.packets.capture import parse
from harness.packets.frame import Endpoint, encode_udp
from harness.premises import Premises
from probetest.dataset import Listening, ListeningHere, TapData, TapReader, read_tap
from probetest.listening import Listener
from probetest.listening_process import ListeningProcess
from tests.sip_wire import ALICE, BOB, CAROL, CARRIER, PHONE, SBC, START_NS, Leg, Tape, rtp, sdp

MS = 1_000_000
MEDIA = (Endpoint("198.51.100.10", 40_000), Endpoint("203.0.113.20", 50_000))
STRANGERS = (Endpoint("198.51.100.77", 40_100), Endpoint("203.0.113.78", 50_200))
BLOCK_BYTES = (16 * 1024, 24 * 1024, 40 * 1024, 100 * 1024)


@dataclass(slots=True)
class Memory:
    """The bytes of a capture, given as a file gives them."""

    data: bytes
    loss: WireError | None = None
    is_stopped: bool = False
    read_bytes: int = 0
    _file: io.BytesIO = field(init=False)

    def __post_init__(self) -> None:
        """Open it."""
        self._file = io.BytesIO(self.data)

    def readinto(self, room: memoryview) -> int:
        """Put the next bytes into *room*."""
        count = self._file.readinto(room)
        self.read_bytes += count
        return count


def in_blocks(
    data: bytes, block_bytes: int, listen: Callable[[Listener], Listening] = ListeningHere
) -> TapData:
    """Return what a capture shows that is read so much at a time."""
    blocks = list(read_blocks(Memory(data), name="", block_bytes=block_bytes))
    assert len(blocks) >= min(2, len(data) // block_bytes)
    reader = TapReader(Premises(), device="tap", listen=listen)
    for block in blocks:
        reader.add(block)
    return reader.close()


def fragments(packet: bytes, number: int, size: int) -> list[bytes]:
    """Return an IPv4 packet in parts of *size* bytes, a multiple of 8."""
    parts = []
    for offset in range(0, len(packet) - 20, size):
        part = packet[20 + offset : 20 + offset + size]
        more = 0x2000 if 20 + offset + size < len(packet) else 0
        head = bytearray(packet[:20])
        head[2:8] = struct.pack(">HHH", 20 + len(part), number, more | offset // 8)
        head[10:12] = b"\0\0"
        total = sum(struct.unpack(">10H", head))
        total = (total & 0xFFFF) + (total >> 16)
        head[10:12] = struct.pack(">H", ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF)
        parts.append(bytes(head) + part)
    return parts


def call(tape: Tape, number: int, at_ms: float, kind: str) -> None:
    """Add a call of some kind, with its media."""
    leg = Leg(
        f"{number}@192.0.2.10",
        called=f"sip:{(BOB, CAROL, ALICE)[number % 3]}@192.0.2.20",
        branch=f"z9hG4bK-{number}",
    )
    again = Leg(leg.call_id, leg.caller, leg.called, "a", f"z9hG4bK-{number}-2", 2)
    inside = Leg(leg.call_id, leg.caller, leg.called, "a", f"z9hG4bK-{number}-3", 3, "b")
    ends = [Endpoint(one.address, one.port + 2 * number) for one in MEDIA]
    offer, answer = (sdp(one, "8 PCMA/8000") for one in ends)
    say = _tcp(tape, number) if kind == "tcp" else tape.udp
    if kind == "fragments":
        for part in fragments(encode_udp(PHONE, SBC, leg.request(body=offer)), 7000 + number, 160):
            tape.frames.append((START_NS + round(at_ms * MS), part))
    else:
        say(at_ms, PHONE, SBC, leg.request(body=offer))
    if kind == "challenged":
        say(at_ms + 2, SBC, PHONE, leg.response(407))
        say(at_ms + 4, PHONE, SBC, again.request(body=offer))
        leg = again
    if kind == "onward":
        tape.udp(at_ms + 3, SBC, CARRIER, leg.request(body=offer))
    say(at_ms + 20, SBC, PHONE, leg.response(180))
    say(at_ms + 40, SBC, PHONE, leg.response(486 if kind == "busy" else 200, body=answer))
    if kind == "busy":
        return
    for packet in range(40):
        for way in (0, 1):
            if (packet * 7 + number + way) % 23:
                payload = rtp(packet, 160 * packet, ssrc=2 * number + way)
                pair = (ends[way], ends[1 - way])
                tape.udp(at_ms + 50 + 20 * packet + 7 * way, *pair, payload)
    say(at_ms + 900, PHONE, SBC, inside.request("BYE"))
    say(at_ms + 905, SBC, PHONE, inside.response(200, "BYE"))


def _tcp(tape: Tape, number: int) -> Callable[[float, Endpoint, Endpoint, bytes], None]:
    """Return what sends as TCP, each message in two segments."""
    sent = {PHONE: 0, SBC: 0}

    def say(at_ms: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        sender = Endpoint(source.address, 6000 + number)
        receiver = Endpoint(destination.address, 6000 + number)
        for begin, part in ((0, payload[:99]), (99, payload[99:])):
            tape.tcp(at_ms + begin / 1000, sender, receiver, part, at=sent[source] + begin)
        sent[source] += len(payload)

    return say


KINDS = ("plain", "tcp", "fragments", "challenged", "onward", "busy")


calls = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 1500)), min_size=1, max_size=6)


def capture(starts: list[tuple[str, int]], strangers: int, seed: int) -> bytes:
    """Return a capture of calls, some of whose frames came twice or in another order."""
    tape, at_ms = Tape(), 0.0
    for number, (kind, pause_ms) in enumerate(starts):
        call(tape, number, at_ms, kind)
        at_ms += pause_ms
    for packet in range(strangers):  # announced by nobody
        tape.udp(10 + 20 * packet, *STRANGERS, rtp(65_500 + packet, 160 * packet, ssrc=99))
    tape.frames.sort(key=lambda one: one[0])
    dice = random.Random(seed)  # noqa: S311 - the same in every run
    for place in range(len(tape.frames) - 1, -1, -1):
        at_ns, frame = tape.frames[place]
        if dice.random() < 0.1:
            tape.frames.insert(place + 1, (at_ns + dice.randrange(MS), frame))
        elif place and dice.random() < 0.1:
            tape.frames[place - 1 : place + 1] = tape.frames[place - 1 : place + 1][::-1]
    return tape.data()


@given(calls, st.integers(0, 60), st.integers(0, 9999), st.sampled_from(BLOCK_BYTES))
@example(  # an answer over TCP that waits for a lost segment till the end
    [("plain", 750), ("tcp", 724), ("plain", 25), ("plain", 504), ("tcp", 1)], 0, 0, 16384
)
@settings(max_examples=40, deadline=None)
def test_a_capture_in_blocks_shows_what_the_whole_shows(
    starts: list[tuple[str, int]], strangers: int, seed: int, block_bytes: int
) -> None:
    """Calls, streams, figures, counts and losses, with TCP, fragments, copies and disorder."""
    data = capture(starts, strangers, seed)
    whole = read_tap(parse(data), Premises(), device="tap")
    parts = in_blocks(data, block_bytes)

    assert parts.waterfall == whole.waterfall
    assert parts.calls == whole.calls
    assert parts.streams == whole.streams
    assert parts == whole


@pytest.mark.parametrize("cut", [0, 1, 200])
def test_two_files_of_a_device_are_as_one(cut: int) -> None:
    """A capture that was cut in two, between frames, is read on where it ended."""
    tape = Tape()
    for number, kind in enumerate(KINDS):
        call(tape, number, number * 100.0, kind)
    tape.frames.sort(key=lambda one: one[0])
    frames = tape.frames
    pieces = []
    for part in (frames[:cut], frames[cut:]):
        tape.frames = part
        pieces.append(tape.data())
    tape.frames = frames
    whole = read_tap(parse(tape.data()), Premises(), device="tap")
    blocks = (
        block
        for piece in pieces
        for block in read_blocks(Memory(piece), name="", block_bytes=1 << 20)
    )

    assert read_tap(blocks, Premises(), device="tap") == whole


@given(calls, st.integers(0, 60), st.integers(0, 9999))
@settings(max_examples=10, deadline=None)
def test_a_process_of_its_own_hears_the_same(
    starts: list[tuple[str, int]], strangers: int, seed: int
) -> None:
    """SIP that is read beside RTP gives the same calls, streams and counts."""
    data = capture(starts, strangers, seed)

    assert in_blocks(data, 24 * 1024, ListeningProcess) == in_blocks(data, 24 * 1024)


def test_a_listener_that_ends_early_is_an_error() -> None:
    """A result without its calls would be taken for one."""
    made: list[ListeningProcess] = []

    def listen(listener: Listener) -> ListeningProcess:
        made.append(ListeningProcess(listener))
        return made[0]

    reader = TapReader(Premises(), listen=listen)
    blocks = list(read_blocks(Memory(capture([("plain", 1)], 0, 1)), name="", block_bytes=9000))
    reader.add(blocks[0])
    made[0].kill()
    with pytest.raises(ToolError, match="ended early, signal 9"):
        reader.add(blocks[1])
    made[0].close()


def test_a_listener_is_ended_at_once_after_a_failure() -> None:
    """Ctrl-C is not followed by the wait for what nobody will see."""
    process = ListeningProcess(Listener(Premises()))
    process.closed_after(KeyboardInterrupt, None, None)
    with pytest.raises(ToolError, match="ended early, signal 9"):
        process.send_finish(1)
    ListeningProcess(Listener(Premises())).closed_after(None, None, None)  # waits, and is over
