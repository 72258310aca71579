"""The edge that records what arrives: mirrored frames in UDP datagrams, or those of an interface.

Laws: a frame is written once, in the order of arrival, with the kernel's time of it; what was lost
is counted; `stop` returns when all that had arrived is in the file, or says that it is not.
"""

import asyncio
import secrets
import socket
import struct
from collections import Counter
from pathlib import Path

from harness.errors import HarnessError, ToolError, WireError
from harness.packets.capture import LINKTYPE_ETHERNET
from harness.packets.capture_file import CaptureWriter
from harness.packets.frame import Endpoint
from probetest.taps.vxlan import decapsulate

RECEIVE_BUFFER_BYTES = 64 << 20  # asked for; Linux gives less to all but root
MAX_FRAME_BYTES = 1 << 18  # more than an interface can join to one frame
BATCH = 512  # frames at a time, so that others get their turn
MARKER_S, MARKER_TRIES = 3.0, 3  # an end marker comes back at once; it too could be dropped

_SO_RCVBUFFORCE, _SO_TIMESTAMPNS, _SO_RXQ_OVFL = 33, 35, 40  # asm-generic/socket.h
_SOL_PACKET, _ADD_MEMBERSHIP, _STATISTICS, _AUXDATA = 263, 1, 6, 8  # linux/if_packet.h
_ORIGDEV, _IGNORE_OUTGOING, _MR_PROMISC = 9, 23, 1
_ETH_P_ALL, _VLAN_TYPE = 3, 0x8100
_VLAN_VALID, _TPID_VALID = 0x10, 0x40
_AUX = struct.Struct("=IIIHHHH")  # tpacket_auxdata: status, two lengths, two offsets, TCI, TPID
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = 256

Ancillary = dict[tuple[int, int], bytes]  # what the kernel says of a frame, by level and type


class _Tap:
    """A socket whose frames are written to one capture after another."""

    def __init__(self, captured_by: str, receive_buffer_bytes: int) -> None:
        self.captured_by = captured_by
        self.packets = 0  # written to the capture
        self.drops = 0  # by this socket's buffer, as far as is known
        self._asked_bytes = receive_buffer_bytes
        self._buffer = memoryview(bytearray(MAX_FRAME_BYTES))
        self._socket: socket.socket | None = None
        self._writer: CaptureWriter | None = None
        self._failure: HarnessError | None = None
        self._last_ns = 0
        self._goal: int | None = None
        self._reached = asyncio.Event()

    async def start(self, path: Path) -> None:
        """Record to a new file at *path*; on return, what arrives is recorded.

        Raises:
            ToolError: no permission, no such place, the file exists, or it records already.
        """
        if self._socket is not None:
            raise ToolError(f"{self.captured_by}: records already")
        self.packets, self.drops, self._last_ns, self._failure = 0, 0, 0, None
        try:
            opened = self._open()
        except OSError as error:
            raise ToolError(f"{self.captured_by}: cannot listen: {error.strerror}") from error
        opened.setblocking(False)
        try:
            self._writer = CaptureWriter(path, linktype=LINKTYPE_ETHERNET)
        except ToolError:
            opened.close()
            raise
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened.fileno(), self._read, BATCH)

    async def arrived(self, packets: int | None) -> None:
        """Return when so many frames are written (None: never), or when something went wrong.

        What went wrong is told by `stop`.
        """
        self._goal = packets
        self._reached.clear()
        if self._failure is None and (packets is None or self.packets < packets):
            await self._reached.wait()

    async def stop(self) -> tuple[int, int | None]:
        """Return packets and drops, once all that had arrived is in the file.

        Raises:
            ToolError: not all of it is: the disk is full, the interface went down.
        """
        opened, writer = self._socket, self._writer
        if opened is None or writer is None:
            raise ToolError(f"{self.captured_by}: no capture is running")
        try:
            self._read(None)
            if self._failure is None:
                await self._finish(opened)
        finally:
            asyncio.get_running_loop().remove_reader(opened.fileno())
            opened.close()
            self._socket = self._writer = None
            writer.close()
        if self._failure is not None:
            raise self._failure
        return self.packets, self.drops

    def _open(self) -> socket.socket:
        raise NotImplementedError

    async def _finish(self, opened: socket.socket) -> None:
        """See to it that nothing that had arrived is left, and count what was lost."""
        raise NotImplementedError

    def _frame(self, taken: bytes, said: Ancillary, sender: object) -> bytes | None:
        """Return the frame in what was received; None: there is none."""
        raise NotImplementedError

    def _prepare(self, opened: socket.socket) -> None:
        """Have a large buffer, and the kernel's time of each frame."""
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self._asked_bytes)
        except PermissionError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._asked_bytes)
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def _read(self, most: int | None) -> None:
        """Write what has arrived, up to *most* frames; keep what goes wrong for `stop`."""
        opened, count = self._socket, 0
        while opened is not None and self._failure is None and (most is None or count < most):
            try:
                size, said, _, sender = opened.recvmsg_into((self._buffer,), _ANCILLARY_BYTES)
                self._take(bytes(self._buffer[:size]), {(a, b): c for a, b, c in said}, sender)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(ToolError(f"{self.captured_by}: {error.strerror}"))
            except HarnessError as error:
                self._fail(error)
            count += 1

    def _fail(self, why: HarnessError) -> None:
        self._failure = why
        self._reached.set()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def _take(self, taken: bytes, said: Ancillary, sender: object) -> None:
        """Write the frame in what was received."""
        frame = self._frame(taken, said, sender)
        if frame is None or self._writer is None:
            return
        time_of_it = said.get((socket.SOL_SOCKET, _SO_TIMESTAMPNS))
        if time_of_it is None:
            raise ToolError(f"{self.captured_by}: the kernel gave no time of a frame")
        seconds, rest_ns = _TIMESPEC.unpack(time_of_it)
        # The first frames may get the time of reading them, which is later than that of the next.
        self._last_ns = max(self._last_ns, seconds * 1_000_000_000 + rest_ns)
        self._writer.write(self._last_ns, frame)
        self.packets += 1
        if self.packets == self._goal:
            self._reached.set()


