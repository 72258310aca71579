"""The edge that plays two span ports: each packet of the lab, mirrored to every probe.

Frames travel in VXLAN over UDP on loopback, as mirrored traffic does in clouds; the VXLAN network
is the number of the span port (what goes to the SBC on the first, all else on the second).
"""

import socket
from collections.abc import Sequence

from harness.errors import ToolError
from harness.packets.frame import Endpoint
from probetest.taps.vxlan import encapsulate

FIRST_PORT, SECOND_PORT = 6, 7  # as the plan numbers them
_MAC_TO, _MAC_FROM = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
_IPV6 = 6


class Span:
    """Mirrors IP packets to *probes*; `mirror` is what a tap calls."""

    def __init__(self, probes: Sequence[Endpoint], sbc_address: str) -> None:
        """Open the sending socket.

        Raises:
            ToolError: the machine gives no socket.
        """
        self._probes = tuple(probes)
        self._sbc = socket.inet_pton(
            socket.AF_INET6 if ":" in sbc_address else socket.AF_INET, sbc_address
        )
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            raise ToolError(f"span ports: no socket: {error.strerror}") from error

    def mirror(self, packet: bytes) -> None:
        """Send *packet* in an Ethernet frame to every probe."""
        six = packet[0] >> 4 == _IPV6
        to = packet[24:40] if six else packet[16:20]
        frame = _MAC_TO + _MAC_FROM + (b"\x86\xdd" if six else b"\x08\x00") + packet
        payload = encapsulate(frame, FIRST_PORT if to == self._sbc else SECOND_PORT)
        for probe in self._probes:
            self._socket.sendto(payload, (probe.address, probe.port))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
