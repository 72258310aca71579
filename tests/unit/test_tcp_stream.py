"""TCP segments become the bytes that were sent, or say where these end."""

import pytest

from harness.errors import InputError
from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.frame import ACK, FIN, RST, SYN, Endpoint, decode, encode_tcp, encode_udp
from harness.packets.tcp_stream import (
    MAX_STREAM_BYTES,
    Delivery,
    Gap,
    Limits,
    Piece,
    Stream,
    TcpStreams,
    reassemble,
)

CLIENT, SERVER = Endpoint("127.0.0.1", 40_000), Endpoint("127.0.0.2", 5060)
ISN = 2**32 - 5  # the numbers turn after the fourth byte
START = (ISN, SYN, b"")
Step = tuple[int, int, bytes]


def packet(step: Step) -> bytes:
    """Return a segment from client to server: sequence number, flags, payload."""
    sequence, flags, payload = step
    return encode_tcp(CLIENT, SERVER, payload, sequence=sequence, acknowledgement=0, flags=flags)


def streams(*packets: bytes, limit_bytes: int = MAX_STREAM_BYTES) -> tuple[Stream, ...]:
    """Return the streams of a capture of *packets*, a microsecond apart."""
    records = (encode_record(number * 1_000, frame) for number, frame in enumerate(packets))
    capture = parse(encode_file_header(LINKTYPE_RAW) + b"".join(records))
    return reassemble(decode(capture), limit_bytes=limit_bytes)


def stream(*steps: Step) -> Stream:
    """Return the one stream of these segments."""
    (found,) = streams(*map(packet, steps))
    return found


def data(place: int, payload: bytes) -> Step:
    """Return a segment with *payload* at a place in the stream."""
    return (ISN + 1 + place, ACK, payload)


@pytest.mark.parametrize(
    "steps",
    [
        [data(0, b"abcdef"), data(6, b"ghij")],
        [data(6, b"ghij"), data(0, b"abcdef")],
        [data(0, b"abcdef"), data(0, b"abcdef"), data(6, b"ghij")],
        [data(0, b"abcdef"), data(3, b"defghij")],
        [data(8, b"ij"), data(4, b"efghi"), data(0, b"abcde")],
        [data(0, b"abcdef"), data(5, b""), data(6, b"ghij"), data(9, b"j")],
        [data(-1, b"?"), data(0, b"abcdefghij")],
        [data(0, b"abcdefghij"), START, (ISN + 11, FIN | ACK, b"")],
    ],
)
def test_bytes_are_in_the_order_in_which_they_were_sent(steps: list[Step]) -> None:
    """Late, repeated and overlapping segments, and keep-alives, do not change the stream."""
    found = stream(START, *steps)

    assert (found.data, found.gap, found.from_start) == (b"abcdefghij", None, True)
    assert (found.source, found.destination) == (CLIENT, SERVER)


def test_byte_names_the_frame_that_showed_it_first() -> None:
    """A repeated segment adds only what is new; each byte keeps its first frame and time."""
    found = stream(START, data(0, b"abc"), data(3, b"def"), data(0, b"abcdefgh"))

    assert found.pieces == (Piece(0, 2, 1_000), Piece(3, 3, 2_000), Piece(6, 4, 3_000))
    assert [found.piece(at).frame for at in range(8)] == [2, 2, 2, 3, 3, 3, 4, 4]
    for outside in (-1, 8):
        with pytest.raises(InputError, match="the stream has 8 bytes"):
            found.piece(outside)


def test_data_on_the_first_segment_counts() -> None:
    """A SYN may carry bytes (TCP fast open); they follow its own number."""
    found = stream((ISN, SYN, b"abc"), data(3, b"def"))
    assert (found.data, found.gap) == (b"abcdef", None)


@pytest.mark.parametrize(
    ("steps", "gap"),
    [
        ([data(0, b"abc"), data(5, b"fgh")], Gap(3, 2, 3, "a segment was not captured")),
        ([data(0, b"abc"), data(8, b"")], Gap(3, 5, 3, "a segment was not captured")),
        ([data(0, b"abc"), (ISN + 6, FIN | ACK, b"")], Gap(3, 2, 3, "a segment was not captured")),
    ],
)
def test_gap_ends_the_stream_and_is_told(steps: list[Step], gap: Gap) -> None:
    """Bytes after a missing segment are not used; an empty segment or a FIN shows the gap too."""
    found = stream(START, *steps)
    assert (found.data, found.gap) == (b"abc", gap)


def test_gap_at_the_start_is_told() -> None:
    """A stream of which the first segment is missing has no bytes, and says so."""
    found = stream(START, data(3, b"def"))
    assert (found.data, found.gap) == (b"", Gap(0, 3, 2, "a segment was not captured"))


