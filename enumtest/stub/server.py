"""The edge of the stub ENUM server: UDP and TCP sockets for several named servers in one process.

Bytes go to `enumtest.stub.answer` and its sends go out; nothing here knows what a query is.
`on_datagram` is told of every message in the order of sending, with the wall time: it is the run's
own tap where no privilege for a real one is there. A message over TCP is told with its two length
octets.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Self

from enumtest.dns.source_name import NO_NAMING, SourceNaming
from enumtest.stub.answer import AnswerNote, Send, ServerState, Transport, answer
from enumtest.stub.control import (
    Install,
    ServerStatus,
    SetFaults,
    Status,
    Uninstall,
    encode_done,
    encode_error,
    encode_status,
    parse_request,
)
from enumtest.stub.faults import Fault, PortClosed
from enumtest.stub.policy import Policy
from harness.clock import Clock
from harness.errors import HarnessError, InputError, ToolError
from harness.number import ENUM_APEX
from harness.packets.frame import Endpoint

TCP_IDLE_S = 5.0  # RFC 7766 section 6.2.3 asks for seconds; a test ends sooner than a real server
MAX_CONNECTIONS = 100  # of one server
LENGTH_BYTES = 2  # before each message over TCP (RFC 1035 section 4.2.2)
FREE_PORT_TRIES = 20  # a free UDP port may be taken for TCP
NO_FAULTS: Mapping[str, tuple[Fault, ...]] = MappingProxyType({})

OnDatagram = Callable[[int, Endpoint, Endpoint, bytes, bool], None]
OnNote = Callable[[str, Endpoint, Transport, AnswerNote], None]


class EnumServers:
    """The servers *listen* names, with one *policy*; `async with` starts and stops them."""

    def __init__(  # noqa: PLR0913 - a server has these parts
        self,
        listen: Mapping[str, Endpoint],
        policy: Policy,
        clock: Clock,
        *,
        apex: str = ENUM_APEX,
        naming: SourceNaming = NO_NAMING,
        faults: Mapping[str, tuple[Fault, ...]] = NO_FAULTS,
        on_datagram: OnDatagram | None = None,
        on_note: OnNote | None = None,
    ) -> None:
        """Keep the parts; `start` opens the sockets. Port 0 takes a free one.

        *naming* says which names tell the caller.

        Raises:
            InputError: *faults* names a server that is not there.
        """
        self.policy, self.apex, self.clock = policy, apex, clock
        self.naming = naming
        self.on_datagram, self.on_note = on_datagram, on_note
        self._servers = {name: _Server(self, name, at) for name, at in listen.items()}
        for name, of_server in faults.items():
            self._named(name).faults = of_server

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Return where each server listens."""
        return {name: server.endpoint for name, server in self._servers.items()}

    async def start(self) -> None:
        """Open all sockets, or none.

        Raises:
            ToolError: an address is in use or not of this machine.
        """
        try:
            for server in self._servers.values():
                await server.match_faults()
        except ToolError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close all sockets and end what still runs; delayed answers are not sent."""
        for server in self._servers.values():
            await server.close()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    def set_policy(self, policy: Policy) -> None:
        """Rule by *policy* from the next query on."""
        self.policy = policy

    async def set_faults(self, name: str, faults: tuple[Fault, ...]) -> None:
        """Give server *name* these *faults*, and count its queries from 1 again.

        Raises:
            InputError: no server has that name.
            ToolError: the port cannot be opened again.
        """
        server = self._named(name)
        server.faults, server.queries = faults, 0
        server.carried.clear()
        await server.match_faults()

    def statuses(self) -> tuple[ServerStatus, ...]:
        """Return each server as it is now."""
        return tuple(server.status() for server in self._servers.values())

    def _named(self, name: str) -> "_Server":
        """Return the server called *name*."""
        if name not in self._servers:
            fix = f"use one of {', '.join(self._servers)}"
            raise InputError("no such server", field="server", value=name, fix=fix)
        return self._servers[name]

    async def control(self, line: bytes) -> bytes:
        """Carry out the request on *line*, and return the reply line."""
        try:
            match parse_request(line):
                case SetFaults(faults):
                    for name in faults:
                        self._named(name)
                    for name, of_server in faults.items():
                        await self.set_faults(name, of_server)
                case Install(rules):
                    self.set_policy(self.policy.with_rules(rules))
                case Uninstall(names):
                    self.set_policy(self.policy.without(names))
                case Status():
                    return encode_status(self.policy, self.statuses())
        except HarnessError as error:
            return encode_error(error)
        return encode_done()


class _Server(asyncio.DatagramProtocol):
    """One named server: its sockets, its faults and what is still to be sent."""

    def __init__(self, owner: EnumServers, name: str, endpoint: Endpoint) -> None:
        self.endpoint, self.queries = endpoint, 0
        self.carried = Counter[str]()
        self.faults: tuple[Fault, ...] = ()
        self._owner, self._name = owner, name
        self._udp: asyncio.DatagramTransport | None = None
        self._udp_lost: asyncio.Future[None] | None = None
        self._tcp: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    def status(self) -> ServerStatus:
        carried = tuple(sorted(self.carried.items()))
        return ServerStatus(self._name, str(self.endpoint), self.queries, self.faults, carried)

    async def match_faults(self) -> None:
        """Have the sockets open or closed, as the faults say."""
        if any(isinstance(fault, PortClosed) for fault in self.faults):
            await self.close()
        elif self._tcp is None:
            await self._open()

    async def _open(self) -> None:
        tries = 1 if self.endpoint.port else FREE_PORT_TRIES
        for left in reversed(range(tries)):
            try:
                await self._bind()
            except OSError as error:
                await self.close()
                if not left:
                    why = os.strerror(error.errno or 0)
                    raise ToolError(f"cannot listen on {self.endpoint}: {why}") from error
            else:
                return

    async def _bind(self) -> None:
        """Bind UDP, then TCP on the same port."""
        loop = asyncio.get_running_loop()
        address = self.endpoint.address
        self._udp_lost = loop.create_future()
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(address, self.endpoint.port)
        )
        port = self._udp.get_extra_info("sockname")[1]
        self._tcp = await asyncio.start_server(self._connected, address, port)
        self.endpoint = Endpoint(address, port)

    async def close(self) -> None:
        """Close the sockets; return once they are closed."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._tcp is not None:
            self._tcp.close()
            self._tcp = None
        # Not by cancelling: in Python 3.11 a cancelled connection is logged as an error.
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._udp is not None and self._udp_lost is not None:
            self._udp.abort()
            self._udp = None
            await self._udp_lost

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note that the UDP socket is closed."""
        if self._udp_lost is not None and not self._udp_lost.done():
            self._udp_lost.set_result(None)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one datagram."""
        client = Endpoint(addr[0], addr[1])
        for send in self._answer(data, client, Transport.UDP):
            self._later(send.delay_ns, partial(self._send, send.payload, client))

    def _send(self, payload: bytes, client: Endpoint) -> None:
        if self._udp is not None:
            self._tell(client, payload, tcp=False)
            self._udp.sendto(payload, (client.address, client.port))

    def _answer(self, data: bytes, client: Endpoint, transport: Transport) -> tuple[Send, ...]:
        owner = self._owner
        self.queries += 1
        state = ServerState(
            owner.policy, owner.apex, owner.naming, faults=self.faults, count=self.queries
        )
        now_ns = owner.clock.monotonic_ns()
        sends, note = answer(data, transport=transport, server=state, now_ns=now_ns)
        if note.carried:
            self.carried[note.carried] += 1
        if owner.on_note is not None:
            owner.on_note(self._name, client, transport, note)
        return sends

    def _tell(self, client: Endpoint, payload: bytes, *, tcp: bool) -> None:
        owner = self._owner
        if owner.on_datagram is not None:
            owner.on_datagram(owner.clock.wall_ns(), self.endpoint, client, payload, tcp)

    def _later(self, delay_ns: int, send: Callable[[], None]) -> None:
        """Do *send* after *delay_ns*, unless the server is closed before."""
        if not delay_ns:
            send()
            return

        def due() -> None:
            self._timers.discard(timer)
            send()

        timer = asyncio.get_running_loop().call_later(delay_ns / 1e9, due)
        self._timers.add(timer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the messages of one TCP connection until it ends or idles."""
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections[task] = writer
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away, or idles: its connection is closed, as below
        finally:
            del self._connections[task]
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Endpoint(*writer.get_extra_info("peername")[:2])

        def send(payload: bytes) -> None:
            message = len(payload).to_bytes(LENGTH_BYTES) + payload
            if not writer.is_closing():
                self._tell(client, message, tcp=True)
                writer.write(message)

        while True:
            async with asyncio.timeout(TCP_IDLE_S):
                size = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
                data = await reader.readexactly(size)
            for sent in self._answer(data, client, Transport.TCP):
                self._later(sent.delay_ns, partial(send, sent.payload))
            async with asyncio.timeout(TCP_IDLE_S):
                await writer.drain()
