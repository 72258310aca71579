"""What Kamailio's enum module makes of records, and what the lint says that it will.

NSD serves the zone on port 53, Kamailio asks it over the C library with a resolv.conf of its own,
and answers an OPTIONS request with the URIs that it would send the call to.

Traps: Kamailio forgets nothing of a zone that it never had, so each case is a number of its own;
$ru is empty for a URI that Kamailio cannot parse, so all URIs here are sip: URIs.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from enumtest.naptr.dialect_file import shipped_client
from enumtest.naptr.naptr import NaptrRecord, presentation
from enumtest.naptr.reading import Uri, read_answer
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex_worker import PosixRegex
from tests.lab.nsd_lab import CONFIG, serial_of
from tests.lab.peers import POLL_S, Process, missing, need, need_root, start, until

pytestmark = pytest.mark.lab

APEX = "enum.example"
DNS, SIP = Endpoint("127.0.6.55", 53), Endpoint("127.0.6.56", 5060)
ANSWER_S = 0.5
TRIES = 60
ALL = r"!^(.*)$!sip:\1@x.example!"
KAMAILIO = """
debug=1
log_stderror=yes
children=1
listen=udp:{address}:{port}
disable_tcp=yes
auto_aliases=no
use_dns_cache=off
dns_use_search_list=no
mpath="{modules}"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "enum.so"
request_route {{
  if (!enum_query("{apex}.")) {{ sl_send_reply("404", "None"); exit; }}
  append_to_reply("X-Uri: $ru\\r\\n");
  $var(at) = 0;
  while ($var(at) < $branch(count)) {{
    append_to_reply("X-Uri: $(branch(uri)[$var(at)])\\r\\n");
    $var(at) = $var(at) + 1;
  }}
  sl_send_reply("200", "Found");
}}
"""


def one(regexp: str = ALL, order: int = 10, preference: int = 10, **fields: str) -> NaptrRecord:
    own = {"flags": "u", "services": "E2U+sip", "regexp": regexp, "replacement": "."}
    return NaptrRecord(order, preference, **(own | fields))


def cases() -> list[tuple[NaptrRecord, ...]]:
    """Return record sets: each part of a record in every way, alone and beside a good one."""
    single = [
        *(one(flags=flags) for flags in ("u", "U", "us", "s", "a")),
        one("", flags="", replacement="next.enum.example."),
        one(flags=""),
        *(
            one(services=text)
            for text in (
                *("e2u+sip", "E2u+SiP", "sip+E2U", "SIP+e2u", "E2U+pstn:tel", "E2U+sip:x"),
                *("E2U+voice:sip", "E2U+voice:sip+sip", "E2U+sip+voice:sip", "E2U+void:http"),
                *("E2U+unused:http", "E2U", "sip", "E2U+sips", "x+E2U"),
            )
        ),
        *(
            one(text)
            for text in (
                *(r"/^(.*)$/sip:\1@x.example/", r"#^(.*)$#sip:\1@x.example#"),
                *(ALL + "i", r"!^(.*)$!sip:\0@x.example!", r"!^(.*)$!sip:\2@x.example!"),
                *(r"!^(.)(.)(.)(.)(.).*$!sip:\5@x.example!", r"!^\+1(.*)$!sip:\1@x.example!"),
                *(r"!^(.)(.)(.)(.)(.)(.).*$!sip:\6@x.example!", r"!^+1(.*)$!sip:\1@x.example!"),
                *(r"!^(.*)$!sip:\!@x.example!", r"!^\!?(.*)$!sip:\1@x.example!"),
                *("!^.*$!sip:a@x.example", "!^.*$", "^.*$!sip:a@x.example!", "!!sip:a@x.example!"),
                *("!^\\+44.*$!sip:uk@x.example!", "![[:digit:]]+!sip:d@x.example!"),
                *("!1|16505550!sip:long@x.example!", "!(1|16505)(.*)!sip:\\2@x.example!"),
                *("!^(!sip:a@x.example!", "!^.{1,300}$!sip:a@x.example!", "!6?5!sip:a@x.example!"),
            )
        ),
        one(replacement="both.example."),
    ]
    good = one("!^.*$!sip:good@x.example!", order=50)
    pairs = [
        (one("!^.*$!sip:20@x.example!", order=20), one("!^.*$!sip:10@x.example!", order=10)),
        (one("!^.*$!sip:p2@x.example!", preference=2), one("!^.*$!sip:p1@x.example!")),
        (one("!^.*$!sip:p1@x.example!", preference=1), one("!^.*$!sip:p2@x.example!")),
    ]
    return [*((each,) for each in single), *((each, good) for each in single), *pairs]


# What Kamailio finds where the prediction says that the record is passed over: it is the safe side,
# for a terminate is said to be let through that may not be.
KNOWN_DIFFERENCES = {
    # POSIX leaves an empty expression undefined; to glibc it matches everything.
    "!!sip:a@x.example!": "sip:a@x.example",
    # The sixth group is not kept; the record is taken, and its URI is none that Kamailio can parse.
    r"!^(.)(.)(.)(.)(.)(.).*$!sip:\6@x.example!": "<null>",
}
CASES = {PhoneNumber(f"1650555{at:04}"): held for at, held in enumerate(cases(), 100)}


def zone_text() -> str:
    """Return the zone of all cases."""
    head = [f"$ORIGIN {APEX}.", "$TTL 60", "@ SOA ns.invalid. a.invalid. 1 1 1 1 1"]
    lines = [
        f"{number.enum_domain(APEX)}. NAPTR {presentation(record)}"
        for number, held in CASES.items()
        for record in held
    ]
    return "\n".join([*head, "@ NS ns.invalid.", *lines]) + "\n"


async def ended(process: Process, log: Path) -> None:
    process.terminate()
    await until(lambda: process.poll() is not None, f"{log.stem} ends", log)


def module_folder() -> Path:
    """Return where Kamailio's modules are; without them the test is skipped, in CI failed."""
    found = next(Path("/usr/lib").glob("*/kamailio/modules/enum.so"), None)
    return missing("enum.so", "kamailio") if found is None else found.parent


