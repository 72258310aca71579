"""Capture scripts: what is refused, and the bytes that packets become."""

import sys
from pathlib import Path

import pytest

from harness.errors import InputError, ToolError
from harness.packets.capture import parse
from harness.packets.frame import decode
from probetest.cli import main
from probetest.script.build import build, parse_script
from probetest.script.container import ticks
from probetest.script.model import Script
from probetest.script.payload import payloads

ROOT = Path(__file__).parents[2]
HEAD = """
title = "t"
format = { start = 2025-03-04T10:00:00Z }
participants.a = { address = "192.0.2.10", mac = "02:00:00:00:00:10" }
participants.b = { address = "192.0.2.1", mac = "02:00:00:00:00:01" }
participants.six = { address = "2001:db8::1", mac = "02:00:00:00:00:06" }
calls.one = { call_id = "c@a", uri = "sip:+12125550142@b", from = "<sip:+16505550112@a>", to = "<sip:+12125550142@b>", from_tag = "f", to_tag = "t" }
bodies.text = "x=1\\n"
"""  # noqa: E501 - a TOML inline table has one line
SIP = 'at_ns = 0, kind = "sip", from = "a", to = "b", call = "one", cseq = "1 INVITE", branch = "1"'
FORM_NG = """{ start = 2025-03-04T10:00:00Z, container = "pcapng", interfaces = [
  { name = "x", resolution = "ns" }] }"""
RTP = (
    'at_ns = 0, kind = "rtp", from = "a", to = "b", ssrc = 1, payload_type = 0, sequence = 65535,'
    " timestamp = 4294967295, count = 3, gap_ns = 20_000_000, step = 160, payload_bytes = 2"
)


def script(packet: str, head: str = HEAD) -> Script:
    return parse_script(f"{head}packets = [{{ {packet} }}]", "s.toml")


def payload(packet: str) -> bytes:
    made = script(packet)
    ((_, found),) = payloads(made, made.packets[0])
    return found


def test_a_request_has_exactly_these_bytes() -> None:
    """Line ends are CRLF, To has no tag yet, and the length is that of the body in bytes."""
    packet = f'{SIP}, request = "INVITE", headers = ["X: y"], body = "text"'

    assert payload(packet).decode() == (
        "INVITE sip:+12125550142@b SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1\r\n"
        "Max-Forwards: 70\r\n"
        "From: <sip:+16505550112@a>;tag=f\r\n"
        "To: <sip:+12125550142@b>\r\n"
        "Call-ID: c@a\r\n"
        "CSeq: 1 INVITE\r\n"
        "X: y\r\n"
        "Content-Type: application/sdp\r\n"
        "Content-Length: 5\r\n"
        "\r\n"
        "x=1\r\n"
    )


def test_an_answer_has_the_via_of_who_asked() -> None:
    """A response goes to the sender of the request: its Via is that participant's."""
    text = payload(f'{SIP.replace("0, kind", "1, kind")}, response = "180 Ringing"').decode()

    assert "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n" in text  # a answers b
    assert "To: <sip:+12125550142@b>;tag=t\r\n" in text


def test_a_request_of_the_callee_has_the_ends_swapped() -> None:
    """In a dialog the called party is From in its own requests (RFC 3261 section 12.2.1.1)."""
    text = payload(f'{SIP}, request = "BYE", by_callee = true').decode()

    assert "From: <sip:+12125550142@b>;tag=t\r\n" in text
    assert "To: <sip:+16505550112@a>;tag=f\r\n" in text


@pytest.mark.parametrize(("response", "tagged"), [("100 Trying", False), ("486 Busy", True)])
def test_every_answer_but_100_has_a_to_tag(response: str, tagged: bool) -> None:
    """RFC 3261 section 8.2.6.2."""
    assert (b";tag=t" in payload(f'{SIP}, response = "{response}"')) is tagged


def test_rtp_counts_up_and_wraps_round() -> None:
    """Sequence numbers have 16 bits, time stamps 32; the first packet has the marker."""
    made = script(RTP)
    found = payloads(made, made.packets[0])

    assert [(at_ns, data.hex()) for at_ns, data in found] == [
        (0, "8080ffffffffffff000000010001"),
        (20_000_000, "800000000000009f000000010001"),
        (40_000_000, "800000010000013f000000010001"),
    ]


