"""Our reading of SIP messages is tshark's, for SIPp's own calls and for what we encode."""

import subprocess
from pathlib import Path

import pytest

from harness.packets.capture_file import CaptureWriter, read
from harness.packets.frame import Endpoint, decode, encode_udp
from probetest.sip.message import SipMessage, encode_request, encode_response, parse, uri_user
from tests.lab.peers import LIMIT_S, need
from tests.lab.sipp import stop_after, wait_until_it_listens

pytestmark = pytest.mark.lab

UAS, UAC, PORT, CALLS = "127.0.6.1", "127.0.6.2", 5060, 3
MESSAGES_A_CALL = 6  # INVITE, 180, 200, ACK, BYE, 200
FIELDS = (
    *("sip.Method", "sip.r-uri", "sip.r-uri.user", "sip.Status-Code"),
    *("sip.from.addr", "sip.from.user", "sip.from.tag", "sip.to.addr", "sip.to.user", "sip.to.tag"),
    *("sip.Call-ID", "sip.CSeq.seq", "sip.CSeq.method", "sip.Via.branch", "sip.Content-Length"),
)


def tshark_rows(path: Path) -> list[dict[str, str]]:
    """Return tshark's fields of every frame; of several Via branches the first."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    argv += ["-E", "occurrence=f", "-d", f"udp.port=={PORT},sip"]
    for name in (*FIELDS, "_ws.malformed"):
        argv += ["-e", name]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    rows = [line.split("|") for line in run.stdout.splitlines()]
    assert [row.pop() for row in rows] == [""] * len(rows)
    return [dict(zip(FIELDS, row, strict=True)) for row in rows]


def our_row(message: SipMessage) -> dict[str, str]:
    """Return the same fields, read here."""
    number, method = message.cseq
    values = (
        *(message.method or "", message.request_uri, uri_user(message.request_uri)),
        "" if message.status is None else str(message.status),
        *(message.from_uri, uri_user(message.from_uri), message.from_tag),
        *(message.to_uri, uri_user(message.to_uri), message.to_tag),
        *(message.call_id, str(number), method, message.top_via_branch, str(len(message.body))),
    )
    return dict(zip(FIELDS, values, strict=True))


def our_rows(path: Path) -> list[dict[str, str]]:
    """Return our fields of every datagram in the capture."""
    datagrams = decode(read(path))
    return [our_row(parse(datagrams.payload(row))) for row in range(len(datagrams))]


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Return when the peer has written *words*; fail when it ends without."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    pytest.fail(f"{process.args!r} ended without {words!r}")


def test_calls_between_two_sipp_are_read_as_tshark_reads_them(tmp_path: Path) -> None:
    """All messages of three calls of the built-in uac and uas scenarios, caught on loopback."""
    sipp, dumpcap = need("sipp", "sip-tester"), need("dumpcap", "tshark")
    path = tmp_path / "calls.pcap"
    only = ["-f", f"udp port {PORT} and host {UAS}", "-a", f"duration:{LIMIT_S:g}"]
    capture = [dumpcap, "-i", "lo", "-P", *only, "-w", str(path)]
    answer = [sipp, "-sn", "uas", "-i", UAS, "-p", str(PORT), "-m", str(CALLS), "-nostdin"]
    call = [sipp, f"{UAS}:{PORT}", "-sn", "uac", "-i", UAC, "-p", str(PORT), "-m", str(CALLS)]
    call += ["-s", "+16505550112", "-nostdin", "-timeout", "60"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": tmp_path}
    with (
        subprocess.Popen(capture, **pipes) as tap,  # type: ignore[call-overload]
        subprocess.Popen(answer, **pipes) as uas,  # type: ignore[call-overload]
    ):
        try:
            wait_for(tap, "File: ")
            wait_until_it_listens(uas, UAS, PORT)
            subprocess.run(call, timeout=LIMIT_S, check=True, capture_output=True, cwd=tmp_path)
            stop_after(tap, path, CALLS)
        finally:
            uas.kill()
            tap.kill()
    rows = our_rows(path)

    # A busy machine may repeat a message: each is counted once.
    sent = {(row["sip.Call-ID"], row["sip.CSeq.method"], row["sip.Status-Code"]) for row in rows}
    assert len(sent) == CALLS * MESSAGES_A_CALL
    assert len({row["sip.Call-ID"] for row in rows if row["sip.Method"] == "INVITE"}) == CALLS
    assert rows == tshark_rows(path)


def test_what_we_encode_is_what_tshark_reads(tmp_path: Path) -> None:
    """Names with ">", quotes and commas, parameters in URIs, several Via, bodies: all agree."""
    headers = (
        ("Via", f"SIP/2.0/UDP {UAC};branch=z9hG4bK2, SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
        ("v", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK0"),
        ("f", '"B > \\"b\\", c" <sip:+16505550112;npdi@192.0.2.1;user=phone>;x="a;b";tag=a'),
        ("To", "<sip:+16505550113@192.0.2.2>;tag=b"),
        ("i", "1@192.0.2.1"),
        ("CSeq", "0007  INVITE"),
        ("Content-Type", "text/plain"),
    )
    path = tmp_path / "ours.pcap"
    messages = (
        encode_request("INVITE", "sip:+16505550113@192.0.2.2;user=phone", headers, b"a\r\n\r\nb"),
        encode_response(302, "Moved Temporarily", headers),
        encode_response(486, "Bes\u00e9", headers, b"x"),
    )
    with CaptureWriter(path) as writer:
        for number, message in enumerate(messages):
            frame = encode_udp(Endpoint(UAC, PORT), Endpoint(UAS, PORT), message)
            writer.write(1_700_000_000_000_000_000 + number, frame)

    assert our_rows(path) == tshark_rows(path)
