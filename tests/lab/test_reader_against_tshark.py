"""Our columns are tshark's fields, frame by frame, for shipped, made and live captures."""

import os
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from harness.errors import InputError
from harness.packets.capture import encode_file_header, encode_record, parse
from harness.packets.capture_file import CaptureWriter, read
from harness.packets.frame import ACK, FIN, PSH, SYN, Endpoint, decode, encode_tcp, encode_udp
from harness.packets.tcp_stream import reassemble
from tests.lab.peers import need

pytestmark = pytest.mark.lab

AT_NS = 1_700_000_000_123_456_789
SIPP = Path("/usr/share/sip-tester")
NAMES = (
    *("frame.time_epoch", "frame.cap_len", "frame.len"),
    *("ip.src", "ip.dst", "ipv6.src", "ipv6.dst"),
    *("udp.srcport", "udp.dstport", "udp.payload"),
    *("tcp.srcport", "tcp.dstport", "tcp.payload", "tcp.seq_raw", "tcp.flags"),
)
A4, B4 = "192.0.2.1", "198.51.100.2"
A6, B6 = "2001:db8::1", "2001:db8::2"
V4 = IP(src=A4, dst=B4)
V6 = IPv6(src=A6, dst=B6)
SIP = UDP(sport=5060, dport=5062) / Raw(b"OPTIONS sip:probe@example.com SIP/2.0\r\n\r\n")
TINY = UDP(sport=5060, dport=5062) / Raw(b"ab")
TLS = TCP(sport=5061, dport=40_000, seq=4_000_000_000, flags="PA") / Raw(b"signalling")


