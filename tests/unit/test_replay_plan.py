"""The schedule of a replay, on a clock that stands still until it is told."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from harness.clock import ManualClock
from harness.errors import InputError
from harness.packets.capture import (
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    Capture,
    encode_file_header,
    encode_record,
    parse,
)
from harness.packets.frame import Endpoint, encode_udp
from probetest.taps.replay import LEAD_NS, Parts, replay
from probetest.taps.replay_plan import Interface, Pacer, check_target, make_plan

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
GAPS_MS = (0, 20, 20, 1, 100)


def frame(number: int, size: int = 60) -> bytes:
    return bytes.fromhex("0200000000020200000000018888") + number.to_bytes(2) + bytes(size - 16)


def capture(gaps_ms: tuple[float, ...] = GAPS_MS, *, linktype: int = LINKTYPE_ETHERNET) -> Capture:
    """Return a capture with a frame after each gap."""
    at_ns, records = START_NS, []
    for number, gap_ms in enumerate(gaps_ms):
        at_ns += round(gap_ms * MS)
        records.append(encode_record(at_ns, frame(number)))
    return parse(encode_file_header(linktype) + b"".join(records), name="made.pcap")


@dataclass(slots=True)
class Listener:
    """A place that frames are sent to, and a processor that is late by *late_ns* each time."""

    clock: ManualClock
    late_ns: list[int] = field(default_factory=list)
    stop_after: int | None = None
    seen: list[tuple[int, bytes]] = field(default_factory=list)

    def until(self, due_ns: int) -> int | None:
        if self.stop_after is not None and len(self.seen) >= self.stop_after:
            return None
        late = self.late_ns[len(self.seen)] if self.late_ns else 0
        self.clock.now_ns = max(self.clock.now_ns, due_ns) + late
        return self.clock.now_ns

    def send(self, parts: Parts) -> None:
        self.seen.append((self.clock.now_ns, b"".join(parts)))

    def finish(self) -> None:
        assert self.seen or self.stop_after == 0


def test_frames_leave_at_their_times() -> None:
    """Same frames, same order, same gaps, a lead after the start."""
    clock = ManualClock(77)
    place = Listener(clock)

    report = replay(make_plan(capture()), place, clock, place)

    assert [octets for _, octets in place.seen] == [frame(number) for number in range(5)]
    assert np.diff([at for at, _ in place.seen]).tolist() == [20 * MS, 20 * MS, MS, 100 * MS]
    assert place.seen[0][0] == 77 + LEAD_NS
    assert report.complete
    assert (report.packets, report.bytes, report.late_max_ns) == (5, 300, 0)
    assert report.duration_ns == report.planned_ns == 141 * MS


def test_late_frame_delays_no_other() -> None:
    """The schedule is absolute: after a late frame the next is on time again."""
    clock = ManualClock()
    place = Listener(clock, late_ns=[0, 15 * MS, 0, 0, 0])

    report = replay(make_plan(capture()), place, clock, place)

    assert [(at - LEAD_NS) // MS for at, _ in place.seen] == [0, 35, 40, 41, 141]
    assert (report.late_p50_ns, report.late_max_ns) == (0, 15 * MS)
    assert report.duration_ns == report.planned_ns


def test_delay_longer_than_the_gap_is_made_up_for() -> None:
    """Frames that are overdue leave at once, in their order, until the schedule is met."""
    clock = ManualClock()
    place = Listener(clock, late_ns=[30 * MS, 0, 0, 0, 0])

    report = replay(make_plan(capture()), place, clock, place)

    assert [(at - LEAD_NS) // MS for at, _ in place.seen] == [30, 30, 40, 41, 141]
    assert [octets for _, octets in place.seen] == [frame(number) for number in range(5)]
    assert report.late_max_ns == 30 * MS


def test_speed_divides_every_gap() -> None:
    """Ten times as fast is a tenth of each time from the start."""
    plan = make_plan(capture(), speed=10)

    assert plan.due_ns.tolist() == [0, 2 * MS, 4 * MS, 4_100_000, 14_100_000]


def test_loops_follow_each_other_with_the_mean_gap() -> None:
    """The second loop begins as if the capture went on in its rhythm."""
    clock = ManualClock()
    place = Listener(clock)

    report = replay(make_plan(capture((0, 10, 30)), loops=3), place, clock, place)

    assert [(at - LEAD_NS) // MS for at, _ in place.seen] == [0, 10, 40, 60, 70, 100, 120, 130, 160]
    assert report.planned == 9
    assert report.planned_ns == report.duration_ns == 160 * MS


def test_limit_ends_inside_a_loop() -> None:
    """So many packets in all, not in each loop."""
    plan = make_plan(capture(), loops=4, limit=7)

    assert (plan.packets, plan.duration_ns) == (7, plan.turn_ns + 20 * MS)
    assert make_plan(capture(), limit=2).packets == 2


def test_time_that_goes_back_keeps_the_order() -> None:
    """A frame with an earlier time is due with the frame before it, and is counted."""
    plan = make_plan(capture((0, 20, -5, 10)))

    assert plan.due_ns.tolist() == [0, 20 * MS, 20 * MS, 25 * MS]
    assert plan.raised == 1


def test_stop_ends_with_a_report_of_what_was_sent() -> None:
    """Ctrl-C loses no number."""
    clock = ManualClock()
    place = Listener(clock, stop_after=2)

    report = replay(make_plan(capture()), place, clock, place)

    assert (report.packets, report.planned, report.complete) == (2, 5, False)
    assert report.duration_ns == 20 * MS


def test_stop_before_the_first_frame_reports_zeros() -> None:
    """A replay that never began has no lateness."""
    clock = ManualClock()
    place = Listener(clock, stop_after=0)

    report = replay(make_plan(capture()), place, clock, place)

    assert (report.packets, report.bytes, report.duration_ns, report.late_max_ns) == (0, 0, 0, 0)


def test_progress_is_told_when_there_is_time_and_at_the_end() -> None:
    """A note of progress never comes between frames that are close together."""
    clock = ManualClock()
    place = Listener(clock)
    told: list[tuple[int, int]] = []

    replay(
        make_plan(capture((0, 90, 1, 1, 90, 90))),
        place,
        clock,
        place,
        lambda sent, planned: told.append((sent, planned)),
    )

    assert told == [(5, 6), (6, 6)]


def test_pacer_takes_no_frame_after_the_last() -> None:
    """A frame too many is a mistake of the caller."""
    pacer = Pacer(make_plan(capture(), limit=1), 0)
    pacer.note_sent(0, 60)

    assert pacer.next_ns() is None
    with pytest.raises(InputError, match="all frames are sent"):
        pacer.note_sent(0, 60)


@pytest.mark.parametrize(
    ("source", "destination", "ethertype"),
    [
        ("192.0.2.1", "192.0.2.2", b"\x08\x00"),
        ("2001:db8::1", "2001:db8::2", b"\x86\xdd"),
    ],
)
def test_raw_ip_gets_an_ethernet_header(source: str, destination: str, ethertype: bytes) -> None:
    """A packet without a link layer is given one that says what it is."""
    packet = encode_udp(Endpoint(source, 5060), Endpoint(destination, 5060), b"OPTIONS")
    data = encode_file_header(LINKTYPE_RAW) + encode_record(START_NS, packet)

    before, rest = make_plan(parse(data)).parts(0)

    assert len(before) == 14
    assert before[0] & 0x03 == 0x02  # one station, locally administered
    assert before[12:] == ethertype
    assert rest == packet


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_speed_that_is_none_is_refused(speed: float) -> None:
    """Time must go on, and not all at once."""
    with pytest.raises(InputError, match="speed"):
        make_plan(capture(), speed=speed)


@pytest.mark.parametrize(("loops", "limit"), [(0, None), (-1, None), (1, 0), (20_000_000, None)])
def test_count_out_of_range_is_refused(loops: int, limit: int | None) -> None:
    """At least one packet, and not more than can be kept account of."""
    with pytest.raises(InputError, match=r"at least 1|more than"):
        make_plan(capture(), loops=loops, limit=limit)


def test_cut_frames_are_sent_on_request_only() -> None:
    """A frame shorter than it was on the wire is not what was on the wire."""
    cut = bytearray(encode_file_header(LINKTYPE_ETHERNET) + encode_record(START_NS, frame(1)))
    cut[24 + 12] = 200  # the length on the wire
    read = parse(bytes(cut), name="cut.pcap")

    with pytest.raises(InputError, match="1 frames are cut"):
        make_plan(read)
    assert make_plan(read, allow_cut=True).parts(0)[1] == frame(1)


def test_damaged_file_is_sent_on_request_only() -> None:
    """A file that ends inside a record is not whole."""
    whole = encode_file_header(LINKTYPE_ETHERNET) + encode_record(START_NS, frame(1))
    read = parse(whole + bytes(5), name="damaged.pcap")

    with pytest.raises(InputError, match="damaged"):
        make_plan(read)
    assert make_plan(read, allow_cut=True).packets == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (encode_file_header(LINKTYPE_ETHERNET), "no frame"),
        (encode_file_header(113) + encode_record(START_NS, frame(1)), "link type"),
        (encode_file_header(LINKTYPE_ETHERNET) + encode_record(0, bytes(13)), "too short"),
        (encode_file_header(LINKTYPE_RAW) + encode_record(0, b""), "too short"),
    ],
)
def test_capture_that_cannot_be_sent_is_refused(data: bytes, why: str) -> None:
    """What is refused, is refused before the first frame is sent."""
    with pytest.raises(InputError, match=why):
        make_plan(parse(data, name="odd.pcap"))


def test_frame_longer_than_the_interface_takes_is_named() -> None:
    """MTU and Ethernet header are the limit; a VLAN tag comes on top."""
    tagged = frame(1, 1518)[:12] + b"\x81\x00" + frame(1, 1518)[14:]
    records = (encode_record(START_NS, octets) for octets in (frame(0, 1514), tagged))
    fits = encode_file_header(LINKTYPE_ETHERNET) + b"".join(records)
    make_plan(parse(fits)).check_size(1500)

    with pytest.raises(InputError, match="frame 3, bytes = 1515: longer than the 1514"):
        make_plan(parse(fits + encode_record(START_NS, frame(2, 1515)))).check_size(1500)


@pytest.mark.parametrize("kind", ["lo", "veth", "dummy", "tun", "ifb"])
def test_harmless_interface_is_taken(kind: str) -> None:
    """Interfaces that lead nowhere by themselves."""
    check_target(Interface("x", kind, True, True, 1500, False))


@pytest.mark.parametrize("kind", ["", "bond", "bridge", "vlan", "macvlan", "wireguard"])
def test_live_interface_is_taken_on_request_only(kind: str) -> None:
    """A replay must never flood somebody's network by accident."""
    real = Interface("eth0", kind, True, True, 1500, False)

    with pytest.raises(InputError, match="allow-live"):
        check_target(real)
    check_target(real, allow_live=True)


def test_veth_with_the_default_route_is_live() -> None:
    """In a container the way out is a veth."""
    with pytest.raises(InputError, match="default route"):
        check_target(Interface("eth0", "veth", True, True, 1500, True))


@pytest.mark.parametrize(
    ("interface", "why"),
    [
        (Interface("tun0", "tun", False, True, 1500, False), "not an Ethernet"),
        (Interface("veth0", "veth", True, False, 1500, False), "is down"),
    ],
)
def test_interface_that_takes_no_frame_is_refused(interface: Interface, why: str) -> None:
    """Not even on request."""
    with pytest.raises(InputError, match=why):
        check_target(interface, allow_live=True)
