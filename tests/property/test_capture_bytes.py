"""Whatever the bytes are, reading them ends with a capture or an InputError."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.packets.capture import Capture, encode_file_header, encode_record, parse
from harness.packets.frame import ACK, SYN, Endpoint, decode, encode_tcp, encode_udp
from harness.packets.tcp_stream import reassemble

A4, B4 = Endpoint("127.0.0.1", 5060), Endpoint("127.0.0.2", 5062)
A6, B6 = Endpoint("2001:db8::1", 5060), Endpoint("2001:db8::2", 5062)
LINKTYPES = (0, 1, 12, 14, 101, 108, 113, 228, 229, 276)
PACKETS = (
    encode_udp(A4, B4, b"OPTIONS sip:probe@example.com SIP/2.0\r\n\r\n"),
    encode_udp(A6, B6, b"answer"),
    encode_tcp(A4, B4, b"", sequence=2**32 - 1, acknowledgement=0, flags=SYN),
    encode_tcp(A4, B4, b"segment", sequence=0, acknowledgement=0, flags=ACK),
    encode_tcp(A4, B4, b"ment and more", sequence=3, acknowledgement=0, flags=ACK),
    bytes(12) + b"\x81\0\0\1\x08\0" + encode_udp(A4, B4, b"tagged"),
)


def pcapng() -> bytes:
    """Return a small pcapng with each kind of block."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(1, struct.pack("<HHIHHI", 101, 0, 0, 9, 1, 9) + bytes(4))
    for packet in PACKETS:
        out += block(6, struct.pack("<IIIII", 0, 1, 2, len(packet), len(packet)) + packet)
    out += block(3, struct.pack("<I", len(PACKETS[0])) + PACKETS[0])
    out += block(2, struct.pack("<HHIIII", 0, 0, 1, 2, len(PACKETS[1]), 99) + PACKETS[1])
    return out + block(5, struct.pack("<IIIHHQ", 0, 1, 2, 5, 8, 3) + bytes(4))


def pcap(linktype: int) -> bytes:
    """Return a small pcap of that link type; most frames will not be what it says."""
    records = (encode_record(n, packet) for n, packet in enumerate(PACKETS))
    return encode_file_header(linktype) + b"".join(records)


UNHURRIED = settings(deadline=None)  # a busy machine is not a bug
SAMPLES = (pcapng(), *map(pcap, LINKTYPES))
MAGICS = tuple(
    bytes.fromhex(x) for x in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "0a0d0d0a")
)


def check(data: bytes) -> None:
    """Read *data* as far as it goes, and hold it to every promise of the reader."""
    refusal = None
    try:
        capture = parse(data, name="x")
    except InputError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.startswith("x: ")
        return
    check_capture(capture, len(data))
    if not set(capture.linktype.tolist()) <= set(LINKTYPES):
        with pytest.raises(InputError, match="linktype"):
            decode(capture)
        return
    datagrams = decode(capture)
    own = datagrams.select(datagrams.payload_offset <= capture.data.size)  # not put together
    start, size = own.payload_offset, own.payload_bytes
    record = own.frame - 1
    first = capture.offset_bytes[record]
    assert (start >= first).all()
    assert (start + size <= first + capture.captured_bytes[record]).all()
    assert len(own) + own.fragments + own.undecoded == len(capture)
    assert (datagrams.payload_offset + datagrams.payload_bytes <= datagrams.data.size).all()
    size = datagrams.payload_bytes
    for row in range(len(datagrams)):
        assert len(datagrams.payload(row)) == size[row]
        assert Endpoint.parse(str(datagrams.source(row))) == datagrams.source(row)
    total = sum(len(stream.data) for stream in reassemble(datagrams))
    assert total <= int(size.sum())


def check_capture(capture: Capture, size: int) -> None:
    """Every frame lies in the file, and none overlaps the next."""
    ends = capture.offset_bytes + capture.captured_bytes
    assert (capture.captured_bytes >= 0).all()
    assert (ends <= size).all()
    assert (capture.offset_bytes[1:] >= ends[:-1]).all()
    assert capture.cut is None or 0 < capture.cut.offset_bytes < size