def tshark_rows(path: Path) -> list[dict[str, str]]:
    """Return tshark's fields of every frame; IP fragments stay apart, as here."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    for name in NAMES:
        argv += ["-e", name]
    for setting in ("ip.defragment", "ipv6.defragment", "tcp.desegment_tcp_streams"):
        argv += ["-o", f"{setting}:FALSE"]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    rows = [line.split("|") for line in run.stdout.splitlines()]
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def our_rows(path: Path) -> list[dict[str, str]]:
    """Return the same fields, read here; empty where a frame is no datagram."""
    capture = read(path)
    assert capture.cut is None
    datagrams = decode(capture)
    rows = [dict.fromkeys(NAMES, "") for _ in range(len(capture))]
    for number, row in enumerate(rows):
        seconds, fraction = divmod(int(capture.at_ns[number]), 10**9)
        row["frame.time_epoch"] = f"{seconds}.{fraction:09}"
        row["frame.cap_len"] = str(capture.captured_bytes[number])
        row["frame.len"] = str(capture.original_bytes[number])
    for place in range(len(datagrams)):
        row = rows[int(datagrams.frame[place]) - 1]
        ip = "ip" if datagrams.ipv4[place] else "ipv6"
        kind = "udp" if datagrams.protocol[place] == 17 else "tcp"
        source, destination = datagrams.source(place), datagrams.destination(place)
        row[f"{ip}.src"], row[f"{ip}.dst"] = source.address, destination.address
        row[f"{kind}.srcport"], row[f"{kind}.dstport"] = str(source.port), str(destination.port)
        row[f"{kind}.payload"] = datagrams.payload(place).hex()
        if kind == "tcp":
            row["tcp.seq_raw"] = str(datagrams.tcp_sequence[place])
            row["tcp.flags"] = f"0x{datagrams.tcp_flags[place]:04x}"
    return rows


def write(path: Path, linktype: int, *frames: bytes) -> Path:
    """Return the path of a new capture with these frames."""
    with CaptureWriter(path, linktype=linktype) as writer:
        for number, frame in enumerate(frames):
            writer.write(AT_NS + number, frame)
    return path


@pytest.mark.parametrize(
    "name",
    [*(f"dtmf_2833_{key}.pcap" for key in (*range(10), "pound", "star")), "g711a.pcap"],
)
def test_capture_shipped_with_sipp_is_read_as_tshark_reads_it(name: str) -> None:
    """Count, times to the nanosecond, addresses, ports and payloads are equal."""
    need("sipp", "sip-tester")
    found = our_rows(SIPP / name)

    assert found == tshark_rows(SIPP / name)
    assert found[0]["udp.payload"]


def ether(packet: Packet) -> bytes:
    """Return *packet* in an Ethernet frame."""
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet)


def sll(packet: Packet, ethertype: int) -> bytes:
    """Return *packet* as tcpdump -i any wrote it until 2020."""
    return struct.pack(">HHH8sH", 0, 1, 6, bytes(8), ethertype) + bytes(packet)


def sll2(packet: Packet, ethertype: int) -> bytes:
    """Return *packet* as tcpdump -i any writes it."""
    return struct.pack(">HHIHBB8s", ethertype, 0, 2, 1, 0, 6, bytes(8)) + bytes(packet)


ODD = {
    "plain": (1, ether(V4 / SIP)),
    "plain6": (1, ether(V6 / SIP)),
    "tcp": (1, ether(V4 / TLS)),
    "tcp6": (1, ether(V6 / TLS)),
    "tcp-options": (
        1,
        ether(V4 / TCP(sport=1, dport=2, options=[("MSS", 9), ("WScale", 7)]) / b"x"),
    ),
    "vlan": (1, ether(Dot1Q(vlan=7) / V4 / SIP)),
    "qinq": (1, ether(Dot1AD(vlan=7) / Dot1Q(vlan=8) / V4 / SIP)),
    "qinq-9100": (
        1,
        ether(Raw(b"\0\7\x81\0\0\x08\x08\0") / V4 / SIP)[:12]
        + b"\x91\0"
        + ether(Raw(b"\0\7\x81\0\0\x08\x08\0") / V4 / SIP)[14:],
    ),
    "four-tags": (1, ether(Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() / V6 / SIP)),
    "ip-options": (1, ether(IP(src=A4, dst=B4, options=[IPOption_Router_Alert()]) / SIP)),
    "padding": (1, ether(V4 / TINY) + bytes(18)),
    "padding6": (1, ether(V6 / TINY) + b"\xff" * 18),
    "tcp-padding": (1, ether(V4 / TCP(sport=1, dport=2, flags="A")) + bytes(6)),
    "hop-by-hop": (1, ether(V6 / IPv6ExtHdrHopByHop() / SIP)),
    "all-extensions": (
        1,
        ether(V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / TLS),
    ),
    "atomic-fragment": (1, ether(V6 / IPv6ExtHdrFragment(offset=0, m=0, id=9) / SIP)),
    "raw": (101, bytes(V4 / SIP)),
    "raw6": (101, bytes(V6 / SIP)),
    "ipv4": (228, bytes(V4 / SIP)),
    "ipv6": (229, bytes(V6 / SIP)),
    "null-little": (0, b"\x02\0\0\0" + bytes(V4 / SIP)),
    "null-big": (0, b"\0\0\0\x02" + bytes(V4 / SIP)),
    "null-macos": (0, b"\x1e\0\0\0" + bytes(V6 / SIP)),
    "loop": (108, b"\0\0\0\x18" + bytes(V6 / SIP)),
    "sll": (113, sll(V4 / SIP, 0x0800)),
    "sll-vlan": (113, sll(Dot1Q(vlan=3) / V6 / SIP, 0x8100)),
    "sll2": (276, sll2(V6 / SIP, 0x86DD)),
    "empty-datagram": (1, ether(V4 / UDP(sport=9, dport=10))),
    "dns": (1, ether(V4 / UDP(sport=53, dport=5353) / DNS(qd=DNSQR(qname="e164.arpa", qtype=35)))),
}


@pytest.mark.parametrize(("linktype", "frame"), ODD.values(), ids=ODD.keys())
def test_odd_frame_is_read_as_tshark_reads_it(tmp_path: Path, linktype: int, frame: bytes) -> None:
    """Every wrapping gives tshark's endpoints and payload."""
    path = write(tmp_path / "odd.pcap", linktype, frame)
    found = our_rows(path)

    assert found == tshark_rows(path)
    assert found[0]["udp.srcport"] or found[0]["tcp.srcport"]


def test_snapshot_length_leaves_what_tshark_shows(tmp_path: Path) -> None:
    """Of a frame that was cut in its payload, ports and the captured part are read."""
    frame = ether(V4 / SIP)
    head = struct.pack("<IIII", 1, 2, 60, len(frame))
    path = tmp_path / "cut.pcap"
    path.write_bytes(encode_file_header(1) + head + frame[:60])
    datagrams = decode(read(path))

    assert our_rows(path) == tshark_rows(path)
    assert (datagrams.payload(0), datagrams.complete.tolist()) == (frame[42:60], [False])


