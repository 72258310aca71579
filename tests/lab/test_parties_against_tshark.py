"""The users that our parties are made of are those that tshark sees, header by header.

tshark decides no party; it shows who stands in From, To, Request-URI and the identity headers. Each
row of fixtures/parties/rows.toml is sent as a packet, and what both take out of it is compared.
"""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.dialled import taken_apart
from probetest.calls.party_headers import ASSERTED, asked, values
from probetest.sip.message import parse
from tests.lab.peers import need
from tests.sip_wire import PHONE, SBC, Tape

pytestmark = pytest.mark.lab

TABLE = tomllib.loads(
    (Path(__file__).parents[2] / "fixtures" / "parties" / "rows.toml").read_text()
)
FIELDS = ("sip.r-uri.user", "sip.from.user", "sip.to.user", "sip.pai.user")
SEPARATOR = "\x1f"


def invite(row: dict[str, Any], number: int) -> bytes:
    """Return the INVITE of a row."""
    given = TABLE["defaults"] | row
    lines = [
        f"INVITE {given['uri']} SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK{number}",
        f"From: {given['from']};tag=a",
        f"To: {given['to']}",
        f"Call-ID: {number}@192.0.2.10",
        "CSeq: 1 INVITE",
        *given.get("headers", ()),
        "Content-Length: 0",
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def test_users_are_those_of_tshark(tmp_path: Path) -> None:
    """Of sip URIs all agree: tshark leaves escapes and parameters in, which are taken off here."""
    tshark = need("tshark", "tshark")
    tape = Tape()
    rows = TABLE["rows"]
    for number, row in enumerate(rows):
        tape.udp(number * 1000, PHONE, SBC, invite(row, number))
    path = tmp_path / "rows.pcap"
    path.write_bytes(tape.data())
    fields = [part for name in FIELDS for part in ("-e", name)]
    done = subprocess.run(
        [tshark, "-r", path, "-T", "fields", "-E", f"separator={SEPARATOR}", *fields],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    shown = done.stdout.rstrip("\n").split("\n")
    assert len(shown) == len(rows)

    compared = 0
    for number, (row, line) in enumerate(zip(rows, shown, strict=True)):
        theirs = dict(zip(FIELDS, line.split(SEPARATOR), strict=True))
        said = asked(parse(invite(row, number)))
        ours = {
            "sip.r-uri.user": [said.request_uri],
            "sip.from.user": [said.sender],
            "sip.to.user": [said.to],
            "sip.pai.user": list(values(said.caller_lines, ASSERTED)),
        }
        for name, texts in ours.items():
            apart = [taken_apart(text) for text in texts]
            if not apart or apart[0].scheme not in ("sip", "sips") or not theirs[name]:
                continue
            (found, *_) = (taken_apart(f"sip:{theirs[name].split(',')[0]}@h"),)
            assert (row["clause"], name, found.user) == (row["clause"], name, apart[0].user)
            compared += 1
    assert compared > 2 * len(rows)
