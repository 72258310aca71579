"""SIPp as a peer: when it has its port, and when its calls are over, as a capture shows.

SIPp says neither before it ends.
"""

import asyncio
import re
import signal
import subprocess
from pathlib import Path

from harness.snapshot import parse_proc_net
from tests.lab.peers import LIMIT_S, until

_ENDED = re.compile(
    rb"SIP/2\.0 200 OK\r\n(?:[^\r\n]+\r\n)*?Call-ID: ([^\r\n]+)\r\nCSeq: 2 BYE\r\n", re.IGNORECASE
)


def has_port(address: str, port: int) -> bool:
    """Say whether somebody has that UDP port; to try it would keep the peer from having it."""
    found = parse_proc_net(Path("/proc/net/udp").read_text(encoding="ascii"))
    return (address, port) in {(one.local_address, one.local_port) for one in found}


def wait_until_it_listens(process: subprocess.Popen[str], address: str, port: int) -> None:
    """Return when the peer has its UDP port; a call sent before that would be refused by ICMP."""

    def listens() -> bool:
        assert process.poll() is None, f"{process.args!r} ended"
        return has_port(address, port)

    asyncio.run(until(listens, f"{process.args!r} listens"))


def stop_after(tap: subprocess.Popen[str], path: Path, calls: int) -> None:
    """End the capture *tap* once the answered BYE of all *calls* is in its file *path*."""
    what = f"{calls} calls have ended in {path}"
    asyncio.run(until(lambda: len(set(_ENDED.findall(path.read_bytes()))) >= calls, what))
    tap.send_signal(signal.SIGINT)
    tap.communicate(timeout=LIMIT_S)