def test_frames_that_are_no_datagrams_are_counted_as_tshark_counts_them(tmp_path: Path) -> None:
    """ARP and ICMP are undecoded, parts of IP packets are put together; numbers stay tshark's."""
    long = bytes(V4 / UDP(sport=5060, dport=5062) / Raw(bytes(1200)))
    parts = [bytes(part) for part in IP(long).fragment(800)]
    parts6 = [
        bytes(V6 / IPv6ExtHdrFragment(offset=n, m=1 - n, nh=17) / Raw(b"x" * 8)) for n in (0, 1)
    ]
    frames = [ether(Raw(part))[:12] + b"\x08\0" + part for part in parts]
    frames += [ether(Raw(part))[:12] + b"\x86\xdd" + part for part in parts6]
    frames += [ether(ARP(pdst=A4)), ether(V4 / ICMP()), ether(V4 / SIP)]
    path = write(tmp_path / "mixed.pcap", 1, *frames)
    datagrams = decode(read(path))
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields", "-e", "frame.number"]
    shown = "ip.flags.mf==1 || ip.frag_offset > 0 || ipv6.fraghdr"
    run = subprocess.run([*argv, "-Y", shown], capture_output=True, text=True, check=True)

    assert datagrams.fragments == len(run.stdout.split()) == len(parts) + 2
    assert datagrams.undecoded == 2
    assert datagrams.frame.tolist() == [len(parts), len(parts) + 2, len(frames)]


@pytest.mark.parametrize("container", ["pcap", "nsecpcap", "pcapng"])
def test_container_does_not_change_what_is_read(tmp_path: Path, container: str) -> None:
    """The same frames in each format that editcap writes give tshark's rows of that file."""
    plain = write(tmp_path / "in.pcap", 1, *(frame for link, frame in ODD.values() if link == 1))
    made = tmp_path / "out"
    argv = [need("editcap", "tshark"), "-F", container, str(plain), str(made)]
    subprocess.run(argv, check=True, timeout=60)

    assert our_rows(made) == tshark_rows(made)


def test_merged_pcapng_keeps_each_link_type(tmp_path: Path) -> None:
    """A pcapng with an interface for each of seven link types is read frame by frame."""
    links = sorted({link for link, _ in ODD.values()})
    files = [
        write(tmp_path / f"{link}.pcap", link, *(f for number, f in ODD.values() if number == link))
        for link in links
    ]
    made = tmp_path / "merged.pcapng"
    argv = [need("mergecap", "tshark"), "-F", "pcapng", "-a", "-w", str(made), *map(str, files)]
    subprocess.run(argv, check=True, timeout=60)

    found = our_rows(made)
    assert found == tshark_rows(made)
    assert len(found) == len(ODD)


def test_modified_pcap_is_named_as_the_manual_names_it(tmp_path: Path) -> None:
    """What editcap calls modpcap is refused with its magic number and the way out."""
    plain = write(tmp_path / "in.pcap", 1, ODD["plain"][1])
    made = tmp_path / "modified.pcap"
    argv = [need("editcap", "tshark"), "-F", "modpcap", str(plain), str(made)]
    subprocess.run(argv, check=True, timeout=60)

    with pytest.raises(InputError, match=r"0xa1b2cd34.*editcap -F pcapng"):
        read(made)


@pytest.mark.parametrize("version", [4, 6])
def test_encoded_packets_have_checksums_that_tshark_accepts(tmp_path: Path, version: int) -> None:
    """IP, UDP and TCP checksums are right, for odd and even lengths and a sum of zero."""
    hosts = (A4, B4) if version == 4 else (A6, B6)
    source, destination = Endpoint(hosts[0], 5060), Endpoint(hosts[1], 5062)
    packets = [encode_udp(source, destination, b"x" * size) for size in range(5)]
    packets += [encode_udp(source, destination, struct.pack(">H", n)) for n in range(65_536)][::997]
    numbers = {"sequence": 2**32 - 1, "acknowledgement": 7}
    packets += [encode_tcp(source, destination, b"y" * 3, flags=PSH | ACK, **numbers)]
    path = write(tmp_path / "sums.pcap", 101, *packets)
    names = ("ip.checksum.status", "udp.checksum.status", "tcp.checksum.status")
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields"]
    for name in names:
        argv += ["-e", name, "-o", f"{name.split('.')[0]}.check_checksum:TRUE"]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    ip = "1" if version == 4 else ""

    assert run.stdout.splitlines() == [f"{ip}\t1\t"] * (len(packets) - 1) + [f"{ip}\t\t1"]
    assert our_rows(path) == tshark_rows(path)


