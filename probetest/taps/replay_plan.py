"""When each frame of a capture is to be sent, and how late it was: a replay without its sockets.

Laws: the schedule is absolute, so that a late frame delays no other; the order is that of the file,
and a frame whose time goes back is due with the one before it; what cannot be sent as it was on the
wire (cut, without a time, of an unknown link) is refused before the first frame is sent.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from harness.errors import InputError
from harness.packets.capture import LINKTYPE_ETHERNET, LINKTYPE_RAW, Capture, Ints
from probetest.taps.vxlan import ETHERNET_BYTES

MAX_PACKETS = 50_000_000  # of one replay: the lateness of each is kept, 8 bytes
LONE_TURN_NS = 1_000_000_000  # from loop to loop of a capture with a single frame
HARMLESS_KINDS = ("lo", "veth", "dummy", "tun", "ifb")  # "tun" is a tap device too

_MACS = bytes.fromhex("020000000002020000000001")  # to and from: locally administered
_IPV4_TYPE, _IPV6_TYPE = b"\x08\x00", b"\x86\xdd"
_VLAN_TYPE = b"\x81\x00"  # the only one for which Linux allows the tag beyond the MTU
_VLAN_BYTES = 4


@dataclass(frozen=True, slots=True)
class Interface:
    """What matters about an interface before anything is sent to it."""

    name: str
    kind: str  # of a virtual interface, as in `ip -d link`; "lo"; "" for a real one
    ethernet: bool
    up: bool
    mtu_bytes: int
    default_route: bool


@dataclass(frozen=True, slots=True, eq=False)
class ReplayPlan:
    """The frames of a capture, when each is due, and how often all of them are sent."""

    capture: Capture
    due_ns: Ints  # from the first; never goes back
    turn_ns: int  # from the start of one loop to that of the next
    packets: int  # in all loops
    raised: int  # frames of the file whose time goes back

    def __len__(self) -> int:
        """Return the number of frames of one loop."""
        return len(self.due_ns)

    @property
    def duration_ns(self) -> int:
        """Return the time from the first frame of all to the last."""
        loop, frame = divmod(self.packets - 1, len(self))
        return loop * self.turn_ns + int(self.due_ns[frame])

    def parts(self, frame: int) -> tuple[bytes, memoryview]:
        """Return an Ethernet frame (counted from 0): a header that had to be made, and the rest."""
        start = int(self.capture.offset_bytes[frame])
        rest = self.capture.data[start : start + self.captured(frame)].data
        if int(self.capture.linktype[frame]) == LINKTYPE_ETHERNET:
            return b"", rest
        return _MACS + (_IPV4_TYPE if rest[0] >> 4 == 4 else _IPV6_TYPE), rest  # noqa: PLR2004

    def captured(self, frame: int) -> int:
        """Return how many bytes of a frame the file holds."""
        return int(self.capture.captured_bytes[frame])

    def check_size(self, mtu_bytes: int) -> None:
        """Refuse the first frame that an interface with this MTU would not take.

        Raises:
            InputError: there is one; names it.
        """
        added = np.where(self.capture.linktype[: len(self)] == LINKTYPE_RAW, ETHERNET_BYTES, 0)
        sizes = self.capture.captured_bytes[: len(self)] + added
        for frame in np.flatnonzero(sizes > mtu_bytes + ETHERNET_BYTES).tolist():
            _, rest = self.parts(frame)
            tagged = bytes(rest[12:14]) == _VLAN_TYPE
            limit = mtu_bytes + ETHERNET_BYTES + (_VLAN_BYTES if tagged else 0)
            if sizes[frame] > limit:
                raise InputError(
                    f"longer than the {limit} bytes that can be sent (MTU {mtu_bytes})",
                    file=self.capture.name,
                    field=f"frame {frame + 1}, bytes",
                    value=int(sizes[frame]),
                    fix="raise the MTU: ip link set NAME mtu N",
                )


def make_plan(
    capture: Capture,
    *,
    speed: float = 1.0,
    loops: int = 1,
    limit: int | None = None,
    allow_cut: bool = False,
) -> ReplayPlan:
    """Return when to send each frame: *speed* times as fast as recorded, *loops* times over.

    Between two loops lies the mean gap of the capture. At most *limit* frames are sent in all.

    Raises:
        InputError: a number out of range, or a capture that cannot be sent as it was on the wire;
            with *allow_cut*, cut frames are sent as far as they were captured.
    """
    if not (math.isfinite(speed) and speed > 0):
        raise InputError("must be above 0", field="speed", value=speed)
    for name, number in (("loops", loops), ("limit", limit)):
        if number is not None and number < 1:
            raise InputError("must be at least 1", field=name, value=number)
    _check(capture, allow_cut=allow_cut)
    packets = min(len(capture) * loops, limit or len(capture) * loops)
    if packets > MAX_PACKETS:
        raise InputError(f"more than {MAX_PACKETS} packets", field="loops", value=loops)
    frames = min(len(capture), packets)
    since = capture.at_ns[:frames] - capture.at_ns[0]
    ordered = np.maximum.accumulate(since)
    due_ns = ordered if speed == 1 else np.rint(ordered / speed).astype(np.int64)
    span = int(due_ns[-1])
    mean_gap = span // (frames - 1) if frames > 1 else round(LONE_TURN_NS / speed)
    raised = int(np.count_nonzero(since < ordered))
    return ReplayPlan(capture, due_ns, span + mean_gap, packets, raised)


def check_target(interface: Interface, *, allow_live: bool = False) -> None:
    """Refuse to send to an interface that could lead to somebody else's network.

    Raises:
        InputError: it is down, not Ethernet, or not virtual, or a default route goes through it;
            the last two are allowed with *allow_live*.
    """
    place, name = "--to", interface.name
    if not interface.ethernet:
        raise InputError("not an Ethernet interface", field=place, value=name)
    if not interface.up:
        raise InputError("is down", field=place, value=name, fix=f"ip link set {name} up")
    why = ""
    if interface.kind not in HARMLESS_KINDS:
        why = f"{interface.kind or 'a real interface'}, not one of {', '.join(HARMLESS_KINDS)}"
    elif interface.default_route:
        why = "the default route goes through it"
    if why and not allow_live:
        fix = "use a veth or tap, or --udp; --allow-live if that network is yours to flood"
        raise InputError(why, field=place, value=name, fix=fix)


@dataclass(slots=True)
class Pacer:
    """A replay while it runs: which frame is next, when it is due, and how late the others were."""

    plan: ReplayPlan
    start_ns: int  # monotonic: when the first frame is due
    sent: int = 0
    sent_bytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    _due: list[int] = field(init=False)
    _late_ns: Ints = field(init=False)

    def __post_init__(self) -> None:
        """Have plain numbers at hand: they are asked for one by one."""
        self._due = self.plan.due_ns.tolist()
        self._late_ns = np.zeros(self.plan.packets, np.int64)

    @property
    def frame(self) -> int:
        """Return which frame of the capture is next, counted from 0."""
        return self.sent % len(self._due)

    def next_ns(self) -> int | None:
        """Return when the next frame is due (monotonic); None: all are sent."""
        if self.sent == self.plan.packets:
            return None
        loop, frame = divmod(self.sent, len(self._due))
        return self.start_ns + loop * self.plan.turn_ns + self._due[frame]

    def note_sent(self, now_ns: int, size_bytes: int) -> None:
        """Note that the next frame was sent at *now_ns*, and go on to the one after it."""
        due_ns = self.next_ns()
        if due_ns is None:
            raise InputError("all frames are sent", field="sent", value=self.sent)
        self._late_ns[self.sent] = now_ns - due_ns
        self.first_ns = self.first_ns if self.sent else now_ns
        self.last_ns = now_ns
        self.sent += 1
        self.sent_bytes += size_bytes

    def report(self) -> "ReplayReport":
        """Return what was sent up to now."""
        late = self._late_ns[: self.sent]
        marks = (
            np.percentile(late, (50, 90, 99, 100), method="higher") if self.sent else np.zeros(4)
        )
        half, ninety, ninety_nine, most = (int(mark) for mark in marks)
        return ReplayReport(
            packets=self.sent,
            planned=self.plan.packets,
            bytes=self.sent_bytes,
            duration_ns=self.last_ns - self.first_ns,
            planned_ns=self.plan.duration_ns,
            late_p50_ns=half,
            late_p90_ns=ninety,
            late_p99_ns=ninety_nine,
            late_max_ns=most,
            raised=self.plan.raised,
        )


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What was sent, and how late each frame left, against the absolute schedule."""

    packets: int
    planned: int
    bytes: int  # of Ethernet frames
    duration_ns: int  # from the first frame to the last
    planned_ns: int
    late_p50_ns: int
    late_p90_ns: int
    late_p99_ns: int
    late_max_ns: int
    raised: int  # frames of the file whose time goes back; they were sent in the file's order

    @property
    def complete(self) -> bool:
        """Return whether every planned frame was sent."""
        return self.packets == self.planned


