"""Which UDP datagrams can be SIP, told from their first bytes, many at once.

Laws: no message is passed over, on whatever port; what cannot be read but is SIP for certain (it is
compressed or encrypted, on a port that is SIP's) is counted.

Sources: RFC 3261 sections 7.1 and 25.1 (a message begins with a token), RFC 3320 section 7 and RFC
5049 section 5 (SigComp begins with five ones and shares SIP's port), RFC 6347 section 4.1 (DTLS).
"""

from collections import Counter
from string import ascii_letters, digits

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Ints, at_every_byte
from harness.packets.frame import UDP, Datagrams
from harness.packets.headers import Bools

MIN_BYTES = 20  # of a start line with the shortest URI
SIP_PORTS = (5060, 5061)
_SIGCOMP = 0xF8
_DTLS = range(20, 24)  # content types: change cipher spec, alert, handshake, application data
_DTLS_MAJOR = 0xFE
_SEEN_BYTES = 4  # of a datagram


def _table(characters: str) -> Bools:
    """Return for each byte whether it is one of *characters*."""
    table = np.zeros(256, np.bool_)
    table[list(characters.encode())] = True
    return table


_BEGINS = _table(ascii_letters + digits + "-.!%*_+`'~" + "\r\n")
_OPAQUE = np.zeros(256, np.bool_)  # first bytes of what is compressed or encrypted
_OPAQUE[[*range(_SIGCOMP, 256), *_DTLS]] = True
_MATTERS = _BEGINS | _OPAQUE
_FOLLOWS = _BEGINS | _table(" \t/")  # after a method of one or two letters, or "SIP"


def udp_rows(datagrams: Datagrams, opaque: Counter[str] | None = None) -> Ints:
    """Return the fresh UDP rows that may hold SIP, in order of time; count in *opaque* the others.

    They begin with the letters of a token; what they are is seen when they are read.
    """
    long = datagrams.payload_bytes >= MIN_BYTES
    long |= (datagrams.payload_bytes >= _SEEN_BYTES) & ~datagrams.complete  # cut short of it
    rows = np.flatnonzero((datagrams.protocol == UDP) & datagrams.fresh & long)
    first = datagrams.data[datagrams.payload_offset[rows]]
    some = np.flatnonzero(_MATTERS[first])  # few: nearly all is RTP
    rows, first = rows[some], first[some]
    if opaque is not None:
        _count_opaque(datagrams, rows[_OPAQUE[first]], opaque)
    rows = rows[_BEGINS[first]]
    words = at_every_byte(datagrams.data, f"V{_SEEN_BYTES}")[datagrams.payload_offset[rows]]
    letters = np.frombuffer(words.tobytes(), np.uint8).reshape(-1, _SEEN_BYTES)
    rows = rows[_FOLLOWS[letters].all(axis=1)]
    times = datagrams.at_ns[rows]
    if (times[1:] >= times[:-1]).all():
        return rows
    return rows[np.argsort(times, kind="stable")]


def _count_opaque(datagrams: Datagrams, rows: Ints, opaque: Counter[str]) -> None:
    """Count the datagrams on SIP's ports that are compressed or encrypted."""
    on_port = np.isin(datagrams.source_port[rows], SIP_PORTS)
    on_port |= np.isin(datagrams.destination_port[rows], SIP_PORTS)
    rows = rows[on_port]
    starts = datagrams.payload_offset[rows]
    first: npt.NDArray[np.uint8] = datagrams.data[starts]
    encrypted = np.isin(first, _DTLS) & (datagrams.data[starts + 1] == _DTLS_MAJOR)
    for name, mask in (("SigComp", first >= _SIGCOMP), ("DTLS", encrypted)):
        if found := int(mask.sum()):
            opaque[name] += found
