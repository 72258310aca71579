"""The edge that sends a capture again: to an interface, or wrapped in UDP to a tap.

The schedule and the counting are `probetest.taps.replay_plan`'s; here are sockets, and the waiting.
"""

import ctypes
import errno
import ipaddress
import os
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from harness.clock import Clock
from harness.errors import InputError, ToolError
from harness.packets.frame import Endpoint
from probetest.taps.replay_plan import Pacer, ReplayPlan, ReplayReport
from probetest.taps.vxlan import MAX_FRAME_BYTES, header

LEAD_NS = 5_000_000  # from the start to the first frame, so that it is not late already
SLICE_NS = 50_000_000  # the longest sleep: a stop is noticed within it
BLOCKED_NS = 2_000_000_000  # a full transmit queue that does not move for so long is an error
TELL_NS = 100_000_000  # between two notes of progress, where there is time for one
TELL_ANYWAY_NS = 1_000_000_000
ROOM_NS = 20_000_000  # that a note of progress may take
SEND_BUFFER_BYTES = 8 << 20
_SO_SNDBUFFORCE = 32  # beyond the system's limit; root
_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30

Parts = tuple[bytes, memoryview]
OnProgress = Callable[[int, int], None]  # sent, planned


class Sender(Protocol):
    """Where frames go."""

    def send(self, parts: Parts) -> None:
        """Send one Ethernet frame, given in two parts."""
        ...

    def finish(self) -> None:
        """Say now what would else be told with the next frame."""
        ...


class Waiter(Protocol):
    """How time goes by until a frame is due."""

    def until(self, due_ns: int) -> int | None:
        """Return the monotonic time at or after *due_ns*; None: told to stop."""
        ...


class SystemWaiter:
    """Sleeps until shortly before, then spins; a context manager."""

    def __init__(self, clock: Clock, *, spin_ns: int = 0) -> None:
        """Spin for the last *spin_ns*: more exact, and more of a processor."""
        self._clock, self._spin_ns, self._stopped = clock, spin_ns, False
        self._slack_ns = 0

    def stop(self) -> None:
        """End the waiting now and for all later frames; safe in a signal handler."""
        self._stopped = True

    def until(self, due_ns: int) -> int | None:
        """Return the monotonic time at or after *due_ns*; None: told to stop."""
        while not self._stopped:
            now_ns = self._clock.monotonic_ns()
            left_ns = due_ns - now_ns
            if left_ns <= 0:
                return now_ns
            if left_ns > self._spin_ns:
                rest_ns = min(left_ns - self._spin_ns, SLICE_NS)
                time.sleep(rest_ns / 1e9)  # noqa: TID251 - keeping the schedule is the work here
        return None

    def __enter__(self) -> Self:
        """Have this thread woken in time: Linux adds 50 us to each sleep unless told otherwise."""
        prctl = ctypes.CDLL(None).prctl
        self._slack_ns = prctl(_PR_GET_TIMERSLACK)
        prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put it back."""
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(max(1, self._slack_ns)))


class _SocketSender:
    """A socket that sends frames, and waits while the transmit queue is full."""

    def __init__(self, opened: socket.socket, place: str, before: bytes, clock: Clock) -> None:
        self._socket, self._place, self._before, self._clock = opened, place, before, clock
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
        except PermissionError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def send(self, parts: Parts) -> None:
        """Send one Ethernet frame.

        Raises:
            ToolError: it was not taken: nobody listens, the interface is down, or the queue stays
                full.
        """
        give_up_ns = 0
        while True:
            try:
                self._socket.sendmsg((self._before, *parts))
            except ConnectionRefusedError as error:  # told of an earlier frame, which is lost
                raise ToolError(f"{self._place}: nobody listens there") from error
            except OSError as error:
                now_ns = self._clock.monotonic_ns()
                give_up_ns = give_up_ns or now_ns + BLOCKED_NS
                if error.errno != errno.ENOBUFS or now_ns > give_up_ns:
                    why = f"frame not sent: {error.strerror}"
                    raise ToolError(f"{self._place}: {why}") from error
            else:
                return

    def finish(self) -> None:
        """Return when nothing is known to be wrong with the last frame.

        Raises:
            ToolError: nobody listens.
        """
        wrong = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if wrong:
            why = "nobody listens there" if wrong == errno.ECONNREFUSED else os.strerror(wrong)
            raise ToolError(f"{self._place}: {why}")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Return the sender itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self.close()


class PacketSender(_SocketSender):
    """Sends frames out of an interface, as they are."""

    def __init__(self, interface: str, clock: Clock) -> None:
        """Open it; check it with `probetest.taps.replay_plan.check_target` before.

        Raises:
            ToolError: not permitted, or the interface has gone.
        """
        try:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # 0: receives nothing
        except PermissionError as error:
            why = "sending frames needs CAP_NET_RAW: run as root, or use --udp, which needs none"
            raise ToolError(why) from error
        try:
            opened.bind((interface, 0))
        except OSError as error:
            opened.close()
            raise ToolError(f"{interface}: cannot send there: {error.strerror}") from error
        super().__init__(opened, interface, b"", clock)


class VxlanSender(_SocketSender):
    """Sends frames wrapped in VXLAN to a UDP tap."""

    def __init__(
        self, endpoint: Endpoint, clock: Clock, *, vni: int = 0, allow_remote: bool = False
    ) -> None:
        """Open a socket to *endpoint*.

        Raises:
            InputError: not a loopback address, without *allow_remote*; or no such *vni*.
            ToolError: the address cannot be reached.
        """
        place = str(endpoint)
        address = ipaddress.ip_address(endpoint.address)
        if not (address.is_loopback or allow_remote):
            fix = "use 127.0.0.1, or --allow-remote if that network is yours to flood"
            raise InputError("not a loopback address", field="--udp", value=place, fix=fix)
        before = header(vni)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.connect((endpoint.address, endpoint.port))
        except OSError as error:
            opened.close()
            raise ToolError(f"{place}: cannot send there: {error.strerror}") from error
        super().__init__(opened, place, before, clock)


def check_datagrams(plan: ReplayPlan) -> None:
    """Refuse a plan with a frame that no UDP datagram can carry.

    Raises:
        InputError: there is one; names it.
    """
    plan.check_size(MAX_FRAME_BYTES - 18)  # which leaves room for the header, and for a VLAN tag


def _nothing(sent: int, planned: int) -> None:
    """Tell nobody."""


def replay(
    plan: ReplayPlan,
    sender: Sender,
    clock: Clock,
    waiter: Waiter,
    on_progress: OnProgress = _nothing,
) -> ReplayReport:
    """Send every frame of *plan* when it is due, and return what was sent and how late.

    It ends early when *waiter* was told to stop; the report then is not `complete`.

    Raises:
        ToolError: a frame could not be sent.
    """
    told_ns = clock.monotonic_ns()
    pacer = Pacer(plan, told_ns + LEAD_NS)
    while (due_ns := pacer.next_ns()) is not None:
        since_ns, room_ns = clock.monotonic_ns() - told_ns, due_ns - clock.monotonic_ns()
        if since_ns > (TELL_NS if room_ns > ROOM_NS else TELL_ANYWAY_NS):
            on_progress(pacer.sent, plan.packets)
            told_ns = clock.monotonic_ns()
        now_ns = waiter.until(due_ns)
        if now_ns is None:
            break
        parts = plan.parts(pacer.frame)
        sender.send(parts)
        pacer.note_sent(now_ns, len(parts[0]) + len(parts[1]))
    sender.finish()
    on_progress(pacer.sent, plan.packets)
    return pacer.report()
