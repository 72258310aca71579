"""VXLAN as RFC 7348 section 5 draws it."""

import pytest

from harness.errors import InputError, WireError
from probetest.taps.vxlan import MAX_FRAME_BYTES, Mirrored, decapsulate, encapsulate, header

FRAME = bytes.fromhex("0200000000020200000000010800") + b"payload"


def test_header_is_the_one_of_the_rfc() -> None:
    """The I flag is bit 4 of the first octet; the network is octets 4 to 6; all else is zero."""
    assert header(0x123456) == bytes((0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0))


@pytest.mark.parametrize("vni", [0, 1, 0xFFFFFF])
def test_frame_comes_back_with_its_network(vni: int) -> None:
    """Neither a byte of the frame nor its network changes on the way."""
    assert decapsulate(encapsulate(FRAME, vni)) == Mirrored(vni, FRAME)


def test_reserved_bits_are_ignored() -> None:
    """Whatever a peer writes into reserved fields, the frame is the same (MUST, section 5)."""
    noisy = bytes((0xFF, 1, 2, 3, 0, 0, 7, 9)) + FRAME

    assert decapsulate(noisy) == Mirrored(7, FRAME)


@pytest.mark.parametrize("size", range(8 + 14))
def test_cut_datagram_is_refused_with_its_length(size: int) -> None:
    """A datagram without a whole Ethernet header carries no frame."""
    with pytest.raises(WireError) as refused:
        decapsulate(encapsulate(FRAME)[:size])

    assert refused.value.offset_bytes == size


def test_datagram_without_the_flag_is_refused() -> None:
    """Without the I flag the network field means nothing."""
    with pytest.raises(WireError, match="I flag"):
        decapsulate(bytes(8) + FRAME)


@pytest.mark.parametrize("vni", [-1, 2**24])
def test_network_beyond_24_bits_is_refused(vni: int) -> None:
    """A network number that does not fit is not cut to fit."""
    with pytest.raises(InputError, match="VXLAN network"):
        header(vni)


@pytest.mark.parametrize("size", [0, 13, MAX_FRAME_BYTES + 1])
def test_frame_that_no_datagram_can_carry_is_refused(size: int) -> None:
    """Too short for a frame, or too long for a datagram."""
    with pytest.raises(InputError, match="14 to 65499"):
        encapsulate(bytes(size))
