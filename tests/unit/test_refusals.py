"""ICMP messages given to the questions that they are about."""

from enumtest.dns.message import encode_query
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import NOT_SEEN, HopTable
from harness.number import PhoneNumber
from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.frame import Endpoint, encode_udp
from tests.unit.test_unreachable import icmp

CLIENT = Endpoint("192.0.2.1", 40_000)
SERVERS = {Endpoint(f"198.51.100.{at}", 53): f"enum{at}" for at in (1, 2)}
ONE, TWO = SERVERS
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def question(server: Endpoint, last: int, *, client: Endpoint = CLIENT) -> bytes:
    """Return a question for the number 1212555*last*, whose id is *last* too."""
    name = PhoneNumber(f"1212555{last:04}").enum_domain()
    return encode_udp(client, server, encode_query(last, name))


def hops(*frames: tuple[int, bytes]) -> HopTable:
    """Return the hops of a capture of *frames* (at ms)."""
    records = b"".join(encode_record(START_NS + at * MS, frame) for at, frame in frames)
    capture = parse(encode_file_header(LINKTYPE_RAW) + records, name="one")
    return read_lookups([capture], SERVERS, None).hops


def refused_ms(found: HopTable) -> list[int | None]:
    """Return when each hop was refused."""
    return [None if at == NOT_SEEN else (at - START_NS) // MS for at in found.refused_ns.tolist()]


def test_message_is_about_the_question_that_it_quotes() -> None:
    """Of two open questions the one to the server that is gone is refused, with the frame."""
    first, second = question(ONE, 110), question(TWO, 110)
    found = hops((0, first), (1, icmp(first[:28])), (2, second))

    assert refused_ms(found) == [1, None]
    assert found.refused_frame.tolist() == [2, 0]


def test_message_is_about_the_latest_question_from_that_port() -> None:
    """A port that is used again has another question refused each time."""
    first, second = question(ONE, 110), question(ONE, 111)
    frames = [(0, first), (1, icmp(first[:28])), (50, second), (51, icmp(second[:28]))]

    assert refused_ms(hops(*frames)) == [1, 51]


def test_message_about_others_is_nobodys() -> None:
    """Another port, another server, or a question after it: no hop is refused."""
    mine = question(ONE, 110)
    other = question(ONE, 110, client=Endpoint(CLIENT.address, 41_000))
    stranger = question(Endpoint("203.0.113.1", 53), 110)

    told = [(at, icmp(one[:28])) for at, one in enumerate((mine, other, stranger))]
    assert refused_ms(hops(told[0], (10, mine), *((at + 20, one) for at, one in told[1:]))) == [
        None
    ]