@asynccontextmanager
async def peers(folder: Path, modules: Path) -> AsyncIterator[None]:
    """Run NSD and Kamailio while the block runs."""
    config = CONFIG.format(address=DNS.address, port=DNS.port, folder=folder, apex=APEX)
    (folder / "nsd.conf").write_text(config)
    (folder / f"{APEX}.zone").write_text(zone_text())
    (folder / "resolv.conf").write_text(f"nameserver {DNS.address}\noptions timeout:30\n")
    text = KAMAILIO.format(address=SIP.address, port=SIP.port, modules=f"{modules}/", apex=APEX)
    (folder / "kamailio.cfg").write_text(text)
    nsd_log, log = folder / "nsd.log", folder / "kamailio.log"
    nsd = start([need("nsd", "nsd"), "-d", "-c", str(folder / "nsd.conf")], nsd_log)
    try:
        while not await serial_of(DNS, APEX):
            assert nsd.poll() is None, nsd_log.read_text()
            await asyncio.sleep(POLL_S)
        mount = f"mount --bind {folder}/resolv.conf /etc/resolv.conf && exec "
        run = (
            f"{need('kamailio', 'kamailio')} -DD -E -m 32 -M 4 -Y {folder} -f {folder}/kamailio.cfg"
        )
        argv = [need("unshare", "util-linux"), "-m", "--propagation", "private"]
        kamailio = start([*argv, "sh", "-c", mount + run], log)
        try:
            yield
            assert kamailio.poll() is None, log.read_text()
        finally:
            await ended(kamailio, log)
    finally:
        await ended(nsd, nsd_log)


async def options(number: PhoneNumber) -> list[str]:
    """Return the URIs that Kamailio found for *number*, the first first."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sip:
        sip.bind(("127.0.6.57", 0))
        host, port = sip.getsockname()
        lines = [
            f"OPTIONS sip:{number}@{SIP.address} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{number.digits}",
            f"From: <sip:probe@{host}>;tag=1",
            f"To: <sip:{number}@{SIP.address}>",
            f"Call-ID: {number.digits}@{host}",
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        message = "\r\n".join([*lines, "", ""]).encode()
        for _ in range(TRIES):
            await loop.sock_sendto(sip, message, (SIP.address, SIP.port))
            try:
                async with asyncio.timeout(ANSWER_S):
                    answer = (await loop.sock_recv(sip, 65_535)).decode()
            except (TimeoutError, ConnectionRefusedError):
                continue
            return re.findall(r"^X-Uri: (.*?)\r$", answer, re.MULTILINE)
    raise AssertionError(f"Kamailio says nothing about {number}")


def predicted(held: tuple[NaptrRecord, ...], number: PhoneNumber, engine: PosixRegex) -> list[str]:
    """Return the URIs that the shipped client file predicts; it leaves nothing in doubt here."""
    readings = read_answer(held, str(number), engine, shipped_client("kamailio").naptr)
    uris = []
    for reading in readings:
        [effect] = reading.effects
        if isinstance(effect, Uri):
            assert reading.record.regexp not in KNOWN_DIFFERENCES
            uris.append(effect.text)
        elif (regexp := reading.record.regexp) in KNOWN_DIFFERENCES:
            uris.append(KNOWN_DIFFERENCES[regexp])
    return uris


def test_kamailio_finds_the_uris_that_are_predicted(tmp_path: Path) -> None:
    """Flags, services, delimiters, escapes, back-references, expressions, orders: all as said."""
    need_root()
    modules = module_folder()

    async def ask_all() -> dict[PhoneNumber, list[str]]:
        async with peers(tmp_path, modules):
            return {number: await options(number) for number in CASES}

    found = asyncio.run(ask_all())
    with PosixRegex() as engine:
        said = {number: predicted(held, number, engine) for number, held in CASES.items()}

    wrong = {
        " / ".join(presentation(record) for record in CASES[number]): (uris, said[number])
        for number, uris in found.items()
        if uris != said[number]
    }
    assert wrong == {}, f"(found, predicted) of {len(wrong)}: {wrong}"
    assert sum(map(bool, found.values())) > len(CASES) // 2
