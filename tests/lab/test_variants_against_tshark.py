"""Every variant of the golden call is what it says it is: tshark finds the same call in it.

Nothing of ours reads here: these are bytes of ours, and a dissector that is not.
"""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from probetest.script.build import frames_of, parse_script
from probetest.script.variants import VARIANTS, vary
from tests.lab.peers import need

pytestmark = pytest.mark.lab

CASE = Path(__file__).parents[2] / "pcaps/golden-call"
OPTIONS = {  # what tshark has to be told: that MPLS carries Ethernet, that RTP needs no SDP, ...
    "tcp-swapped": ("-o", "tcp.reassemble_out_of_order:TRUE"),
    "mpls-ethernet": ("-d", "mpls.label==200,pwethcw"),
    "snaplen": ("-o", "rtp.heuristic_rtp:TRUE", "--enable-heuristic", "rtp_udp"),
    "snaplen-body": ("-o", "rtp.heuristic_rtp:TRUE", "--enable-heuristic", "rtp_udp"),
}
UNKNOWN = {"hep3"}  # of which tshark 4.0 has no dissector
TIMES = {"mirrored": 2, "routed": 2, "looped": 3}  # how often each packet is there
SIP_TIMES = TIMES | {"retransmitted": 2}
READABLE = {"snaplen": 0, "snaplen-body": 8}  # tshark gives up messages that are cut
MESSAGES = 13
CALL_ID = "golden-1@192.0.2.10"
PACKETS = {"0x11111111": 63, "0x22222222": 60}
LAYERS = {  # what tshark calls the layers of a frame of some variants
    "qinq": "ieee8021ad:ethertype:vlan:ethertype:ip",
    "mpls-stack": "mpls:ip",
    "vlan-pppoe": "vlan:ethertype:pppoes:ppp:ip",
    "gre-ethernet": "gre:eth:ethertype:ip",
    "erspan-1": "gre:erspan:eth:ethertype:ip",
    "erspan-3": "gre:erspan:eth:ethertype:ip",
    "vxlan-ipv6": "ipv6:udp:vxlan:eth:ethertype:ip",
    "geneve-ip": "udp:geneve:ip",
    "ip-in-ipv6": "ipv6:ip",
    "gtpu-5g": "udp:gtp:ip",
    "two-tunnels": "vlan:ethertype:ip:gre:ip:udp:vxlan:eth:ethertype:ip",
}


def read(path: Path, variant: str, *fields: str) -> list[list[str]]:
    """Return *fields* of the frames with SIP or RTP, every value of a field that is there twice."""
    shown = [word for name in fields for word in ("-e", name)]
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), *OPTIONS.get(variant, ())]
    argv += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    argv += ["-Y", "sip || rtp", "-T", "fields", *shown]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in UNKNOWN])
def test_tshark_finds_the_call_in_each_variant(name: str, tmp_path: Path) -> None:
    """All messages of the Call-ID and all packets of both streams, and every checksum is right."""
    path = tmp_path / name
    path.write_bytes(vary(parse_script((CASE / "script.toml").read_text()), name, frames_of))
    fields = ("sip.Call-ID", "rtp.ssrc", "frame.protocols", "ip.checksum.status")
    rows = read(path, name, *fields, "udp.checksum.status", "sip.CSeq.method")
    call_ids = Counter(id_ for row in rows for id_ in row[0].split(",") if id_)
    ssrcs = Counter(ssrc for row in rows for ssrc in row[1].split(",") if ssrc)
    whole = READABLE.get(name, MESSAGES * SIP_TIMES.get(name, 1))

    assert ssrcs == {ssrc: count * TIMES.get(name, 1) for ssrc, count in PACKETS.items()}
    assert call_ids == ({CALL_ID: whole} if whole else {})
    assert LAYERS.get(name, "") in rows[0][2]
    # 0 is a wrong checksum; 3: it could not be checked, as for what a snapshot length cut
    assert not {status for row in rows for status in ",".join(row[3:5]).split(",")} & {"0"}
