"""`enumtest ask` over a zone on NSD, and the zone's reader, which must find the same without it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from enumtest.cli import main
from enumtest.naptr.search import run, search
from enumtest.naptr.zone import EnumZone, parse_zone
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex_worker import PosixRegex
from tests.lab.nsd_lab import CONFIG, serial_of
from tests.lab.peers import POLL_S, need, start, until

pytestmark = pytest.mark.lab

APEX = "enum.example"
SERVER = Endpoint("127.0.6.53", 15053)
FILLER = "x" * 180
BASE = "0.5.5.5.0.5.6.1"  # +1 650 555 0


def zone_text() -> str:
    """Return the zone: every way in which a record can be found."""

    def u(regexp: str, services: str = "E2U+sip", order: int = 10) -> str:
        return f'NAPTR {order} 10 "u" "{services}" "{regexp}" .'

    def to(target: str, order: int = 10) -> str:
        return f'NAPTR {order} 10 "" "" "" {target}'

    rows = {
        f"0.0.1.{BASE}": [u("!^.*$!sip:plain@x!")],
        f"1.0.1.{BASE}": [u(r"!^\\+1(650)(.*)$!sip:\\2;area=\\1@x!")],
        f"2.0.1.{BASE}": [u("!^.*$!sip:old@x!", "sip+E2U")],
        f"3.0.1.{BASE}": [u("!^.*$!sip:both@x!", "E2U+voice:sip+sip")],
        f"4.0.1.{BASE}": [u("!^.*$!sip:20@x!", order=20), u("!^.*$!sip:10@x!", order=10)],
        f"5.0.1.{BASE}": [u("!x!sip:bad@x", order=1), u("!^.*$!sip:good@x!", order=2)],
        f"6.0.1.{BASE}": [f"CNAME 0.0.1.{BASE}"],
        f"7.0.1.{BASE}": [f"CNAME 6.0.1.{BASE}"],
        f"8.0.1.{BASE}": ["CNAME nowhere"],
        f"9.0.1.{BASE}": [to("a")],
        f"0.1.1.{BASE}": [to("nowhere", 1), u("!^.*$!sip:after@x!", order=2)],
        f"1.1.1.{BASE}": [to("loop")],
        f"2.1.1.{BASE}": [to("h1")],
        f"3.1.1.{BASE}": [to("i1")],
        f"4.1.1.{BASE}": [to("any.wild")],
        f"5.1.1.{BASE}": [to(f"0.0.1.{BASE}.tree")],
        f"6.1.1.{BASE}": [to("alias")],
        f"7.1.1.{BASE}": [u(rf"!^\\+4{at}.*$!sip:{FILLER}@x!", order=at + 1) for at in range(20)]
        + [u("!^.*$!sip:last@x!", order=99)],
        f"8.1.1.{BASE}": ['TXT "no NAPTR here"'],
        "*.0.2.4.4": [u("!^.*$!sip:wild@x!")],
        "a": [u(r"!^(.*)$!sip:\\1@deep!")],
        "loop": [to("loop"), to(f"1.1.1.{BASE}", 20)],
        **{f"h{at}": [to(f"h{at + 1}")] for at in range(1, 5)},
        "h5": [u("!^.*$!sip:five@x!")],
        **{f"i{at}": [to(f"i{at + 1}")] for at in range(1, 6)},
        "i6": [u("!^.*$!sip:six@x!")],
        "*.wild": [u("!^.*$!sip:below-wild@x!")],
        "tree": [f"DNAME {APEX}."],
        "alias": ["CNAME a"],
    }
    head = [f"$ORIGIN {APEX}.", "$TTL 60", "@ SOA ns.invalid. a.invalid. 1 1 1 1 1"]
    lines = [f"{owner} {row}" for owner, listed in rows.items() for row in listed]
    return "\n".join([*head, "@ NS ns.invalid.", *lines]) + "\n"


@asynccontextmanager
async def nsd(folder: Path) -> AsyncIterator[None]:
    """Serve the zone while the block runs."""
    config = CONFIG.format(address=SERVER.address, port=SERVER.port, folder=folder, apex=APEX)
    (folder / "nsd.conf").write_text(config)
    (folder / f"{APEX}.zone").write_text(zone_text())
    log = folder / "nsd.log"
    process = start([need("nsd", "nsd"), "-d", "-c", str(folder / "nsd.conf")], log)
    try:
        while not await serial_of(SERVER, APEX):
            assert process.poll() is None, log.read_text()
            await asyncio.sleep(POLL_S)
        yield
    finally:
        process.terminate()
        await until(lambda: process.poll() is not None, "NSD ends", log)


async def asked(number: PhoneNumber, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """Return what `enumtest ask` says in JSON."""
    await asyncio.to_thread(main, ["ask", str(SERVER), str(number), "--apex", APEX, "--json"])
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def read(zone: EnumZone, number: PhoneNumber, engine: PosixRegex) -> str | None:
    """Return the URI that is found in the file alone."""
    seeking = search(number.enum_domain(APEX), str(number), engine)
    return run(seeking, lambda domain: zone.lookup(domain) or ()).uri


EXPECTED = {
    "16505550100": "sip:plain@x",
    "16505550101": "sip:5550101;area=650@x",
    "16505550102": "sip:old@x",
    "16505550103": "sip:both@x",
    "16505550104": "sip:10@x",
    "16505550105": "sip:good@x",
    "16505550106": "sip:plain@x",
    "16505550107": "sip:plain@x",
    "16505550108": None,
    "16505550109": "sip:+16505550109@deep",
    "16505550110": "sip:after@x",
    "16505550111": None,
    "16505550112": "sip:five@x",
    "16505550113": None,
    "16505550114": "sip:below-wild@x",
    "16505550115": "sip:plain@x",
    "16505550116": "sip:+16505550116@deep",
    "16505550117": "sip:last@x",
    "16505550118": None,
    "16505550119": None,
    "442079460100": "sip:wild@x",
}


def test_a_number_is_found_on_nsd_and_in_its_file_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CNAME, DNAME, wildcards, referrals, loops, five hops, old and compound services, TCP."""
    need("nsd", "nsd")

    async def ask_all() -> dict[str, dict[str, object]]:
        async with nsd(tmp_path):
            return {digits: await asked(PhoneNumber(digits), capsys) for digits in EXPECTED}

    told = asyncio.run(ask_all())
    zone = parse_zone(zone_text())
    with PosixRegex() as engine:
        from_file = {digits: read(zone, PhoneNumber(digits), engine) for digits in EXPECTED}

    assert {digits: one["uri"] for digits, one in told.items()} == EXPECTED
    assert from_file == EXPECTED
    assert told["16505550117"]["transport"] == "tcp"
    assert told["16505550117"]["udp_truncated"] is True
    followed = told["16505550112"]["followed"]
    assert isinstance(followed, list)
    assert len(followed) == 5
