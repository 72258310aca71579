"""RTP headers to the letter, and the arithmetic of RFC 3550 by hand."""

import struct

import numpy as np
import pytest

from harness.packets.frame import Endpoint, decode
from probetest.media.jitter import jitter
from probetest.media.rtp import Packets, Places, is_rtcp, packets, version_2
from tests.sip_wire import CARRIER, SBC, Tape, rtp


def headers(tape: Tape) -> tuple[Packets, Places]:
    """Return the RTP packets of a tape."""
    datagrams, places = decode(tape.capture()), Places()
    rows, _, _ = version_2(datagrams)
    return packets(datagrams, rows, np.zeros(len(rows), np.bool_), places), places


def test_headers_are_read_past_sources_extension_and_padding() -> None:
    """Two contributing sources and an extension of one word; and two bytes of padding."""
    plain = rtp(5, 800, marker=True, payload=b"sound")
    rich = b"\x92" + plain[1:12] + bytes(8) + struct.pack(">HHI", 1, 1, 0) + b"sound"
    padded = b"\xa0" + plain[1:] + b"\0\2"
    cut = b"\x90" + plain[1:12]
    long = b"\x90" + plain[1:12] + struct.pack(">HH", 1, 9)
    tape = Tape()
    for payload in (plain, rich, padded, cut, long, b"\x40" + plain[1:], b"\x80" * 11):
        tape.udp(0, SBC, CARRIER, payload)
    found, places = headers(tape)

    assert found.frame.tolist() == [1, 2, 3]
    assert (found.sequence.tolist(), found.timestamp.tolist()) == ([5] * 3, [800] * 3)
    assert (found.second.tolist(), found.size.tolist()) == ([0x88] * 3, [5] * 3)
    assert found.event.tolist() == [int.from_bytes(b"soun")] * 3
    assert set(found.session.tolist()) == {5060 << 48 | 5060 << 32 | 0x1234}
    assert places.ends(int(found.addresses[0])) == (bytes([192, 0, 2, 20]), bytes([192, 0, 2, 30]))


def test_padding_that_cannot_be_is_none() -> None:
    """The last byte of an encrypted packet says nothing of its length."""
    tape = Tape()
    tape.udp(0, SBC, CARRIER, b"\xa0" + rtp(5, 800, payload=b"soun\xff")[1:])

    assert headers(tape)[0].size.tolist() == [5]


def test_every_pair_of_addresses_has_a_word_of_its_own() -> None:
    """IPv4, IPv6, and a source that is the broadcast address."""
    ends = [
        (Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)),
        (Endpoint("255.255.255.255", 1), Endpoint("0.0.0.1", 2)),
        (Endpoint("2001:db8::1", 1), Endpoint("2001:db8::2", 2)),
        (Endpoint("2001:db8::2", 1), Endpoint("2001:db8::1", 2)),
        (Endpoint("2001:db8::1", 1), Endpoint("2001:db8::2", 2)),
    ]
    tape = Tape()
    for source, destination in ends:
        tape.udp(0, source, destination, rtp(1, 0))
    found, places = headers(tape)
    words = [int(word) for word in found.addresses]

    assert len(set(words)) == 4
    assert words[2] == words[4]
    assert places.turned(words[2]) == words[3]
    assert places.turned(words[1]) is None
    assert places.ends(words[1]) == (b"\xff" * 4, bytes([0, 0, 0, 1]))
    assert places.ends(words[3])[0][-1] == 2


def test_the_second_byte_tells_rtcp() -> None:
    """192 to 223 are packet types of RTCP (RFC 5761 section 4)."""
    second = np.array([191, 192, 200, 223, 224], np.uint8)

    assert is_rtcp(second).tolist() == [False, True, True, True, False]


def measure(*step_ms: float, before_ms: float = 0.0) -> list[float]:
    """Return last, total and highest jitter of one stream."""
    found = jitter(np.zeros(1, np.int64), np.array(step_ms), np.array([before_ms]))
    return [float(part[0]) for part in (found.last, found.total, found.highest)]


def test_a_steady_stream_has_no_jitter() -> None:
    """No difference, no jitter."""
    assert measure(*[0.0] * 50) == [0, 0, 0]


def test_jitter_is_a_sixteenth_of_each_difference() -> None:
    """16 ms late once gives 1 ms; then it decays by 1/16."""
    last, total, highest = measure(0, 16, 0)

    assert highest == pytest.approx(1.0)
    assert last == pytest.approx(15 / 16)
    assert total == pytest.approx(1 + 15 / 16)


def test_jitter_goes_on_from_what_a_stream_had() -> None:
    """Two parts give what the whole gives, through many packets."""
    steps = [float(number % 7) for number in range(3000)]
    whole = measure(*steps)
    first = measure(*steps[:77])
    second = measure(*steps[77:], before_ms=first[0])

    assert second[0] == pytest.approx(whole[0], abs=1e-12)
    assert first[1] + second[1] == pytest.approx(whole[1])


def test_jitter_of_one_stream_is_not_brought_into_the_next() -> None:
    """A wild stream before a steady one leaves it at what it had."""
    steps = np.array([900.0, 1100.0, 0.0, 0.0, 0.0])
    found = jitter(np.array([0, 2]), steps, np.array([0.0, 16.0]))

    assert found.last[0] > 100
    assert found.last[1] == pytest.approx(16 * (15 / 16) ** 3)
