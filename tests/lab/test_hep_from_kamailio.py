"""What Kamailio sends as HEP is read as the message that it was sent."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.frame import UDP, Endpoint, decode, encode_udp
from tests.lab.peers import missing, need, start, until

pytestmark = pytest.mark.lab

PROXY, COLLECTOR, PHONE = ("127.0.97.1", 5060), ("127.0.97.2", 9060), ("127.0.97.3", 5062)
OPTIONS = (
    b"OPTIONS sip:+12125550142@127.0.97.1 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.97.3:5062;branch=z9hG4bKhep\r\n"
    b"From: <sip:+16505550112@127.0.97.3>;tag=a\r\nTo: <sip:+12125550142@127.0.97.1>\r\n"
    b"Call-ID: hep@127.0.97.3\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
CONFIGURATION = """
debug=0
log_stderror=yes
children=1
listen=udp:{proxy}
disable_tcp=yes
auto_aliases=no
mpath="{modules}/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "siptrace.so"
modparam("siptrace", "duplicate_uri", "sip:{collector}")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", {version})
modparam("siptrace", "hep_capture_id", 7)
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
request_route {{
  sip_trace();
  sl_send_reply("200", "OK");
}}
"""


def module_folder() -> Path:
    """Return where Kamailio's modules are; without them the test is skipped, in CI failed."""
    found = next(Path("/usr/lib").glob("*/kamailio/modules/siptrace.so"), None)
    return missing("siptrace.so", "kamailio") if found is None else found.parent


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the phone's and the collector's."""
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
        ]
        for one, place in zip(made, (PHONE, COLLECTOR), strict=True):
            one.bind(place)
            one.settimeout(20)
        yield made[0], made[1]


async def collected(
    sockets: tuple[socket.socket, socket.socket], folder: Path, version: int
) -> tuple[bytes, tuple[str, int]]:
    """Return what the collector got of the phone's question, and from where."""
    phone, collector = sockets
    path, log = folder / "kamailio.cfg", folder / "kamailio.txt"
    ends = {name: f"{host}:{port}" for name, (host, port) in _ENDS.items()}
    path.write_text(CONFIGURATION.format(modules=module_folder(), version=version, **ends))
    argv = [need("kamailio", "kamailio"), "-f", str(path), "-DD", "-E", "-m", "16", "-M", "4"]
    process = start([*argv, "-Y", str(folder), "-P", str(folder / "pid")], log)
    try:

        def answered() -> bool:
            assert process.poll() is None, log.read_text()
            phone.sendto(OPTIONS, PROXY)
            phone.settimeout(0.3)
            with contextlib.suppress(TimeoutError, ConnectionError):
                return bool(phone.recv(65_535))
            return False

        await until(answered, "Kamailio answers", log)
        data, (host, port) = collector.recvfrom(65_535)
        return data, (host, port)
    finally:
        process.send_signal(signal.SIGTERM)
        await until(lambda: process.poll() is not None, "Kamailio ends", log)


_ENDS = {"proxy": PROXY, "collector": COLLECTOR}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_message_that_kamailio_traced_is_read(
    sockets: tuple[socket.socket, socket.socket], tmp_path: Path, version: int
) -> None:
    """The same bytes, from the phone to the proxy, whatever came from where as HEP."""
    data, place = asyncio.run(collected(sockets, tmp_path, version))
    frame = encode_udp(Endpoint(*place), Endpoint(*COLLECTOR), data)
    found = decode(parse(encode_file_header(LINKTYPE_RAW) + encode_record(1, frame)))

    assert (found.protocol.tolist(), found.depth.tolist()) == ([UDP], [1])
    assert (found.source(0), found.destination(0)) == (Endpoint(*PHONE), Endpoint(*PROXY))
    assert (found.payload(0), found.complete.tolist()) == (OPTIONS, [True])
