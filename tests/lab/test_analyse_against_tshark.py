"""What the analysis counts is what tshark counts: INVITEs, calls, RTP packets, loss and jitter."""

import re
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.rtp import RTP
from scapy.packet import Raw
from scapy.utils import PcapWriter

from harness.packets.capture_file import read
from harness.packets.frame import Endpoint, decode
from harness.packets.headers import NO_IP_ID
from harness.premises import Premises
from probetest.dataset import TapData, read_tap
from tests.lab.peers import LIMIT_S, need
from tests.lab.sipp import stop_after, wait_until_it_listens
from tests.sip_wire import PHONE as CALLER
from tests.sip_wire import Leg, Tape, dialog, rtp, sdp

pytestmark = pytest.mark.lab

SIPP = Path("/usr/share/sip-tester")
PHONE, FAR = "192.0.2.10", "198.51.100.20"
EPOCH_S = 1_700_000_000
ROUNDING_MS = 0.0006  # tshark prints three digits
_ROW = re.compile(
    r"\s*([\d.]+)\s+([\d.]+)\s+(\S+)\s+(\d+)\s+(\S+)\s+(\d+)\s+0x([0-9A-F]{8})\s+(.+?)\s+(\d+)\s+"
    r"(-?\d+) \(-?[\d.]+%\)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+(-?[\d.]+)\s+([\d.]+)\s+([\d.]+)"
)

Key = tuple[str, str, int]


def analyse(path: Path) -> TapData:
    """Return what we read."""
    return read_tap(read(path), Premises(), device="tap")


def tshark_streams(path: Path, *options: str) -> dict[Key, tuple[int, int, float]]:
    """Return tshark's packets, lost and highest jitter (ms) of each stream."""
    argv = [need("tshark", "tshark"), "-n", "-q", "-r", str(path), "-z", "rtp,streams"]
    argv += ["--enable-heuristic", "rtp_udp", *options]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    found = {}
    for line in run.stdout.splitlines():
        if row := _ROW.match(line):
            key = (f"{row[3]}:{row[4]}", f"{row[5]}:{row[6]}", int(row[7], 16))
            found[key] = (int(row[9]), int(row[10]), float(row[16]))
    return found


def our_streams(tap: TapData) -> dict[Key, tuple[int, int, float]]:
    """Return the same of ours."""
    return {
        (one.source, one.destination, one.ssrc): (one.packets, one.lost, one.jitter_max_ms or 0.0)
        for one in tap.streams
    }


def same(
    ours: dict[Key, tuple[int, int, float]], theirs: dict[Key, tuple[int, int, float]]
) -> None:
    """Hold every stream's counts to be equal, and jitter but for tshark's rounding."""
    counted = {key: row[:2] for key, row in ours.items()}
    assert counted == {key: row[:2] for key, row in theirs.items()}
    for key, row in ours.items():
        assert row[2] == pytest.approx(theirs[key][2], abs=ROUNDING_MS)