def test_lost_and_late_packets_keep_their_numbers() -> None:
    """What is lost is only not there; what is late comes later, and nothing else moves."""
    made = script(f"{RTP}, lost = [1], late = {{ 0 = 45_000_000 }}, jitter_ns = [0, 0, 7]")
    found = payloads(made, made.packets[0])

    assert [(at_ns, data[2:4].hex()) for at_ns, data in found] == [
        (45_000_000, "ffff"),
        (40_000_007, "0001"),
    ]


def test_an_event_ends_three_times() -> None:
    """Updates grow by the step; the end has its bit, one duration, and numbers that count on."""
    made = script(
        'at_ns = 0, kind = "dtmf", from = "a", to = "b", digit = "#", ssrc = 1, sequence = 9,'
        " timestamp = 7, updates = 2, gap_ns = 1, step = 160"
    )
    found = [data.hex() for _, data in payloads(made, made.packets[0])]

    assert found == [
        "80e500090000000700000001" + "0b0a00a0",
        "8065000a0000000700000001" + "0b0a0140",
        "8065000b0000000700000001" + "0b8a01e0",
        "8065000c0000000700000001" + "0b8a01e0",
        "8065000d0000000700000001" + "0b8a01e0",
    ]


def test_what_is_sent_again_is_a_new_ip_packet() -> None:
    """A repetition has the next IP id, a copy of the tap has the same."""
    copied = "copies = [{ after_ns = 5 }]"
    made = script(f'{SIP}, request = "INVITE", again_ns = [500], {copied}')
    capture = parse(build(made), name="made")
    offsets = capture.offset_bytes + 14 + 4  # Ethernet, then the place of the IP id
    ids = [int.from_bytes(capture.data[at : at + 2].tobytes()) for at in offsets]

    assert (capture.at_ns - capture.at_ns[0]).tolist() == [0, 5, 500, 505]
    assert ids == [1, 1, 2, 2]


def test_tcp_counts_what_was_sent() -> None:
    """SYN and FIN count one, data its bytes; the acknowledgement is what the other side sent."""
    messages = 'messages = [{ call = "one", request = "ACK", cseq = "1 ACK", branch = "1" }]'
    lines = (
        'at_ns = 0, kind = "tcp", from = "a", to = "b", flags = "S"',
        'at_ns = 1, kind = "tcp", from = "b", to = "a", flags = "SA"',
        f'at_ns = 2, kind = "tcp", from = "a", to = "b", cut_bytes = [10], gap_ns = 1, {messages}',
    )
    made = parse_script(HEAD + "packets = [" + ", ".join(f"{{ {line} }}" for line in lines) + "]")
    rows = decode(parse(build(made), name="made"))

    assert rows.tcp_sequence.tolist() == [1000, 1000, 1001, 1011]
    assert rows.tcp_flags.tolist() == [0x02, 0x12, 0x18, 0x18]
    assert rows.payload(2) == b"ACK sip:+1"


def test_a_script_gives_the_same_bytes_again() -> None:
    """Nothing in a capture comes from the machine or the moment."""
    made = script(f'{SIP}, request = "INVITE"')

    assert build(made) == build(made)


REFUSED = {
    "a field that does not exist": (f'{SIP}, request = "INVITE", colour = 1', "colour"),
    "neither request nor response": (SIP, "either request or response"),
    "both": (f'{SIP}, request = "A", response = "200 OK"', "either request or response"),
    "an unknown participant": (
        f'{SIP}, request = "ACK"'.replace('from = "a"', 'from = "c"'),
        "no participant 'c'",
    ),
    "an unknown call": (f'{SIP}, request = "A"'.replace('"one"', '"two"'), "no call 'two'"),
    "an unknown body": (f'{SIP}, request = "A", body = "b"', "no body 'b'"),
    "an interface that is not there": (f'{SIP}, request = "A", interface = 1', "no interface 1"),
    "a copy to nowhere": (
        f'{SIP}, request = "A", copies = [{{ after_ns = 1, interface = 2 }}]',
        "no interface 2",
    ),
    "a packet lost that was never sent": (f"{RTP}, lost = [3]", "there is no packet 3"),
    "hexadecimal that is none": ('at_ns = 0, kind = "raw", hex = "0"', "pairs of hexadecimal"),
    "a time before the start": ('at_ns = -1, kind = "raw", hex = "00"', "greater than or equal"),
}


