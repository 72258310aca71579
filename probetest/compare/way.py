"""How figures are made of a capture: ours, or one of the ways in which others count.

A `Way` is everything that a figure depends on besides the packets. That of this project has only
defaults; each known bug of a probe changes one thing (`probetest.compare.hypotheses`), so two bugs
at once are one change after the other.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from harness.packets.capture import LINKTYPE_ETHERNET, at_every_byte
from harness.packets.frame import TCP, Datagrams
from harness.packets.headers import Bools
from probetest.calls.waterfall import Step

_TAGS = (0x8100, 0x88A8, 0x9100)  # ethertypes of VLAN tags (IEEE 802.1Q, and before it)
_TYPE_AT, _SECOND_AT = 12, 16  # in an Ethernet frame: its type, and the one behind a tag
_TWO_TAGS_BYTES = 18


class Once(StrEnum):
    """What is counted once only, however often it is seen."""

    NOTHING = ""
    PAYLOAD = "payload"
    CALL_ID = "call-id"  # of INVITEs
    DIALOG = "dialog"  # a Call-ID of any request that opens something


class Blind(StrEnum):
    """What is not read."""

    TCP = "tcp"
    FRAGMENTS = "fragments"
    SECOND_TAG = "second-tag"
    TUNNELS = "tunnels"


@dataclass(frozen=True, slots=True)
class View:
    """Which packets are read at all."""

    blind: frozenset[Blind] = frozenset()
    interface: int | None = None  # the only one; None: all

    def rows(self, datagrams: Datagrams) -> Bools:
        """Return a mask of those that are read."""
        seen = np.ones(len(datagrams), np.bool_)
        if self.interface is not None:
            seen &= datagrams.interface == self.interface
        for one in self.blind:
            seen &= ~hidden(one, datagrams)
        return seen


ALL = View()


@dataclass(frozen=True, slots=True)
class Way:
    """How calls and streams are counted."""

    view: View = ALL
    steps: frozenset[Step] = frozenset({Step.CALL})  # INVITEs that are counted as a call
    once: Once = Once.NOTHING
    answered_only: bool = False
    by_from: bool = False  # the source, whatever else names one
    by_to: bool | None = None  # the destination; None: as the site says
    as_sent: bool = False  # numbers
    shift_ns: int = 0  # added to wall times: a clock or zone that is taken for another
    whole_bucket: bool = False  # averages divide by its whole length
    with_copies: bool = False  # of RTP
    wireshark: bool = False  # its convention for RTP


OURS = Way()


def hidden(what: Blind, datagrams: Datagrams) -> Bools:
    """Return a mask of the rows that need what is not read."""
    match what:
        case Blind.TCP:
            found: Bools = datagrams.protocol == TCP
        case Blind.FRAGMENTS:  # what was put together lies behind the file's own bytes
            found = datagrams.payload_offset >= datagrams.capture.data.size
        case Blind.TUNNELS:
            found = datagrams.depth > 0
        case Blind.SECOND_TAG:
            found = _two_tags(datagrams)
    return found


def _two_tags(datagrams: Datagrams) -> Bools:
    """Return a mask of the rows whose frame has two VLAN tags or more."""
    capture = datagrams.capture
    found = np.zeros(len(datagrams), np.bool_)
    frames = datagrams.frame - capture.first_frame
    here = (frames >= 0) & (frames < len(capture))  # what earlier frames completed is elsewhere
    here[here] &= (capture.linktype[frames[here]] == LINKTYPE_ETHERNET) & (
        capture.captured_bytes[frames[here]] >= _TWO_TAGS_BYTES
    )
    starts = capture.offset_bytes[frames[here]]
    if len(starts):
        types = at_every_byte(capture.data, ">u2")
        outer, inner = types[starts + _TYPE_AT], types[starts + _SECOND_AT]
        found[here] = np.isin(outer, _TAGS) & np.isin(inner, _TAGS)
    return found