@UNHURRIED
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No other exception, and no end outside of the file."""
    check(data)


@UNHURRIED
@given(st.sampled_from(MAGICS), st.binary(max_size=300))
def test_any_bytes_after_a_magic_number_are_read_or_refused(magic: bytes, data: bytes) -> None:
    """The same when the file starts as a capture does."""
    check(magic + data)


@UNHURRIED
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 2_000), st.binary(min_size=1, max_size=4)), max_size=6),
    st.integers(0, 2_000),
)
def test_changed_and_cut_capture_is_read_or_refused(
    sample: bytes, changes: list[tuple[int, bytes]], cut: int
) -> None:
    """Bytes written over a good capture, and its end cut off, do no harm."""
    damaged = bytearray(sample)
    for at, value in changes:
        place = at % len(damaged)
        damaged[place : place + len(value)] = value[: len(damaged) - place]
    check(bytes(damaged[: len(damaged) - cut % len(damaged)]))


@UNHURRIED
@given(st.sampled_from(LINKTYPES), st.lists(st.binary(max_size=100), max_size=5))
def test_any_frames_are_decoded_inside_their_records(linktype: int, frames: list[bytes]) -> None:
    """Frames of noise, on every link type, are rows or counted."""
    records = b"".join(encode_record(0, frame) for frame in frames)
    check(encode_file_header(linktype) + records)


@UNHURRIED
@given(st.lists(st.tuples(st.integers(0, 2**32 * 10**9 - 1), st.binary(max_size=80)), max_size=8))
def test_what_was_encoded_is_read_back(records: list[tuple[int, bytes]]) -> None:
    """Times to the nanosecond and every byte survive the file."""
    data = encode_file_header(101) + b"".join(encode_record(*record) for record in records)
    found = parse(data)
    pairs = zip(found.offset_bytes.tolist(), found.captured_bytes.tolist(), strict=True)
    frames = [found.data[at : at + size].tobytes() for at, size in pairs]

    assert list(zip(found.at_ns.tolist(), frames, strict=True)) == records


@UNHURRIED
@given(st.binary(max_size=500), st.binary(max_size=500), st.booleans())
def test_encoded_payload_is_decoded_whole(first: bytes, second: bytes, ipv4: bool) -> None:
    """UDP and TCP carry any bytes in either family."""
    source, destination = (A4, B4) if ipv4 else (A6, B6)
    packets = (
        encode_udp(source, destination, first),
        encode_tcp(source, destination, second, sequence=1, acknowledgement=2, flags=ACK),
    )
    records = b"".join(encode_record(0, packet) for packet in packets)
    found = decode(parse(encode_file_header(101) + records))

    assert [found.payload(0), found.payload(1)] == [first, second]
    assert [found.source(0), found.destination(1)] == [source, destination]
    assert found.complete.all()


@UNHURRIED
@given(
    st.binary(min_size=1, max_size=300),
    st.sets(st.integers(1, 299), max_size=12),
    st.integers(0, 2**32 - 1),
    st.data(),
)
def test_any_order_of_segments_gives_the_bytes_that_were_sent(
    text: bytes, cuts: set[int], isn: int, draw: st.DataObject
) -> None:
    """Shuffled, repeated and overlapping segments that cover a text give the text."""
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [(a, b + draw.draw(st.integers(0, 20))) for a, b in pairwise(places)]
    pieces += draw.draw(st.lists(st.sampled_from(pieces), max_size=4))
    segments = [(isn, SYN, b"")]
    segments += [(isn + 1 + a, ACK, text[a:b]) for a, b in draw.draw(st.permutations(pieces))]
    packets = [
        encode_tcp(A4, B4, payload, sequence=sequence, acknowledgement=0, flags=flags)
        for sequence, flags, payload in segments
    ]
    records = b"".join(encode_record(0, packet) for packet in packets)
    (found,) = reassemble(decode(parse(encode_file_header(101) + records)))

    assert (found.data, found.gap, found.from_start) == (text, None, True)