@pytest.mark.parametrize(("packet", "why"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_script_is_refused(packet: str, why: str) -> None:
    """The error names the file and what is wrong; nothing is built from a part of a script."""
    with pytest.raises(InputError, match=why) as caught:
        script(packet)

    assert caught.value.file == "s.toml"


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("{ start = 2025-03-04T10:00:00 }", "with their zone"),
        ("{ start = 2025-03-04T10:00:00.5Z }", "whole seconds"),
        ('{ start = 2025-03-04T10:00:00Z, container = "pcapng" }', "belong to a pcapng"),
        (
            FORM_NG.replace('"ns"', '"2^-40"'),
            "not a resolution",
        ),
    ],
)
def test_a_wrong_format_is_refused(form: str, why: str) -> None:
    """A start without a zone would be another moment on each machine."""
    head = HEAD.replace("{ start = 2025-03-04T10:00:00Z }", form)

    with pytest.raises(InputError, match=why):
        script('at_ns = 0, kind = "raw", hex = "00"', head)


def test_an_address_in_long_form_is_refused() -> None:
    """One address has one spelling."""
    with pytest.raises(InputError, match="not its shortest form"):
        script('at_ns = 0, kind = "raw", hex = "00"', HEAD.replace("2001:db8::1", "2001:db8:0::1"))


def test_a_time_that_the_file_cannot_hold_is_refused() -> None:
    """Rounding would make a capture that its script does not describe."""
    head = HEAD.replace("start", 'resolution = "us", start')

    with pytest.raises(InputError, match="not a whole number of us"):
        build(script('at_ns = 1_500, kind = "raw", hex = "00"', head))


@pytest.mark.parametrize(
    ("at_ns", "resolution", "count"),
    [(3_000_000, "ms", 3), (5, "ns", 5), (1_953_125, "2^-9", 1), (500_000_000, "2^-1", 1)],
)
def test_ticks_are_exact(at_ns: int, resolution: str, count: int) -> None:
    """If_tsresol counts in powers of ten or of two (draft-ietf-opsawg-pcapng section 4.2)."""
    assert ticks(at_ns, resolution) == count


def test_segments_are_cut_inside_the_messages() -> None:
    """A cut at the end, or before the one ahead of it, would make an empty segment."""
    message = '{ call = "one", request = "ACK", cseq = "1 ACK", branch = "1" }'
    line = f'at_ns = 0, kind = "tcp", from = "a", to = "b", messages = [{message}], cut_bytes ='

    for cuts in ("[20, 10]", "[99999]", "[0]"):
        with pytest.raises(InputError, match="not ascending places"):
            build(script(f"{line} {cuts}"))


def test_a_packet_from_one_ip_version_to_the_other_is_refused() -> None:
    """There is no such packet."""
    with pytest.raises(InputError, match="IPv4 to IPv6"):
        build(script('at_ns = 0, kind = "udp", from = "a", to = "six", hex = "00"'))


def test_without_scapy_the_way_to_get_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scapy is an extra: everything but the making of captures works without it."""
    monkeypatch.setitem(sys.modules, "scapy.layers.l2", None)

    with pytest.raises(ToolError, match=r"pip install 'fst-harness\[generate\]'"):
        build(script('at_ns = 0, kind = "raw", hex = "00"'))


def test_scapy_has_one_home() -> None:
    """No other module of the project imports it: it is GPL, and slow to load."""
    packages = ("harness", "enumtest", "probetest", "hasync", "fst")
    files = [path for name in packages for path in (ROOT / name).rglob("*.py")]
    naming = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if "import scapy" in (text := path.read_text()) or "from scapy" in text or '"scapy' in text
    }

    assert naming <= {"probetest/script/build.py"}


def test_make_writes_a_capture_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path is printed; an existing file is never touched."""
    source, target = tmp_path / "s.toml", tmp_path / "c.pcap"
    source.write_text(HEAD + 'packets = [{ at_ns = 0, kind = "raw", hex = "00" }]')

    assert main(["make", str(source), "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    first = target.read_bytes()
    assert main(["make", str(source), "-o", str(target)]) == 2
    assert "File exists" in capsys.readouterr().err
    assert target.read_bytes() == first


def test_make_refuses_what_is_no_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and the file is named: missing, no text, no TOML."""
    target = tmp_path / "c.pcap"
    for name, data in (("gone", None), ("bytes", b"\xff"), ("text", b"[")):
        source = tmp_path / name
        if data is not None:
            source.write_bytes(data)
        assert main(["make", str(source), "-o", str(target)]) == 2
        assert f"probetest: {source}" in capsys.readouterr().err

    assert not target.exists()