def write_streams(path: Path, seed: int, streams: int = 6, packets: int = 400) -> None:
    """Make streams with loss, late and repeated packets, jitter, and turning numbers."""
    dice = np.random.default_rng(seed)
    frames = []
    for number in range(streams):
        clock, kind = ((8000, 8), (8000, 0), (8000, 18))[number % 3]
        offset, first = int(dice.integers(0, 2**16)), int(dice.integers(0, 2**32))
        for place in range(packets):
            if dice.random() < 0.02 and place:
                continue
            late = 0.05 if dice.random() < 0.01 and place < packets - 5 else 0.0
            at = EPOCH_S + number * 0.003 + place * 0.02 + float(dice.normal(0, 0.001)) + late
            header = RTP(
                payload_type=kind,
                sequence=(offset + place) % 2**16,
                timestamp=(first + place * clock // 50) % 2**32,
                sourcesync=0x1000 + number,
            )
            packet = (
                Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
                / IP(src=PHONE, dst=FAR, id=len(frames) % 2**16)
                / UDP(sport=20_000 + 2 * number, dport=30_000 + 2 * number)
                / header
                / Raw(b"\xd5" * 160)
            )
            frames.append((at, packet))
    with PcapWriter(str(path), nano=True) as out:
        for at, packet in sorted(frames, key=lambda pair: pair[0]):
            packet.time = at
            out.write(packet)


@pytest.mark.parametrize("name", ["g711a.pcap", *(f"dtmf_2833_{key}.pcap" for key in range(10))])
def test_media_shipped_with_sipp_counts_as_tshark_counts(name: str) -> None:
    """Packets and lost packets of every stream, and of the sound its jitter."""
    need("sipp", "sip-tester")
    port = "udp.port==5000,rtp" if name == "g711a.pcap" else "udp.port==10000,rtp"
    theirs = tshark_streams(SIPP / name, "-d", port)
    tap = analyse(SIPP / name)
    ours = our_streams(tap)

    assert {key: row[:2] for key, row in ours.items()} == {k: row[:2] for k, row in theirs.items()}
    if name == "g711a.pcap":
        same(ours, theirs)
    else:
        assert [stream.digits for stream in tap.streams] == [name[10]]


@pytest.mark.parametrize("seed", range(8))
def test_damaged_media_counts_as_tshark_counts(tmp_path: Path, seed: int) -> None:
    """With loss, late packets and turning numbers: packets, lost, and the highest jitter."""
    path = tmp_path / "media.pcap"
    write_streams(path, seed)

    same(our_streams(analyse(path)), tshark_streams(path))


def test_a_late_last_packet_is_where_tshark_differs(tmp_path: Path) -> None:
    """The highest number counts (RFC 3550 A.3); tshark takes that of the last packet."""
    tape = Tape()
    here, there = Endpoint(PHONE, 20_000), Endpoint(FAR, 30_000)
    for place, number in enumerate([*range(18), 19, 18]):
        tape.udp(20 * place, here, there, rtp(number, 160 * number))
    path = tmp_path / "late.pcap"
    path.write_bytes(tape.data())
    (theirs,) = tshark_streams(path).values()
    (stream,) = analyse(path).streams

    assert (stream.expected, stream.lost, stream.reordered) == (20, 0, 1)
    assert theirs[:2] == (20, -1)


def fields(path: Path, shown: str, *names: str) -> list[tuple[str, ...]]:
    """Return fields of the frames that tshark shows; of several in a frame all, apart."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-Y", shown, "-T", "fields"]
    for name in names:
        argv += ["-e", name]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    rows = []
    for line in run.stdout.splitlines():
        rows += list(zip(*(cell.split(",") for cell in line.split("\t")), strict=True))
    return rows


def held_to_tshark(path: Path) -> TapData:
    """Return our reading, its INVITEs and Call-IDs held to those of tshark."""
    tap = analyse(path)
    invites = fields(path, 'sip.Method == "INVITE"', "sip.Call-ID", "sip.CSeq.seq")
    assert tap.waterfall.invites == len(invites) > 0
    assert {call.call_id for call in tap.calls} == {call_id for call_id, _ in invites}
    messages = fields(path, "sip", "sip.Call-ID")
    assert tap.waterfall.sip_messages == len(messages)
    return tap


def test_invites_and_call_ids_are_those_of_tshark(tmp_path: Path) -> None:
    """Forty calls, some with a retransmission, over UDP."""
    tape = Tape()
    for number in range(40):
        leg = Leg(call_id=f"{number}@192.0.2.10", branch=f"z9hG4bK-{number}")
        dialog(tape, number * 5_000, leg)
        if number % 4 == 0:
            tape.udp(number * 5_000 + 50, CALLER, CALLER, b"\r\n\r\n")
            tape.frames.append((tape.frames[-8][0] + 60_000_000, tape.frames[-8][1]))
    path = tmp_path / "calls.pcap"
    path.write_bytes(tape.data())
    tap = held_to_tshark(path)

    assert len(tap.calls) == 40
    assert tap.waterfall.retransmissions == 10


def test_ip_id_and_time_to_live_are_those_of_tshark(tmp_path: Path) -> None:
    """What tells a copy from a repetition is read right, of IPv6 as far as it has it."""
    tape = Tape()
    for ip_id, ttl in ((0, 64), (65_535, 1), (258, 255)):
        tape.udp(ip_id, CALLER, CALLER, b"x" * 20, ip_id=ip_id, ttl=ttl)
    six = Endpoint("2001:db8::1", 5060)
    tape.udp(9, six, six, b"x" * 20)
    path = tmp_path / "ids.pcap"
    path.write_bytes(tape.data())
    datagrams = decode(read(path))
    theirs = [(int(i, 16), int(t)) for i, t in fields(path, "ip", "ip.id", "ip.ttl")]
    hops = [(NO_IP_ID, int(limit)) for (limit,) in fields(path, "ipv6", "ipv6.hlim")]

    assert list(zip(datagrams.ip_id.tolist(), datagrams.ttl.tolist(), strict=True)) == theirs + hops


def test_sip_over_tcp_and_vlan_counts_as_tshark_counts(tmp_path: Path) -> None:
    """Messages cut at odd places into tagged segments, several in one, one over three."""
    legs = [Leg(call_id=f"t{number}", branch=f"z9hG4bK-{number}") for number in range(12)]
    data = b"".join(leg.request(body=sdp(CALLER)) for leg in legs)
    path = tmp_path / "tcp.pcap"
    cuts = [0, 100, 1200, 1300, 2700, 2710, len(data)]
    base = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=7)
    base /= IP(src=PHONE, dst=FAR)
    with PcapWriter(str(path), nano=True) as out:
        syn = base / TCP(sport=40_000, dport=5060, seq=999, flags="S")
        syn.time = EPOCH_S
        out.write(syn)
        for number, (start, end) in enumerate(pairwise(cuts)):
            part = TCP(sport=40_000, dport=5060, seq=1000 + start, ack=1, flags="PA")
            packet = base / part / Raw(data[start:end])
            packet.time = EPOCH_S + 1 + number
            out.write(packet)
    tap = held_to_tshark(path)

    assert Counter(call.call_id for call in tap.calls) == Counter(leg.call_id for leg in legs)


def test_a_call_of_sipp_with_its_sound_is_read_whole(tmp_path: Path) -> None:
    """SIPp plays g711a.pcap into a call over loopback: one call, and its stream, as tshark sees."""
    sipp, dumpcap = need("sipp", "sip-tester"), need("dumpcap", "tshark")
    uas, uac, port = "127.0.7.1", "127.0.7.2", 5060
    scenario = tmp_path / "play.xml"
    scenario.write_text(_scenario())
    path = tmp_path / "live.pcap"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": tmp_path}
    only = [
        "-i",
        "lo",
        "-P",
        "-f",
        f"host {uas} and udp",
        "-a",
        f"duration:{LIMIT_S:g}",
        "-w",
        str(path),
    ]
    answer = [sipp, "-sn", "uas", "-i", uas, "-p", str(port), "-m", "1", "-mp", "16100"]
    answer.append("-nostdin")
    call = [sipp, f"{uas}:{port}", "-sf", str(scenario), "-i", uac, "-p", str(port), "-m", "1"]
    call += ["-mi", uac, "-mp", "16000", "-s", "+16505550113", "-nostdin", "-timeout", "60"]
    with (
        subprocess.Popen([dumpcap, *only], **pipes) as tap,  # type: ignore[call-overload]
        subprocess.Popen(answer, **pipes) as server,  # type: ignore[call-overload]
    ):
        try:
            assert tap.stdout is not None
            for line in tap.stdout:
                if "File: " in line:
                    break
            wait_until_it_listens(server, uas, port)
            subprocess.run(call, timeout=LIMIT_S, check=True, capture_output=True, cwd=tmp_path)
            stop_after(tap, path, 1)
        finally:
            server.kill()
            tap.kill()
    found = held_to_tshark(path)
    (one,) = found.calls

    assert (one.destination, one.status) == ("+16505550113", 200)
    same(our_streams(found), tshark_streams(path))
    assert [(stream.packets, stream.found_by) for stream in found.streams] == [(236, "SDP")]


def _scenario() -> str:
    """Return a caller that plays SIPp's own sample."""
    return f"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="play">
<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+16505550112@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: sip:+16505550112@[local_ip]:[local_port]
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200"/>
<send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+16505550112@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0
]]></send>
<nop><action><exec play_pcap_audio="{SIPP / "g711a.pcap"}"/></action></nop>
<pause milliseconds="10000"/>
<send retrans="500"><![CDATA[
BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+16505550112@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0
]]></send>
<recv response="200"/>
</scenario>
"""
