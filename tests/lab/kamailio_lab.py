"""Kamailio as an SBC between SIPp's phones and our ENUM servers, in two network namespaces.

    namespace "outside"                     namespace "SBC"
    enum1 .1, enum2 .2, enum3 .3 ─┐
    caller .20, callee .30 ───────┴─ veth ─ Kamailio .10, tcpdump

Kamailio asks by the C library, with a resolv.conf of its own. What a policy orders is in the host
of the URI that comes back, as our servers write it: "blocked.invalid" is refused with 603, the
dialled number goes to the callee, another number too, or comes back to the caller in a 302. Without
a URI the call goes on as dialled.

All that Kamailio forks is in a process namespace of its own, and ends with it.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from enumtest.stub.faults import Fault
from enumtest.stub.policy import Policy
from enumtest.stub.server import EnumServers
from harness.clock import SystemClock
from harness.packets.capture import Capture
from harness.packets.capture_file import read
from harness.packets.frame import Endpoint
from tests.lab.kamailio_net import (
    CALLEE,
    CALLER,
    LIMIT_S,
    SBC,
    SERVERS,
    Namespace,
    cable,
    namespace,
)
from tests.lab.kamailio_phones import calling
from tests.lab.peers import Process, missing, need, need_root, start, until

APEX = "e164.arpa"
BLOCKED = "blocked.invalid"
FROM = "+16505550100"
MARK_PORT = 40_009

KAMAILIO = """
debug=0
log_stderror=yes
children={workers}
listen=udp:{sbc}
disable_tcp=yes
auto_aliases=no
use_dns_cache=off
dns_use_search_list=no
mpath="{modules}/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "enum.so"
request_route {{
  if (has_totag()) {{
    if (!is_method("ACK") || !t_check_trans()) t_relay();
    exit;
  }}
  if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
  # enum_query() blocks: what the caller sends again meanwhile must find the transaction.
  if (!t_newtran()) exit;
  $var(dialled) = $rU;
  if (enum_query("{apex}.")) {{
    if ($rd == "{blocked}") {{ t_reply("603", "Decline"); exit; }}
    if ({moves} && $rU != $var(dialled)) {{
      append_to_reply("Contact: <$ru>\\r\\n");
      t_reply("302", "Moved Temporarily");
      exit;
    }}
  }}
  $du = "sip:{callee}";
  t_relay();
}}
"""


def module_folder() -> Path:
    """Return where Kamailio's modules are; without them the test is skipped, in CI failed."""
    found = next(Path("/usr/lib").glob("*/kamailio/modules/enum.so"), None)
    return missing("enum.so", "kamailio") if found is None else found.parent


@dataclass(frozen=True, slots=True)
class Resolver:
    """What Kamailio's resolv.conf and configuration say."""

    options: str  # of the C library, such as "timeout:1 attempts:2"
    workers: int = 4  # each is a process with a resolver of its own
    servers: tuple[str, ...] = tuple(SERVERS)
    moves: bool = False  # True: another number goes back to the caller, in a 302


@dataclass(slots=True)
class KamailioLab:
    """All of it, running."""

    folder: Path
    sbc: Namespace
    outside: Namespace
    servers: EnumServers
    tap: Process
    runs: int = 0

    @property
    def path(self) -> Path:
        """Return tcpdump's file, in which everything is."""
        return self.folder / "all.pcap"

    def faults(self, **of_servers: tuple[Fault, ...]) -> None:
        """Give each server the faults that are named, and no others."""

        async def given() -> None:
            for name in SERVERS:
                await self.servers.set_faults(name, of_servers.get(name, ()))

        self.outside.run(given())

    def policy(self, policy: Policy) -> None:
        """Rule by *policy* from now on."""
        self.outside.do(lambda: self.servers.set_policy(policy))

    def call(self, *called: str, a_second: int = 100) -> tuple[int, int]:
        """Let the caller dial, each number when the call before is over; return from when to when.

        At most so many are dialled *a_second*. The times are wall times, as the capture's are.
        """
        self.runs += 1
        clock, folder = SystemClock(), self.folder
        log, rows = folder / f"caller{self.runs}.txt", folder / f"called{self.runs}.csv"
        rows.write_text("".join(["SEQUENTIAL\n", *(f"{FROM};{number};\n" for number in called)]))
        argv = [need("sipp", "sip-tester"), str(SBC), "-i", CALLER.address, "-p", str(CALLER.port)]
        argv += ["-sf", str(folder / "caller.xml"), "-inf", str(rows), "-nostdin"]
        argv += ["-m", str(len(called)), "-l", "1", "-r", str(a_second)]
        from_ns = clock.wall_ns()

        async def ended() -> int | None:
            process = start(argv, log)
            await until(lambda: process.poll() is not None, "the caller's SIPp ends", log)
            return process.returncode

        assert self.outside.run(ended()) == 0, log.read_text(errors="replace")[-3000:]
        return from_ns, clock.wall_ns()

    def capture(self) -> Capture:
        """End the capture; return it, once all that was sent before is in it and nothing lost."""
        token, log = os.urandom(16), self.folder / "tcpdump.txt"

        def mark() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((CALLER.address, 0))
                sender.sendto(token, (SBC.address, MARK_PORT))

        async def ended() -> None:
            await until(lambda: token in self.path.read_bytes(), "the mark is in the file")
            self.tap.send_signal(signal.SIGINT)
            await until(lambda: self.tap.poll() is not None, "tcpdump ends", log)

        self.outside.do(mark)
        self.sbc.run(ended())
        assert "\n0 packets dropped by kernel" in log.read_text(), log.read_text()
        return read(self.path)

    def taps(self) -> tuple[Capture, ...]:
        """Return what a tap at each server would have seen."""
        found = []
        for name, place in SERVERS.items():
            path = self.folder / f"{name}.pcap"
            argv = [need("tcpdump", "tcpdump"), "-r", str(self.path), "-w", str(path)]
            argv += ["-Z", "root", "--time-stamp-precision=nano", f"host {place.address}"]
            subprocess.run(argv, check=True, capture_output=True, timeout=LIMIT_S)
            found.append(read(path))
        return tuple(found)


