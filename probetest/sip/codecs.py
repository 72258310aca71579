"""What RTP payload types mean: those that RFC 3551 fixes, and those that SDP names.

Sources: RFC 3551 section 6 (static payload types).
"""

from dataclasses import dataclass
from functools import lru_cache

DEFAULT_CLOCK_HZ = 8000  # of telephony, where nothing says another
EVENT = "telephone-event"
MAX_TYPE = 127

_STATIC = {  # RFC 3551 section 6, tables 4 and 5
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    5: ("DVI4", 8000),
    6: ("DVI4", 16_000),
    7: ("LPC", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),  # it samples at 16 kHz; its RTP clock is 8000 all the same
    10: ("L16", 44_100),
    11: ("L16", 44_100),
    12: ("QCELP", 8000),
    13: ("CN", 8000),
    14: ("MPA", 90_000),
    15: ("G728", 8000),
    16: ("DVI4", 11_025),
    17: ("DVI4", 22_050),
    18: ("G729", 8000),
    19: ("CN", 8000),  # reserved; old comfort noise
    25: ("CelB", 90_000),
    26: ("JPEG", 90_000),
    28: ("nv", 90_000),
    31: ("H261", 90_000),
    32: ("MPV", 90_000),
    33: ("MP2T", 90_000),
    34: ("H263", 90_000),
}


@dataclass(frozen=True, slots=True)
class Codec:
    """What one payload type means."""

    name: str
    clock_hz: int
    rule: str  # how it is known
    parameters: str = ""  # as a=fmtp gives them


@lru_cache(256)
def codec(payload_type: int) -> Codec:
    """Return what *payload_type* means where nobody announced it.

    >>> codec(8).name, codec(9).clock_hz, codec(101).rule
    ('PCMA', 8000, 'assumed')
    """
    name, clock_hz = _STATIC.get(payload_type, ("", 0))
    if name:
        return Codec(name, clock_hz, "RFC 3551")
    return Codec(f"type {payload_type}", DEFAULT_CLOCK_HZ, "assumed")
