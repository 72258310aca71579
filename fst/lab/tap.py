"""The edge that records what the lab's own sockets send, where a real tap is not allowed.

Every packet is written once, when it is sent, by the one thread that sends; so the order is the
wire's order. What another program sends is told of on receipt.
"""

from collections.abc import Callable
from pathlib import Path

from harness.packets.capture_file import CaptureWriter
from harness.packets.frame import Endpoint, encode_tcp, encode_udp

PSH_ACK = 0x18

OnPacket = Callable[[bytes], None]
OnDatagram = Callable[[int, Endpoint, Endpoint, bytes], None]  # wall time, source, to, payload


class Tap:
    """Writes one capture after another; between two nothing is kept."""

    def __init__(self) -> None:
        """Start with no capture open."""
        self._writer: CaptureWriter | None = None
        self._sequence: dict[tuple[Endpoint, Endpoint], int] = {}
        self._last_ns = 0
        self.mirror: OnPacket | None = None  # a span port: gets each IP packet too
        self.own: set[Endpoint] = set()  # SIP sockets of the lab, which tell of what they send
        self.watch: OnDatagram | None = None  # a sensor: sees each datagram as it goes by

    def start(self, path: Path) -> None:
        """Open a new capture at *path*."""
        self._writer = CaptureWriter(path)
        self._sequence = {}

    def stop(self) -> int:
        """Close the capture, and return how many packets it holds."""
        if self._writer is None:
            return 0
        packets = self._writer.packets
        self._writer.close()
        self._writer = None
        return packets

    def sent(
        self, at_ns: int, source: Endpoint, to: Endpoint, payload: bytes, tcp: bool = False
    ) -> None:
        """Record one datagram, or one write to a TCP connection."""
        if self.watch is not None and not tcp:  # also while another recorder does the recording
            self.watch(at_ns, source, to, payload)
        if self._writer is None:
            return
        self._last_ns = max(at_ns, self._last_ns + 1)  # a clock step must not reorder packets
        if tcp:
            sequence = self._sequence.get((source, to), 1)
            acknowledgement = self._sequence.get((to, source), 1)
            self._sequence[source, to] = sequence + len(payload)
            frame = encode_tcp(
                source,
                to,
                payload,
                sequence=sequence,
                acknowledgement=acknowledgement,
                flags=PSH_ACK,
            )
        else:
            frame = encode_udp(source, to, payload)
        self._writer.write(self._last_ns, frame)
        if self.mirror is not None:
            self.mirror(frame)