class UdpTap(_Tap):
    """Receives mirrored frames as VXLAN datagrams; needs no privilege."""

    def __init__(
        self, endpoint: Endpoint, *, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES
    ) -> None:
        """Keep where to listen; port 0 takes a free one, which `endpoint` shows after `start`."""
        super().__init__(f"udp tap {endpoint}", receive_buffer_bytes)
        self.endpoint = endpoint
        self.malformed = 0  # datagrams that carry no frame
        self.first_malformed = ""  # why not
        self._marker = b""
        self._marker_seen = asyncio.Event()

    def _open(self) -> socket.socket:
        self.malformed, self.first_malformed, self._marker = 0, "", b""
        family = socket.AF_INET6 if ":" in self.endpoint.address else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._prepare(opened)
            opened.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            opened.bind((self.endpoint.address, self.endpoint.port))
        except OSError:
            opened.close()
            raise
        self.endpoint = Endpoint(self.endpoint.address, opened.getsockname()[1])
        self.captured_by = f"udp tap {self.endpoint}"
        return opened

    async def _finish(self, opened: socket.socket) -> None:
        """Send a datagram to oneself: with it come all before it, and the count of drops."""
        self._marker = b"end of capture " + secrets.token_bytes(16)
        self._marker_seen.clear()
        for _ in range(MARKER_TRIES):
            opened.sendto(self._marker, self._own_address())
            try:
                async with asyncio.timeout(MARKER_S):
                    await self._marker_seen.wait()
            except TimeoutError:
                continue
            return
        why = "its own datagram did not arrive: what came before it may be lost"
        raise ToolError(f"{self.captured_by}: {why}")

    def _own_address(self) -> tuple[str, int]:
        anyone = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
        return anyone.get(self.endpoint.address, self.endpoint.address), self.endpoint.port

    def _frame(self, taken: bytes, said: Ancillary, sender: object) -> bytes | None:  # noqa: ARG002
        lost = said.get((socket.SOL_SOCKET, _SO_RXQ_OVFL))
        if lost is not None:  # of this socket, up to this datagram
            self.drops = int.from_bytes(lost, "little" if struct.pack("=H", 1)[0] else "big")
        if self._marker and taken == self._marker:
            self._marker_seen.set()
            return None
        try:
            return decapsulate(taken).frame
        except WireError as error:
            self.malformed += 1
            self.first_malformed = self.first_malformed or str(error)
            return None


class PacketTap(_Tap):
    """Receives all frames that arrive on an interface; needs CAP_NET_RAW.

    On a bond, `by_port` tells how many came in on which port.
    """

    def __init__(self, interface: str, *, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        """Keep which interface."""
        super().__init__(f"packet tap {interface}", receive_buffer_bytes)
        self.interface = interface
        self.by_port: Counter[str] = Counter()

    def _open(self) -> socket.socket:
        self.by_port.clear()
        try:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # 0: nothing before bind
        except PermissionError as error:
            why = "recording an interface needs CAP_NET_RAW: run as root, or use a udp tap"
            raise ToolError(why) from error
        try:
            self._prepare(opened)
            opened.setsockopt(_SOL_PACKET, _AUXDATA, 1)
            opened.setsockopt(_SOL_PACKET, _ORIGDEV, 1)
            opened.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            index = socket.if_nametoindex(self.interface)
            everything = struct.pack("=iHH8s", index, _MR_PROMISC, 0, b"")
            opened.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, everything)
            opened.bind((self.interface, _ETH_P_ALL))
        except OSError:
            opened.close()
            raise
        return opened

    async def _finish(self, opened: socket.socket) -> None:
        """Count what was lost: the kernel's count of this socket, which starts at 0 with it."""
        _, self.drops = struct.unpack("=II", opened.getsockopt(_SOL_PACKET, _STATISTICS, 8))

    def _frame(self, taken: bytes, said: Ancillary, sender: object) -> bytes | None:
        if isinstance(sender, tuple):
            self.by_port[sender[0]] += 1
        told = said.get((_SOL_PACKET, _AUXDATA))
        if told is None:
            return taken
        status, *_, tag, protocol = _AUX.unpack(told)
        if not status & _VLAN_VALID:
            return taken
        # Linux takes the outer tag out of the frame; on the wire it stood after the addresses.
        kind = protocol if status & _TPID_VALID else _VLAN_TYPE
        return taken[:12] + struct.pack(">HH", kind, tag) + taken[12:]
