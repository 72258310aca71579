"""tcpdump on the loopback interface, as a recorder that the lab's bench can use.

Traps: times in microseconds would be cut to before the mark that opens a window, so it is asked for
nanoseconds; a packet is in the kernel's ring before it is in the file, so the end is marked by a
datagram of our own; privileges are kept (-Z root), because the folder of a test is root's; with
--immediate-mode each place in the ring is as long as a frame may be, so -s 0 leaves few places.
"""

import re
import secrets
import signal
import socket
from pathlib import Path

from tests.lab.peers import Process, need, start, until

RING_KIB = 32_768  # room for bursts while tcpdump waits for a processor: a page for each frame
FRAME_BYTES = 3900  # longer than any of the lab; with what the kernel adds it fits into a page
MARKER = b"end of capture "
_CAPTURED = re.compile(r"^(\d+) packets? captured$", re.MULTILINE)
_DROPPED = re.compile(r"^(\d+) packets? dropped by (?:kernel|interface)$", re.MULTILINE)


class TcpdumpRecorder:
    """Records *kinds* of packets of the network 127.0.*net*.0/24; `fst.lab.bench.Recorder`."""

    captured_by = "tcpdump -i lo"

    def __init__(self, net: int, logs: Path, kinds: str = "udp or tcp") -> None:
        """Keep what tcpdump says in files below *logs*."""
        self._net, self._logs, self._kinds = net, logs, kinds
        self._process: Process | None = None
        self._path = self._log = logs

    async def start(self, path: Path) -> None:
        """Record to *path*; return once tcpdump says that it listens."""
        self._path, self._log = path, self._logs / f"{path.name}.tcpdump.txt"
        argv = [need("tcpdump", "tcpdump"), "-i", "lo", "-n", "-U", "-Z", "root"]
        argv += ["-s", str(FRAME_BYTES)]
        argv += ["--immediate-mode", "--time-stamp-precision=nano", "-B", str(RING_KIB)]
        argv += ["-w", str(path), f"({self._kinds}) and net 127.0.{self._net}.0/24"]
        self._process = start(argv, self._log)
        await until(self._listens, "tcpdump listens", self._log)

    async def stop(self) -> tuple[int, int | None]:
        """Return packets and drops, once everything sent so far is in the file."""
        process = self._process
        assert process is not None, "no capture is running"
        token = secrets.token_bytes(16)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
            marker.bind((f"127.0.{self._net}.250", 0))
            marker.sendto(MARKER + token, marker.getsockname())  # to itself: no ICMP comes of it
            await until(lambda: token in self._path.read_bytes(), "the marker is in the file")
        process.send_signal(signal.SIGINT)
        await until(lambda: process.poll() is not None, "tcpdump ends", self._log)
        self._process = None
        said = self._log.read_text()
        captured, dropped = _CAPTURED.findall(said), _DROPPED.findall(said)
        assert captured, said
        assert dropped, said
        return int(captured[0]), sum(map(int, dropped))

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return "listening on lo" in self._log.read_text()
