"""The edge of asking one ENUM server one question: UDP, then TCP when the answer is truncated."""

import os
import socket
from dataclasses import dataclass, field, replace

from enumtest.dns.message import Query, parse_answer, parse_query
from enumtest.naptr.explain import Outcome, Reply
from harness.clock import Clock
from harness.errors import ToolError, WireError
from harness.packets.frame import Endpoint

LENGTH_BYTES = 2  # before each message over TCP (RFC 1035 section 4.2.2)
MAX_UDP_BYTES = 65_535
NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class _Asking:
    """One question until its answer or its deadline."""

    server: Endpoint
    data: bytes
    query: Query
    clock: Clock
    deadline_ns: int
    ignored: list[bytes] = field(default_factory=list)

    def left_s(self) -> float:
        """Return the time that is left; none is a TimeoutError, as sockets raise it."""
        left_ns = self.deadline_ns - self.clock.monotonic_ns()
        if left_ns <= 0:
            raise TimeoutError
        return left_ns / NS_PER_S

    def fits(self, payload: bytes) -> bool:
        """Say whether *payload* answers the question; if not, it is kept as ignored."""
        try:
            answer = parse_answer(payload)
        except WireError:
            answer = None
        # A server that could not read the question repeats none (RFC 1035 section 4.1.1, FORMERR).
        if answer is not None:
            unasked = not answer.qname and answer.id == self.query.id
            if unasked or answer.is_for(self.query):
                return True
        self.ignored.append(payload)
        return False

    def over_udp(self) -> bytes:
        """Return the answer over UDP."""
        family = socket.AF_INET6 if ":" in self.server.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.connect((self.server.address, self.server.port))
            udp.settimeout(self.left_s())
            udp.send(self.data)
            while True:
                udp.settimeout(self.left_s())
                payload = udp.recv(MAX_UDP_BYTES)
                if self.fits(payload):
                    return payload

    def over_tcp(self) -> bytes:
        """Return the answer over TCP; a connection that ends early is no answer."""
        place = (self.server.address, self.server.port)
        with socket.create_connection(place, timeout=self.left_s()) as tcp:
            tcp.sendall(len(self.data).to_bytes(LENGTH_BYTES) + self.data)
            while True:
                size = int.from_bytes(self._exactly(tcp, LENGTH_BYTES))
                payload = self._exactly(tcp, size)
                if self.fits(payload):
                    return payload

    def _exactly(self, tcp: socket.socket, count: int) -> bytes:
        found = b""
        while len(found) < count:
            tcp.settimeout(self.left_s())
            more = tcp.recv(count - len(found))
            if not more:
                raise ConnectionResetError
            found += more
        return found


def ask(
    server: Endpoint, data: bytes, clock: Clock, *, timeout_ms: int, tcp: bool = False
) -> Reply:
    """Return what *server* answers to the query *data* within *timeout_ms* in all.

    Raises:
        WireError: *data* is no query.
        ToolError: the server's address cannot be reached from here.
    """
    now_ns = clock.monotonic_ns()
    deadline_ns = now_ns + timeout_ms * 1_000_000
    asking = _Asking(server, data, parse_query(data), clock, deadline_ns)
    reply = _reply(asking, tcp=tcp)
    return replace(reply, elapsed_ns=clock.monotonic_ns() - now_ns, ignored=tuple(asking.ignored))


def _reply(asking: _Asking, *, tcp: bool) -> Reply:
    truncated = b""
    try:
        if not tcp:
            payload = asking.over_udp()
            if not parse_answer(payload).truncated:
                return Reply(Outcome.ANSWERED, payload)
            truncated, tcp = payload, True
        payload = asking.over_tcp()
    except TimeoutError:
        return Reply(Outcome.SILENT, tcp=tcp, truncated=truncated)
    except (ConnectionRefusedError, ConnectionResetError):
        return Reply(Outcome.REFUSED, tcp=tcp, truncated=truncated)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise ToolError(f"cannot ask {asking.server}: {why}") from error
    return Reply(Outcome.ANSWERED, payload, tcp=True, truncated=truncated)
