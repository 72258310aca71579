"""The 49 messages of RFC 4475 as tshark's dissector reads them, and where we differ and why."""

import subprocess
from pathlib import Path

import pytest

from harness.packets.capture_file import CaptureWriter
from harness.packets.frame import Endpoint, encode_udp
from probetest.sip.message import observe
from tests.lab.peers import need
from tests.sip_torture import messages

pytestmark = pytest.mark.lab

CALLER, SERVER = Endpoint("192.0.2.10", 5060), Endpoint("192.0.2.20", 5060)
FIELDS = (
    *("sip.Method", "sip.r-uri", "sip.Status-Code", "sip.from.addr", "sip.from.tag", "sip.to.addr"),
    *("sip.to.tag", "sip.Via.branch", "sip.CSeq.seq", "sip.CSeq.method", "sip.Call-ID"),
)

ADDRESSES = ("sip.from.addr", "sip.from.tag", "sip.to.addr", "sip.to.tag", "sip.Via.branch")
DIFFERENCES: dict[str, tuple[tuple[str, ...], str]] = {  # fields, then clause and reason
    "wsinv": (ADDRESSES, "RFC 3261 7.3.1: a line may go on after the colon; tshark reads none"),
    "intmeth": (("sip.CSeq.method",), "25.1: every character of it is one of a token"),
    "longreq": (("sip.Via.branch",), "20.42: the topmost Via has none; tshark's first is the last"),
    "scalar02": (("sip.CSeq.seq",), "8.1.1.5: out of range; tshark cuts it to 32 bits"),
    "scalarlg": (("sip.CSeq.seq",), "as scalar02"),
    "quotbal": (("sip.to.addr",), "25.1: the quote is told, and the brackets give the address"),
    "ltgtruri": (("sip.r-uri",), "7.1: the brackets are told, and are no part of the URI"),
    "lwsruri": (FIELDS, "7.1: the space is told; tshark takes it for no SIP"),
    "lwsstart": (FIELDS, "7.1: as lwsruri"),
    "trws": (FIELDS, "7.1: as lwsruri"),
    "badaspec": (("sip.to.addr",), "25.1: the space is told, and is no part of the URI"),
    "insuf": (FIELDS, "8.1.1.4: without a Call-ID it belongs to no call"),
    "unksm2": (("sip.to.addr",), "20.10: a URI of another scheme is an address too"),
    "multi01": (FIELDS, "7.3.1: which of two Call-IDs counts cannot be known"),
}


def our_fields(data: bytes) -> dict[str, str]:
    """Return the same fields, read here; nothing where there is no message."""
    message = observe(data).message
    if message is None:
        return {}
    number, method = message.cseq
    values = (
        *(message.method or "", message.request_uri, str(message.status or "")),
        *(message.from_uri, message.from_tag, message.to_uri, message.to_tag),
        *(message.top_via_branch, str(number), method, message.call_id),
    )
    return dict(zip(FIELDS, values, strict=True))


def tshark_fields(path: Path) -> list[dict[str, str]]:
    """Return tshark's fields of each frame, of several values the first."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields", "-E", "separator=\t"]
    argv += ["-E", "occurrence=f", "-d", "udp.port==5060,sip"]
    for name in FIELDS:
        argv += ["-e", name]
    run = subprocess.run(argv, capture_output=True, timeout=120, check=True)
    rows = run.stdout.decode("utf-8", "replace").split("\n")[:-1]
    return [dict(zip(FIELDS, row.split("\t"), strict=True)) for row in rows]


def test_the_readings_are_tsharks_but_for_a_list(tmp_path: Path) -> None:
    """Each in the list differs, in the fields it names; every other field is alike."""
    path = tmp_path / "torture.pcap"
    every = messages()
    with CaptureWriter(path) as writer:
        for number, torture in enumerate(every):
            frame = encode_udp(CALLER, SERVER, torture.data)
            writer.write(1_700_000_000_000_000_000 + number, frame)
    theirs = tshark_fields(path)
    for torture, their in zip(every, theirs, strict=True):
        ours = our_fields(torture.data)
        differing = {name for name in FIELDS if ours.get(name, "") != their[name]}
        known, _ = DIFFERENCES.get(torture.name, ((), ""))

        assert differing <= set(known), torture.name
        assert bool(differing) is bool(known), torture.name
