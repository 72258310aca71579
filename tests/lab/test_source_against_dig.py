"""Every framing of the calling number, as dig and kdig send it, and what the server says of it."""

import asyncio

import pytest

from enumtest.dns.source_name import SourceNaming
from enumtest.stub.answer import AnswerNote, Transport
from enumtest.stub.policy import parse_policy
from enumtest.stub.server import EnumServers
from harness.clock import SystemClock
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from tests.lab.peers import need

pytestmark = pytest.mark.lab

OWNER = PhoneNumber("16505550112").enum_domain()
URI = b"sip:+123456789@test.com;user=cgrates"  # miekg/dns, TestEDNS0_ESU
A_CODE_OF_OUR_OWN = 65001
TIMEOUT_S = 60
POLICY = """
default = "allow"
[[rules]]
name = "known"
source = "+123456789"
action = "terminate"
"""


def told(*commands: list[str]) -> tuple[list[AnswerNote], dict[str, int]]:
    """Return a note for each of *commands*, and how the server counted what was carried."""
    notes: list[AnswerNote] = []

    def on_note(name: str, client: Endpoint, transport: Transport, note: AnswerNote) -> None:
        del name, client, transport
        notes.append(note)

    async def main() -> dict[str, int]:
        servers = EnumServers(
            {"e1": Endpoint("127.0.6.54", 0)},
            parse_policy(POLICY),
            SystemClock(),
            naming=SourceNaming(label="from"),
            on_note=on_note,
        )
        async with servers:
            at = servers.endpoints["e1"]
            for program, *options in commands:
                argv = [program, f"@{at.address}", "-p", str(at.port), *options, "NAPTR"]
                process = await asyncio.create_subprocess_exec(
                    *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
                )
                async with asyncio.timeout(TIMEOUT_S):
                    await process.communicate()
            [status] = servers.statuses()
            return dict(status.carried)

    return notes, asyncio.run(main())


def test_the_server_says_which_framing_dig_and_kdig_sent() -> None:
    """The vector of miekg/dns and CGRateS raw, the two drafts, a code of one's own, a name."""
    dig = [need("dig", "bind9-dnsutils"), "+tries=1", "+time=30", "+nocookie", "+bufsize=1220"]
    kdig = [need("kdig", "knot-dnsutils"), "+retry=0", "+time=30"]
    framed = (b"\x00\x00" + URI + b"\x00").hex()
    named = OWNER.replace("e164.arpa", "from.9.8.7.6.5.4.3.2.1.e164.arpa")
    options = [
        (f"4:{URI.hex()}", "option 4, raw"),
        (f"4:{framed}", "option 4, version-nul"),
        (f"{A_CODE_OF_OUR_OWN}:{URI.hex()}", f"option {A_CODE_OF_OUR_OWN}, utf8"),
        (f"{A_CODE_OF_OUR_OWN}:{framed}", f"option {A_CODE_OF_OUR_OWN}, version-nul"),
    ]
    commands = [[*one, f"+ednsopt={option}", OWNER] for one in (dig, kdig) for option, _ in options]
    notes, counted = told(*commands, [*dig, named], [*dig, OWNER], [*dig, "+ednsopt=4:00", OWNER])

    *carrying, plain, bad = notes
    assert [note.carried for note in carrying] == [how for _, how in options] * 2 + ["name"]
    assert {(note.rule, note.source) for note in carrying} == {("known", "+123456789")}
    assert (plain.rule, plain.source, plain.carried, plain.remark) == ("default", None, "", "")
    assert "holds no calling URI" in bad.remark
    assert counted == {how: 2 for _, how in options} | {"name": 1}