def test_reset_shows_no_gap() -> None:
    """The number of a reset need not be in order."""
    assert stream(START, data(0, b"abc"), (ISN + 999, RST, b"")).gap is None


def test_segment_that_was_cut_is_a_gap_until_it_comes_whole() -> None:
    """What the snapshot length left is used; the rest is missing, unless it is sent again."""
    cut = packet(data(0, b"abcdef"))[:-3]
    (found,) = streams(packet(START), cut)
    assert (found.data, found.gap) == (b"abc", Gap(3, None, 2, "a segment was not captured whole"))

    (found,) = streams(packet(START), cut, packet(data(0, b"abcdef")))
    assert (found.data, found.gap) == (b"abcdef", None)

    (found,) = streams(packet(START), cut, packet(data(6, b"ghi")))
    assert (found.data, found.gap) == (b"abc", Gap(3, 3, 3, "a segment was not captured"))


def test_stream_of_which_the_start_is_missing_says_so() -> None:
    """A connection that was open before the capture is read from its first segment on."""
    found = stream(data(100, b"late"), data(104, b"r"))
    assert (found.data, found.from_start, found.gap) == (b"later", False, None)


def test_ports_that_are_used_again_make_another_stream() -> None:
    """A SYN with another number starts anew; the same one again does not."""
    again = 7
    steps = [
        START,
        data(0, b"one"),
        START,
        data(3, b"!"),
        (again, SYN, b""),
        (again + 1, 0, b"two"),
    ]
    found = streams(*map(packet, steps))
    assert [(one.data, one.gap) for one in found] == [(b"one!", None), (b"two", None)]


def test_each_direction_is_a_stream_in_order_of_its_first_frame() -> None:
    """Directions do not mix; UDP and directions without a byte are no streams."""
    answer = encode_tcp(SERVER, CLIENT, b"answer", sequence=7, acknowledgement=0, flags=ACK)
    other = Endpoint("127.0.0.3", 5060)
    empty = encode_tcp(other, CLIENT, b"", sequence=7, acknowledgement=0, flags=ACK)
    datagram = encode_udp(SERVER, CLIENT, b"datagram")
    found = streams(datagram, answer, empty, packet(data(0, b"question")))

    assert [(one.source, one.data) for one in found] == [(SERVER, b"answer"), (CLIENT, b"question")]
    assert streams(datagram) == ()


def test_stream_is_not_longer_than_its_limit() -> None:
    """Memory is bounded: a stream ends at the limit, and says so."""
    steps = [START, data(0, b"abc"), data(3, b"defg"), data(7, b"h")]
    (found,) = streams(*map(packet, steps), limit_bytes=6)
    assert (found.data, found.gap) == (b"abc", Gap(3, None, 3, "longer than 6 bytes"))


SECOND = 1_000_000_000
Timed = tuple[float, Step]  # seconds after the start of the capture


def fed(streams: TcpStreams, *steps: Timed) -> list[Delivery]:
    """Return what is known after these segments."""
    records = (encode_record(int(at * SECOND), packet(step)) for at, step in steps)
    capture = parse(encode_file_header(LINKTYPE_RAW) + b"".join(records))
    return list(streams.feed(decode(capture)))


def told(deliveries: list[Delivery]) -> list[tuple[int, bytes, bool, bool]]:
    """Return offset, bytes, whether something is missing before them, and whether it ended."""
    return [(one.offset_bytes, one.data, bool(one.gap), one.ended) for one in deliveries]


