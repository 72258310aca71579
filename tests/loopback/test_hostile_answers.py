"""The simulated SBC in front of a server that answers with anything at all."""

import asyncio
from itertools import count
from typing import cast

import pytest

from enumtest.dns.message import encode_answer, parse_query
from enumtest.naptr.naptr import NaptrRecord
from enumtest.profiles.profile_file import shipped_names, shipped_profile
from enumtest.profiles.profiles import Profile
from enumtest.sbc.client import SbcClient
from enumtest.sbc.decision import Decision
from enumtest.sbc.sbc import Sbc
from harness.clock import SystemClock
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex_worker import PosixRegex
from tests.enum_wire import FIXED, sbc_config

MS = 1_000_000
NUMBER = PhoneNumber("12125550110")
GOOD = NaptrRecord(10, 100, "u", "E2U+sip", r"!^(.*)$!sip:\1@sbc.invalid!")


def with_regexp(regexp: str) -> NaptrRecord:
    return NaptrRecord(10, 100, "u", "E2U+sip", regexp)


def answer(query: bytes, *records: NaptrRecord) -> bytes:
    return encode_answer(parse_query(query), "NOERROR", records)


HOSTILE = {
    "nothing": lambda query: query[:0],
    "one octet": lambda query: query[:1],
    "header only": lambda query: query[:2] + b"\x81\x80" + query[4:12],
    "the query itself": lambda query: query,
    "wrong id": lambda query: bytes([query[0] ^ 1]) + answer(query, GOOD)[1:],
    "cut record": lambda query: answer(query, GOOD)[:-9],
    "counts that lie": lambda query: (
        answer(query, GOOD)[:6] + b"\xff\xff" * 3 + answer(query, GOOD)[12:]
    ),
    "pointer to itself": lambda query: (
        query[:2]
        + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
        + b"\xc0\x0c\x00\x23\x00\x01"
        + b"\xc0\x0c\x00\x23\x00\x01\x00\x00\x00\x00\x00\x00"
    ),
    "64 KiB of zeros": lambda query: query[:2] + bytes(60_000),
    "unbalanced pattern": lambda query: answer(query, with_regexp(r"!^((!x!")),
    "no delimiter": lambda query: answer(query, with_regexp("no")),
    "reference to no group": lambda query: answer(query, with_regexp(r"!^x$!sip:\9@y!")),
    "pattern that explodes": lambda query: answer(
        query, with_regexp("!((((.{1,99}){1,99}){1,99}){1,99})!sip:a@b!")
    ),
    "pattern that backtracks": lambda query: answer(
        query, with_regexp(r"!^(.*)(.*)(.*)(.*)\4\3\2\1x$!sip:a@b!")
    ),
    "255 octets of parentheses": lambda query: answer(query, with_regexp("!" + "(" * 252 + "!!")),
}


class HostileServer(asyncio.DatagramProtocol):
    """Answers every query with one chosen lie."""

    def __init__(self, lie: str) -> None:
        self.lie, self.asked = HOSTILE[lie], 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        self.transport.sendto(self.lie(data), addr)


async def place_two_calls(lie: str, profile: Profile = FIXED) -> tuple[int, list[Decision]]:
    """Return how often the hostile server was asked, and what became of both calls."""
    loop = asyncio.get_running_loop()
    transport, hostile = await loop.create_datagram_endpoint(
        lambda: HostileServer(lie), local_addr=("127.0.0.1", 0)
    )
    good, _ = await loop.create_datagram_endpoint(GoodServer, local_addr=("127.0.0.1", 0))
    servers = {
        name: Endpoint(*one.get_extra_info("sockname"))
        for name, one in (("hostile", transport), ("good", good))
    }
    config = sbc_config(servers, profile=profile, timeout_ns=500 * MS)
    with PosixRegex(limit_ns=2000 * MS) as engine:
        client = SbcClient(Sbc(config, count(1), engine), Endpoint("127.0.0.1", 0), SystemClock())
        await client.start()
        try:
            async with asyncio.timeout(60):
                decided = [(await client.call(NUMBER, "")).decision for _ in range(2)]
        finally:
            await client.stop()
            transport.close()
            good.close()
    return hostile.asked, decided


class GoodServer(HostileServer):
    """Answers as it should."""

    def __init__(self) -> None:
        self.lie, self.asked = (lambda query: answer(query, GOOD)), 0


@pytest.mark.parametrize("lie", HOSTILE)
def test_no_answer_stops_the_sbc(lie: str) -> None:
    """The call is decided whatever came, never by a record that can't be used; the next is fine."""
    asked, decided = asyncio.run(place_two_calls(lie))

    assert asked >= 1
    assert decided[0] in (Decision.ALLOW, Decision.NO_INSTRUCTION)
    assert decided[1] is Decision.ALLOW


@pytest.mark.parametrize("lie", ["the query itself", "wrong id", "cut record", "64 KiB of zeros"])
@pytest.mark.parametrize("name", sorted({*shipped_names()} - {"fixed-hold-down"}))
def test_no_answer_stops_an_sbc_of_another_kind(name: str, lie: str) -> None:
    """Whatever it makes of garbage: both calls are decided, neither by it."""
    asked, decided = asyncio.run(place_two_calls(lie, shipped_profile(name)))

    assert asked >= 1
    assert set(decided) <= {Decision.ALLOW, Decision.NO_INSTRUCTION}