def test_streams_are_those_that_tshark_follows(tmp_path: Path) -> None:
    """Reordered, repeated and overlapping segments over the turn of numbers give tshark's bytes."""
    client, server = Endpoint("127.0.0.1", 40_000), Endpoint("127.0.0.2", 5060)
    first = 2**32 - 6
    asked = b"OPTIONS sip:probe@example.com SIP/2.0\r\n\r\n"
    steps = [
        (client, first - 1, SYN, b""),
        (server, 99, SYN | ACK, b""),
        (client, first, ACK, asked[:10]),
        (client, first + 20, ACK, asked[20:]),
        (client, first, ACK, asked[:10]),
        (client, first + 5, PSH | ACK, asked[5:25]),
        (server, 100, PSH | ACK, b"SIP/2.0 200 OK\r\n\r\n"),
        (client, first + len(asked), FIN | ACK, b""),
    ]
    packets = []
    for source, sequence, flags, payload in steps:
        other = server if source == client else client
        packets.append(
            encode_tcp(source, other, payload, sequence=sequence, acknowledgement=0, flags=flags)
        )
    path = write(tmp_path / "tcp.pcap", 101, *packets)
    argv = [need("tshark", "tshark"), "-n", "-q", "-r", str(path), "-z", "follow,tcp,raw,0"]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    lines = [line for line in run.stdout.splitlines() if set(line) <= set("\t0123456789abcdef")]
    theirs = ["".join(x for x in lines if not x.startswith("\t"))]
    theirs.append("".join(x.strip() for x in lines if x.startswith("\t")))

    streams = reassemble(decode(read(path)))
    assert [stream.data.hex() for stream in streams] == theirs
    assert [stream.gap for stream in streams] == [None, None]


@pytest.mark.parametrize(("interface", "linktype"), [("lo", 1), ("any", 276)])
def test_what_was_sent_is_what_tcpdump_lets_us_read(
    tmp_path: Path, interface: str, linktype: int
) -> None:
    """Datagrams through the kernel come back whole, from the endpoints that sent them."""
    tcpdump = need("tcpdump", "tcpdump")
    if os.geteuid() != 0:
        pytest.skip("tcpdump needs root here: run the lab with sudo")
    path = tmp_path / "live.pcap"
    payloads = [b"one", b"", b"z" * 9_000]
    with (
        socket.socket(type=socket.SOCK_DGRAM) as receiver,
        socket.socket(type=socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        sender.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        options = ["--time-stamp-precision=nano", "-Z", "root", "-U", "-c", str(len(payloads))]
        argv = [tcpdump, "-n", "-i", interface, *options, "-w", str(path), f"udp dst port {port}"]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as live:
            assert live.stderr is not None
            while "listening on" not in (line := live.stderr.readline()):
                assert line, "tcpdump ended before it listened"
            for payload in payloads:
                sender.sendto(payload, ("127.0.0.1", port))
            live.communicate(timeout=30)
        datagrams = decode(read(path))

    assert [datagrams.payload(row) for row in range(len(datagrams))] == payloads
    assert datagrams.capture.linktype.tolist() == [linktype] * len(payloads)
    assert datagrams.complete.all()
    assert datagrams.destination(0) == Endpoint("127.0.0.1", port)
    assert our_rows(path) == tshark_rows(path)


def test_datagram_shorter_than_its_packet_is_what_the_kernel_delivers() -> None:
    """UDP's own length ends the payload (tshark shows the bytes after it as payload too)."""
    if os.geteuid() != 0:
        pytest.skip("a raw socket needs root: run the lab with sudo")
    with (
        socket.socket(type=socket.SOCK_DGRAM) as receiver,
        socket.socket(type=socket.SOCK_RAW, proto=socket.IPPROTO_RAW) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        port = receiver.getsockname()[1]
        packets = [
            bytes(IP(src="127.0.0.1", dst="127.0.0.1") / UDP(dport=port, len=n, chksum=0) / b"abcd")
            for n in (0, 7, 13, 10)  # the first three are lies, and not delivered
        ]
        for packet in packets:
            sender.sendto(packet, ("127.0.0.1", port))
        delivered = receiver.recv(100)

    records = b"".join(encode_record(AT_NS, packet) for packet in packets)
    datagrams = decode(parse(encode_file_header(101) + records))
    assert datagrams.complete.tolist() == [False, False, False, True]
    assert datagrams.payload(3) == delivered == b"ab"
