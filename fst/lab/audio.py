"""The edge with the lab's audio: RTP from the caller, echoed by the callee with an SSRC of its own.

Silence in G.711, 20 ms a packet: what a probe counts is packets, order and times, not sound.
"""

import asyncio
import struct
import zlib

from fst.lab.tap import Tap
from harness.clock import Clock
from harness.errors import ToolError
from harness.packets.frame import Endpoint

PACKET_S = 0.02  # RFC 3551 section 4.2: the default packetisation
SAMPLES = 160
SILENCE = b"\xff" * SAMPLES  # mu-law zero
VERSION = 0x80  # RFC 3550 section 5.1: version 2, no padding, extension or CSRC
ECHO_LIMIT_S = 2.0  # for the last packet to come back; a lost one is a fault of the lab
_HEADER = struct.Struct("!BBHII")


class Audio(asyncio.DatagramProtocol):
    """One RTP port: talks when told, echoes what it did not ask for."""

    def __init__(self, local: Endpoint, tap: Tap, clock: Clock) -> None:
        """Stand at *local*; `start` opens the socket."""
        self.local, self._tap, self._clock = local, tap, clock
        self._transport: asyncio.DatagramTransport | None = None
        self._last: dict[int, asyncio.Event] = {}  # by SSRC that talks: its last packet came back

    async def start(self) -> None:
        """Open the socket; raises ToolError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        place = (self.local.address, self.local.port)
        try:
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=place)
        except OSError as error:
            raise ToolError(f"audio address {self.local}: {error.strerror}") from error
        self.local = Endpoint(*self._transport.get_extra_info("sockname")[:2])

    def stop(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    async def talk(self, name: str, to: Endpoint, packets: int) -> None:
        """Send *packets* of silence in real time, and wait until the last was echoed."""
        ssrc = zlib.crc32(name.encode())
        done = self._last[ssrc] = asyncio.Event()
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(packets):
            await asyncio.sleep(max(0.0, start + number * PACKET_S - loop.time()))
            marker = 0x80 if number == 0 else 0  # RFC 3551 section 4.1: start of a talkspurt
            last = number == packets - 1
            header = _HEADER.pack(VERSION, marker, number, number * SAMPLES, ssrc)
            self._send(header + (SILENCE[:-1] + b"\x00" if last else SILENCE), to)
        try:
            await asyncio.wait_for(done.wait(), ECHO_LIMIT_S)
        except TimeoutError as error:
            raise ToolError(f"lab: audio from {to} did not come back") from error
        finally:
            del self._last[ssrc]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Echo what somebody else talks; take note of the end of one's own."""
        if len(data) != _HEADER.size + SAMPLES:
            return
        first, kind, number, stamp, ssrc = _HEADER.unpack_from(data)
        own = self._last.get(ssrc ^ 1)
        if own is not None:
            if data[-1] == 0:
                own.set()
            return
        echo = _HEADER.pack(first, kind, number, stamp, ssrc ^ 1) + data[_HEADER.size :]
        self._send(echo, Endpoint(addr[0], addr[1]))

    def _send(self, data: bytes, to: Endpoint) -> None:
        if self._transport is not None:
            self._tap.sent(self._clock.wall_ns(), self.local, to, data)
            self._transport.sendto(data, (to.address, to.port))
