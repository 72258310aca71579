"""tshark decodes every packet of a run without complaint, and reads in it what we read."""

import subprocess
from itertools import chain
from pathlib import Path

import pytest

from enumtest.dns.message import Answer, Edns, Query, parse_answer, parse_query, rcode_value
from harness.packets.capture_file import read
from harness.packets.frame import decode
from probetest.sip.message import parse as parse_sip
from tests.lab.conftest import WatchedRun
from tests.lab.peers import need

pytestmark = pytest.mark.lab

DNS_PORT, SIP_PORT = 15353, 15060  # of the loopback site; tshark guesses by port
RESPONSE_BIT = 0x80
TYPES = {"NAPTR": "35", "SOA": "6"}  # the lab itself asks for SOA: is a server up again?
DNS = (
    *("dns.id", "dns.flags.response", "dns.qry.name", "dns.qry.type", "dns.flags.rcode"),
    *("dns.naptr.order", "dns.naptr.preference", "dns.naptr.flags", "dns.naptr.service"),
    *("dns.naptr.regex", "dns.naptr.replacement"),
    *("dns.opt.code", "dns.opt.data", "dns.rr.udp_payload_size"),
)
SIP = ("sip.Method", "sip.r-uri", "sip.Status-Code", "sip.Call-ID", "sip.CSeq")
Row = dict[str, str]


def tshark(path: Path, *options: str) -> list[str]:
    """Return the lines that tshark prints of *path*, with our ports decoded as what they carry."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), *options]
    argv += ["-d", f"udp.port=={DNS_PORT},dns", "-d", f"udp.port=={SIP_PORT},sip"]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    return run.stdout.splitlines()


def tshark_rows(path: Path) -> list[Row]:
    """Return tshark's fields of each frame."""
    names = (*DNS, *SIP)
    options = chain.from_iterable(("-e", name) for name in names)
    lines = tshark(path, "-T", "fields", "-E", "separator=/t", *options)
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


def our_rows(path: Path) -> list[Row]:
    """Return the same fields, read here."""
    found = decode(read(path))
    rows = []
    for at in range(len(found)):
        data = found.payload(at)
        is_dns = DNS_PORT in (found.source(at).port, found.destination(at).port)
        rows.append(dict.fromkeys((*DNS, *SIP), "") | (dns_row(data) if is_dns else sip_row(data)))
    return rows


def dns_row(data: bytes) -> Row:
    """Return what is read from a DNS message."""
    message = parse_answer(data) if data[2] & RESPONSE_BIT else parse_query(data)
    row = {
        "dns.id": f"0x{message.id:04x}",
        "dns.flags.response": str(int(isinstance(message, Answer))),
        "dns.qry.name": message.qname,
        "dns.qry.type": TYPES[message.qtype],
    }
    of_kind = query_row(message) if isinstance(message, Query) else answer_row(message)
    return row | of_kind | edns_row(message.edns)


def query_row(query: Query) -> Row:
    """Return what only a query has."""
    assert query.trailing_bytes == 0
    return {}


def answer_row(answer: Answer) -> Row:
    """Return what only an answer has."""
    row = {"dns.flags.rcode": str(rcode_value(answer.rcode))}
    for record in answer.naptr:
        row |= {
            "dns.naptr.order": str(record.order),
            "dns.naptr.preference": str(record.preference),
            "dns.naptr.flags": record.flags,
            "dns.naptr.service": record.services,
            "dns.naptr.regex": record.regexp,
            "dns.naptr.replacement": record.replacement.replace(".", "<Root>"),
        }
    return row


def edns_row(edns: Edns | None) -> Row:
    """Return what the OPT record adds."""
    if edns is None:
        return {}
    return {
        "dns.opt.code": ",".join(str(code) for code, _ in edns.options),
        "dns.opt.data": ",".join(data.hex() for _, data in edns.options),
        "dns.rr.udp_payload_size": str(edns.udp_payload_bytes),
    }


def sip_row(data: bytes) -> Row:
    """Return what is read from a SIP message."""
    message = parse_sip(data)
    sequence, method = message.cseq
    return {
        "sip.Method": (message.method or "") if message.status is None else "",
        "sip.r-uri": message.request_uri or "",
        "sip.Status-Code": "" if message.status is None else str(message.status),
        "sip.Call-ID": message.call_id,
        "sip.CSeq": f"{sequence} {method}",
    }


def test_no_frame_is_malformed(watched_run: WatchedRun) -> None:
    """In no capture does tshark find a malformed frame or note an error."""
    bad = "_ws.malformed || _ws.expert.severity >= error"

    assert {path.name: tshark(path, "-Y", bad) for path in watched_run.run.captures} == {
        path.name: [] for path in watched_run.run.captures
    }


def test_every_frame_is_dns_or_sip(watched_run: WatchedRun) -> None:
    """There is no packet in a capture that tshark takes for something else."""
    others = [tshark(path, "-Y", "!dns && !sip") for path in watched_run.run.captures]

    assert list(chain.from_iterable(others)) == []


def test_fields_are_those_that_we_read(watched_run: WatchedRun) -> None:
    """Id, name, NAPTR, EDNS option, return code, method, status and call id are tshark's."""
    ours = [our_rows(path) for path in watched_run.run.captures]

    assert ours == [tshark_rows(path) for path in watched_run.run.captures]
    every = [row for row in chain.from_iterable(ours) if row["dns.qry.type"] != TYPES["SOA"]]
    shown = {name: {row[name] for row in every} for name in (*DNS, *SIP)}
    assert shown["sip.Status-Code"] == {"", "100", "200", "603"}
    assert shown["dns.flags.rcode"] == {"", "0"}
    assert len(shown["dns.naptr.regex"] - {""}) == 3  # allow, terminate, redirect
    assert len(shown["dns.qry.name"] - {""}) == 8  # every test number of the site