def _started(where: Namespace, argv: Sequence[str], log: Path, stack: ExitStack) -> Process:
    """Return a peer started in *where*; it is killed when *stack* closes."""
    process = where.do(lambda: start(argv, log))

    def end() -> None:
        process.kill()
        process.wait(LIMIT_S)

    stack.callback(end)
    return process


def _ready(where: Namespace, ready: Callable[[], bool], process: Process, log: Path) -> None:
    """Return once *ready* says so; a process that ended before fails."""

    def happened() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")
        return ready()

    where.run(until(happened, f"{log.stem} is ready", log))


def _bound(place: Endpoint) -> bool:
    """Say whether somebody has that UDP port in the namespace of this thread."""
    at = "".join(f"{int(part):02X}" for part in reversed(place.address.split(".")))
    return f" {at}:{place.port:04X} " in Path("/proc/thread-self/net/udp").read_text()


def _tcpdump(sbc: Namespace, folder: Path, stack: ExitStack) -> Process:
    argv = [need("tcpdump", "tcpdump"), "-i", "sbc", "-n", "-U", "-Z", "root", "-s", "3900"]
    argv += ["--immediate-mode", "--time-stamp-precision=nano", "-B", "32768"]
    argv += ["-w", str(folder / "all.pcap"), "ip"]
    log = folder / "tcpdump.txt"
    process = _started(sbc, argv, log, stack)
    _ready(sbc, lambda: "listening on sbc" in log.read_text(), process, log)
    return process


def _kamailio(sbc: Namespace, folder: Path, resolver: Resolver, stack: ExitStack) -> None:
    lines = [f"nameserver {SERVERS[name].address}\n" for name in resolver.servers]
    (folder / "resolv.conf").write_text("".join([*lines, f"options {resolver.options}\n"]))
    parts = {"sbc": SBC, "callee": CALLEE, "apex": APEX, "blocked": BLOCKED}
    parts |= {"modules": module_folder(), "workers": resolver.workers, "moves": int(resolver.moves)}
    (folder / "kamailio.cfg").write_text(KAMAILIO.format(**parts))
    run = f"mount --bind {folder}/resolv.conf /etc/resolv.conf && exec "
    run += f"{need('kamailio', 'kamailio')} -DD -E -m 32 -M 4 -Y {folder} -f {folder}/kamailio.cfg"
    alone = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL")
    log = folder / "kamailio.txt"
    argv = [need("unshare", "util-linux"), *alone, "sh", "-c", run]
    process = _started(sbc, argv, log, stack)
    _ready(sbc, lambda: _bound(SBC), process, log)


def _callee(outside: Namespace, folder: Path, stack: ExitStack) -> None:
    argv = [need("sipp", "sip-tester"), "-sn", "uas", "-i", CALLEE.address]
    log = folder / "callee.txt"
    process = _started(outside, [*argv, "-p", str(CALLEE.port), "-nostdin"], log, stack)
    _ready(outside, lambda: _bound(CALLEE), process, log)


@contextmanager
def kamailio_lab(folder: Path, policy: Policy, resolver: Resolver) -> Iterator[KamailioLab]:
    """Give the whole lab, running and captured; nothing of it is left afterwards."""
    need_root()
    for program, package in (("setpriv", "util-linux"), ("tcpdump", "tcpdump")):
        need(program, package)
    (folder / "caller.xml").write_text(calling())
    with ExitStack() as stack:
        sbc, outside = (stack.enter_context(namespace()) for _ in range(2))
        cable(sbc, outside)
        servers = EnumServers(SERVERS, policy, SystemClock(), apex=APEX)
        outside.run(servers.start())
        stack.callback(lambda: outside.run(servers.stop()))
        marks = sbc.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        stack.callback(marks.close)
        marks.bind((SBC.address, MARK_PORT))  # so that the mark of the end gets no ICMP back
        tap = _tcpdump(sbc, folder, stack)
        _callee(outside, folder, stack)
        _kamailio(sbc, folder, resolver, stack)
        yield KamailioLab(folder, sbc, outside, servers, tap)