def _check(capture: Capture, *, allow_cut: bool) -> None:
    """Refuse a capture that cannot be sent as it was on the wire."""
    name = capture.name
    if not len(capture):
        raise InputError("no frame in it", file=name)
    if capture.untimed:
        raise InputError("frames without a time", file=name, field="frames", value=capture.untimed)
    if capture.cut and not allow_cut:
        raise InputError(f"damaged: {capture.cut.why}", file=name, fix="--allow-cut sends the rest")
    unknown = sorted({*capture.linktype.tolist()} - {LINKTYPE_ETHERNET, LINKTYPE_RAW})
    if unknown:
        fix = f"only {LINKTYPE_ETHERNET} (Ethernet) and {LINKTYPE_RAW} (raw IP) can be sent"
        raise InputError("link type", file=name, field="linktype", value=unknown[0], fix=fix)
    short = np.flatnonzero(capture.captured_bytes < capture.original_bytes).tolist()
    if short and not allow_cut:
        what = f"{len(short)} frames are cut (snapshot length), first"
        fix = "--allow-cut sends what is there"
        raise InputError(what, file=name, field="frame", value=short[0] + 1, fix=fix)
    least = np.where(capture.linktype == LINKTYPE_ETHERNET, ETHERNET_BYTES, 1)
    tiny = np.flatnonzero(capture.captured_bytes < least).tolist()
    if tiny:
        raise InputError("too short to be sent", file=name, field="frame", value=tiny[0] + 1)