def test_bytes_are_given_once_all_before_them_are_there() -> None:
    """Each with the frame and time that brought it, and when its turn came."""
    streams = TcpStreams()
    first = fed(streams, (0, START), (1, data(0, b"abc")), (2, data(6, b"ghi")))
    second = fed(streams, (3, data(3, b"def")), (4, data(9, b"j")))

    assert told(first) == [(0, b"abc", False, False)]
    assert told(second) == [
        (3, b"def", False, False),
        (6, b"ghi", False, False),
        (9, b"j", False, False),
    ]
    assert [one.at_ns // SECOND for one in second] == [3, 2, 4]
    assert [one.ready_ns // SECOND for one in second] == [3, 3, 4]
    assert {one.stream for one in first + second} == {first[0].stream}
    assert first[0].stream.from_start
    assert told(list(streams.close())) == [(10, b"", False, True)]


def test_missing_segment_is_given_up_after_a_while_and_told() -> None:
    """What waited behind it is given; it goes on from there."""
    streams = TcpStreams()
    assert told(fed(streams, (0, START), (1, data(0, b"abc")), (2, data(5, b"fgh")))) == [
        (0, b"abc", False, False)
    ]
    (late,) = fed(streams, (12.5, data(8, b"i")))[:1]

    assert (late.offset_bytes, late.data, late.ready_ns) == (5, b"fgh", 12 * SECOND)
    assert late.gap == Gap(3, 2, 3, "a segment was not captured")
    assert told(fed(streams, (13, data(3, b"de")), (14, data(9, b"j")))) == [
        (9, b"j", False, False)
    ]


def test_missing_segment_is_given_up_when_another_connection_shows_the_time() -> None:
    """Nothing more has to come on the same one."""
    streams = TcpStreams()
    fed(streams, (0, START), (1, data(4, b"x")))
    elsewhere = encode_tcp(SERVER, CLIENT, b"", sequence=1, acknowledgement=0, flags=ACK)
    capture = parse(encode_file_header(LINKTYPE_RAW) + encode_record(60 * SECOND, elsewhere))
    assert told(list(streams.feed(decode(capture)))) == [(4, b"x", True, False)]


def test_what_waits_is_bounded() -> None:
    """More than the limit behind a gap, and the gap is given up at once."""
    streams = TcpStreams(Limits(waiting_bytes=500))  # of which each segment takes 200 and its bytes
    found = fed(streams, (0, START), *((1, data(place, b"12345")) for place in (5, 10, 15)))
    assert told(found) == [(place, b"12345", place == 5, False) for place in (5, 10, 15)]


@pytest.mark.parametrize("flags", [FIN | ACK, RST])
def test_end_is_told_once(flags: int) -> None:
    """A FIN ends a stream when all before it is there; a reset ends it at once."""
    streams = TcpStreams()
    found = fed(streams, (0, START), (1, data(0, b"abc")), (2, (ISN + 4, flags, b"")))
    assert told(found) == [(0, b"abc", False, False), (3, b"", False, True)]
    assert told(fed(streams, (3, data(0, b"abc")), (4, (ISN + 4, flags, b"")))) == []
    assert list(streams.close()) == []


def test_fin_with_the_last_bytes_ends_behind_them() -> None:
    """A FIN may carry bytes, and come before those in front of it."""
    found = fed(TcpStreams(), (0, START), (1, (ISN + 4, FIN, b"def")), (2, data(0, b"abc")))
    assert told(found) == [
        (0, b"abc", False, False),
        (3, b"def", False, False),
        (6, b"", False, True),
    ]


def test_new_connection_on_the_same_ports_is_another_stream() -> None:
    """The first one ends, with what it missed."""
    streams = TcpStreams()
    found = fed(streams, (0, START), (1, data(2, b"c")), (2, (77, SYN, b"")), (3, (78, ACK, b"x")))
    assert told(found) == [(2, b"c", True, False), (3, b"", False, True), (0, b"x", False, False)]
    assert [one.stream.number for one in found] == [0, 0, 1]


@pytest.mark.parametrize(("steps", "quiet"), [((), 7_201), (((2, (ISN + 4, FIN, b"")),), 123)])
def test_idle_connection_is_forgotten(steps: tuple[Timed, ...], quiet: int) -> None:
    """After the time in which keep-alives come, or soon when it has ended."""
    streams = TcpStreams()
    fed(streams, (0, START), (1, data(0, b"abc")), *steps)
    found = fed(streams, (2 + quiet, data(3, b"more")))
    assert found[-1].data == b"more"
    assert (found[-1].stream.number, found[-1].stream.from_start) == (1, False)


def test_number_of_connections_is_bounded() -> None:
    """The one that was quiet for longest goes first."""
    streams = TcpStreams(Limits(directions=2))
    for port in (1, 2, 3):
        segment = encode_tcp(
            Endpoint("192.0.2.1", port), SERVER, b"x", sequence=1, acknowledgement=0, flags=ACK
        )
        capture = parse(encode_file_header(LINKTYPE_RAW) + encode_record(port, segment))
        found = list(streams.feed(decode(capture)))
    assert [(one.stream.source.port, one.ended) for one in found] == [(1, True), (3, False)]
    assert len(list(streams.close())) == 2


def test_stream_that_is_not_wanted_is_given_no_more() -> None:
    """Neither its bytes nor its end; another connection on the same ports is."""
    streams = TcpStreams()
    (first,) = fed(streams, (0, START), (1, data(0, b"abc")), (1, data(9, b"j")))
    streams.forget(first.stream)
    assert fed(streams, (2, data(3, b"def")), (3, (ISN + 7, FIN, b""))) == []
    assert told(fed(streams, (4, (5, SYN, b"")), (5, (6, ACK, b"new")))) == [
        (0, b"new", False, False)
    ]
