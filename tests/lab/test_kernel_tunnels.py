"""Frames that a kernel wrapped itself are read: tagged, tunnelled, and in parts.

Two network namespaces of the test are joined by a cable, with a tunnel over it; datagrams are sent
through the tunnel, and tcpdump watches the cable. A kind that this kernel was built without is
skipped, and named.
"""

import asyncio
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.packets.capture_file import read
from harness.packets.frame import Datagrams, Endpoint, decode
from tests.lab.peers import Process, need, need_root, start, until

pytestmark = pytest.mark.lab

SHORT = b"OPTIONS sip:+12125550142@192.0.2.2 SIP/2.0\r\n\r\n"
LONG = b"".join(b"%05d" % number for number in range(500))  # 2500 bytes, more than a frame has
SENDER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as out:
    out.bind((sys.argv[1], 5062))
    for text in sys.argv[3:]:
        out.sendto(text.encode(), (sys.argv[2], 5060))
"""
_ENDS = ("local", "203.0.113.{me}", "remote", "203.0.113.{peer}")
_ENDS6 = ("local", "2001:db8:1::{me}", "remote", "2001:db8:1::{peer}")
KINDS: dict[str, list[tuple[str, ...]]] = {  # `ip link add …` at either end; the last is spoken on
    "vlan": [("link", "cable", "name", "inner", "type", "vlan", "id", "7")],
    "qinq": [
        ("link", "cable", "name", "middle", "type", "vlan", "proto", "802.1ad", "id", "7"),
        ("link", "middle", "name", "inner", "type", "vlan", "id", "8"),
    ],
    "vxlan": [("name", "inner", "type", "vxlan", "id", "42", *_ENDS, "dstport", "4789")],
    "vxlan-8472": [("name", "inner", "type", "vxlan", "id", "42", *_ENDS, "dstport", "8472")],
    "vxlan-over-ipv6": [
        ("name", "inner", "mtu", "1400", "type", "vxlan", "id", "42", *_ENDS6, "dstport", "4789")
    ],
    "vxlan-long-frames": [  # the outer packets are cut up, not the inner ones
        ("name", "inner", "mtu", "4000", "type", "vxlan", "id", "42", *_ENDS, "dstport", "4789")
    ],
    "vxlan-policy": [
        ("name", "inner", "type", "vxlan", "id", "42", *_ENDS, "dstport", "4789", "gbp")
    ],
    "vlan-in-vxlan": [
        ("name", "middle", "type", "vxlan", "id", "42", *_ENDS, "dstport", "4789"),
        ("link", "middle", "name", "inner", "type", "vlan", "id", "7"),
    ],
    "geneve": [("name", "inner", "type", "geneve", "id", "42", "remote", "203.0.113.{peer}")],
    "gre": [("name", "inner", "type", "gre", *_ENDS, "ttl", "64")],
    "gre-key": [("name", "inner", "type", "gre", *_ENDS, "ttl", "64", "key", "9", "csum", "seq")],
    "gre-ethernet": [("name", "inner", "type", "gretap", *_ENDS, "ttl", "64")],
    "erspan-2": [
        (
            "name",
            "inner",
            "type",
            "erspan",
            "seq",
            "key",
            "3",
            *_ENDS,
            "erspan_ver",
            "1",
            "erspan",
            "9",
        )
    ],
    "erspan-3": [
        (
            *("name", "inner", "type", "erspan", "seq", "key", "3", *_ENDS, "erspan_ver", "2"),
            *("erspan_dir", "ingress", "erspan_hwid", "7"),
        )
    ],
    "ip-in-ip": [("name", "inner", "type", "ipip", *_ENDS, "ttl", "64")],
    "6in4": [("name", "inner", "type", "sit", *_ENDS, "ttl", "64")],
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two namespaces, 1 and 2, joined by `cable` of either."""

    names: tuple[str, str]

    def inside(self, me: int, *argv: str) -> list[str]:
        """Return a command line that runs in namespace *me*."""
        return [need("ip", "iproute2"), "netns", "exec", self.names[me - 1], *argv]

    def run(self, me: int, *argv: str) -> str:
        """Return what a command in namespace *me* says against itself; "": it went well."""
        done = subprocess.run(
            self.inside(me, *argv), capture_output=True, text=True, check=False, timeout=60
        )
        return "" if done.returncode == 0 else done.stderr or f"exit {done.returncode}"


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return two namespaces on one cable, with addresses on it."""
    need_root()
    ip, token = need("ip", "iproute2"), secrets.token_hex(4)
    made = Pair((f"tunnel-{token}-1", f"tunnel-{token}-2"))
    try:
        for name in made.names:
            subprocess.run([ip, "netns", "add", name], check=True, timeout=20)
        peer = ("peer", "name", "cable", "netns", made.names[1])
        assert not made.run(1, "ip", "link", "add", "cable", "type", "veth", *peer)
        for me in (1, 2):
            assert not made.run(me, "ip", "addr", "add", f"203.0.113.{me}/24", "dev", "cable")
            six = ("ip", "addr", "add", f"2001:db8:1::{me}/64", "dev", "cable", "nodad")
            assert not made.run(me, *six)
            assert not made.run(me, "ip", "link", "set", "cable", "up")
        yield made
    finally:
        for name in made.names:
            subprocess.run([ip, "netns", "delete", name], check=False, timeout=20)


def build(pair: Pair, kind: str) -> None:
    """Set the tunnel up at both ends, with documentation addresses; or skip."""
    for me in (1, 2):
        for device in KINDS[kind]:
            argv = [word.format(me=me, peer=3 - me) for word in device]
            refusal = pair.run(me, "ip", "link", "add", *argv)
            if "Unknown device type" in refusal or "not supported" in refusal:
                pytest.skip(f"this kernel was built without it: {kind}")
            assert not refusal
            name = argv[argv.index("name") + 1]
            assert not pair.run(me, "ip", "link", "set", name, "up")
        six = ("ip", "addr", "add", f"2001:db8::{me}/64", "dev", "inner", "nodad")
        assert not pair.run(me, *six)
        if kind != "6in4":
            assert not pair.run(me, "ip", "addr", "add", f"192.0.2.{me}/24", "dev", "inner")


async def seen(pair: Pair, folder: Path, ends: list[tuple[str, str]]) -> Datagrams:
    """Return what passes over the cable when texts are sent through the tunnel."""
    path, log = folder / "cable.pcap", folder / "tcpdump.txt"
    argv = [need("tcpdump", "tcpdump"), "-i", "cable", "-n", "-s", "4096", "-U", "-Z", "root"]
    argv += ["--immediate-mode", "-w", str(path)]
    process: Process = start(pair.inside(2, *argv), log)
    first, last = "the first ", f"the last of all {secrets.token_hex(8)}"
    try:
        await until(lambda: b"listening on cable" in log.read_bytes(), "tcpdump listens", log)
        for source, destination in ends:
            # A kernel keeps few packets while it looks for a neighbour: one first, then the others.
            for texts in ((first + destination,), (SHORT.decode(), LONG.decode(), last)):
                assert not pair.run(1, sys.executable, "-c", SENDER, source, destination, *texts)
                end = texts[-1].encode()
                await until(lambda: end in path.read_bytes(), "the text is in the file", log)  # noqa: B023
            last += "+"
        process.send_signal(signal.SIGINT)
        await until(lambda: process.poll() is not None, "tcpdump ends", log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    return decode(read(path))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kernel_wrapped_is_read(pair: Pair, tmp_path: Path, kind: str) -> None:
    """Short and long datagrams, IPv4 and IPv6: each is there once, with its own addresses."""
    build(pair, kind)
    ends = [("2001:db8::1", "2001:db8::2")]
    if kind != "6in4":
        ends.insert(0, ("192.0.2.1", "192.0.2.2"))
    found = asyncio.run(seen(pair, tmp_path, ends))

    for source, destination in ends:
        rows = [
            row
            for row in range(len(found))
            if found.source(row) == Endpoint(source, 5062)
            and found.destination(row) == Endpoint(destination, 5060)
        ]
        assert [found.payload(row) for row in rows][1:3] == [SHORT, LONG]
        assert all(bool(found.complete[row]) for row in rows)
        assert len(rows) == 4
    assert found.fragments >= 2 * len(ends)
    assert (found.incomplete, found.repeated) == (0, 0)
