"""The edge of the simulated SBC: one UDP socket, TCP when asked for, and the loop's timers.

`on_datagram` is told of every message in the order of sending, with the wall time: it is the run's
own tap where no privilege for a real one is there.
"""

import asyncio
from collections.abc import Callable

from enumtest.sbc.health import Held
from enumtest.sbc.sbc import CallDecided, Outgoing, Sbc
from harness.clock import Clock
from harness.errors import ToolError
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint

TCP_LIMIT_S = 5.0  # for one exchange over TCP; the SBC's own timeout is usually shorter
LENGTH_BYTES = 2  # before each message over TCP (RFC 1035 section 4.2.2)

OnDatagram = Callable[[int, Endpoint, Endpoint, bytes, bool], None]


class SbcClient(asyncio.DatagramProtocol):
    """Runs *sbc* on the address *local* (port 0: any)."""

    def __init__(
        self, sbc: Sbc, local: Endpoint, clock: Clock, on_datagram: OnDatagram | None = None
    ) -> None:
        """Keep the parts; `start` opens the socket."""
        self._sbc, self.local, self._clock, self._on_datagram = sbc, local, clock, on_datagram
        self._waiting: dict[int, asyncio.Future[CallDecided]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._tcp: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the socket.

        Raises:
            ToolError: the address is in use or not of this machine.
        """
        loop = asyncio.get_running_loop()
        place = (self.local.address, self.local.port)
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=place)
        except OSError as error:
            raise ToolError(f"SBC address {self.local}: {error.strerror}") from error
        self._transport = transport
        host, port = transport.get_extra_info("sockname")[:2]
        self.local = Endpoint(host, port)

    async def stop(self) -> None:
        """Close the socket and end what still runs; calls that wait are cancelled."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tcp:
            task.cancel()
        await asyncio.gather(*self._tcp, return_exceptions=True)
        for waiting in self._waiting.values():
            waiting.cancel()
        if self._transport is not None:
            self._transport.close()

    def held(self) -> dict[str, Held]:
        """Return the servers that the SBC leaves alone now."""
        return self._sbc.held(self._clock.monotonic_ns())

    async def call(self, number: PhoneNumber, source: str) -> CallDecided:
        """Place a call to *number* from URI *source*; return its decision."""
        key = self._sbc.place_call(number, source, self._clock.monotonic_ns())
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[key] = waiting
        self._pump()
        decided: CallDecided = await waiting
        return decided

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Hand what arrived to the SBC."""
        self._sbc.receive(data, Endpoint(addr[0], addr[1]), self._clock.monotonic_ns())
        self._pump()

    def _on_timer(self) -> None:
        self._timer = None
        self._sbc.handle_timer(self._clock.monotonic_ns())
        self._pump()

    def _pump(self) -> None:
        """Send, report and set the timer, until the SBC has nothing more to say."""
        while (outgoing := self._sbc.to_send()) is not None:
            self._send(outgoing)
        while (event := self._sbc.next_event()) is not None:
            waiting = self._waiting.pop(event.call, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(event)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ns = self._sbc.next_timer()
        if due_ns is not None:
            delay_s = max(0, due_ns - self._clock.monotonic_ns()) / 1e9
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _send(self, outgoing: Outgoing) -> None:
        if outgoing.tcp:
            task = asyncio.get_running_loop().create_task(self._exchange(outgoing))
            self._tcp.add(task)
            task.add_done_callback(self._tcp.discard)
            return
        if self._transport is not None:
            server = outgoing.server
            self._note(self.local, server, outgoing.payload, tcp=False)
            self._transport.sendto(outgoing.payload, (server.address, server.port))

    async def _exchange(self, outgoing: Outgoing) -> None:
        """Send one query over TCP and take one answer; a failure is silence to the SBC."""
        server = outgoing.server
        try:
            async with asyncio.timeout(TCP_LIMIT_S):
                local = (self.local.address, 0)
                reader, writer = await asyncio.open_connection(
                    server.address, server.port, local_addr=local
                )
                try:
                    message = len(outgoing.payload).to_bytes(LENGTH_BYTES) + outgoing.payload
                    host, port = writer.get_extra_info("sockname")[:2]
                    self._note(Endpoint(host, port), server, message, tcp=True)
                    writer.write(message)
                    size = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
                    answer = await reader.readexactly(size)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        self._sbc.receive(answer, server, self._clock.monotonic_ns())
        self._pump()

    def _note(self, source: Endpoint, to: Endpoint, payload: bytes, *, tcp: bool) -> None:
        if self._on_datagram is not None:
            self._on_datagram(self._clock.wall_ns(), source, to, payload, tcp)
