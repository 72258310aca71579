"""A pytest plugin: the shipped cases with three NSD servers and tcpdump, in place of our own parts.

Loaded into the process that runs the cases (`-p tests.lab.nsd_lab`). NSD knows no policy: what a
rule orders is written into its zone, and a rule comes into force by a reload, as on a real server
that is fed from a database.

Traps: NSD limits its rate of equal answers unless it is told not to (rrl-ratelimit); a suspended
server still receives into its socket and answers all of it when it goes on, late.
"""

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import dns.exception
import dns.message
import dns.rdatatype
import pytest

from enumtest.naptr.naptr import presentation
from enumtest.stub.policy import Action, Policy, Rule, default_answer
from fst.enum_work import LabParts
from fst.observation import enum_endpoints
from fst.run_lock import start_of
from fst.site import SbcTable, Site, SiteFile
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from tests.lab.peers import POLL_S, Process, need, start, until
from tests.lab.tcpdump import TcpdumpRecorder

FIRST_SERIAL = 1
TICKS_PER_S = 100  # of a process's start in /proc
ANSWER_S = 0.25  # for a question to a server that may not be up yet
CONFIG = """\
server:
    ip-address: {address}
    port: {port}
    server-count: 1
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{folder}"
    zonelistfile: "{folder}/zone.list"
    xfrdfile: "{folder}/xfrd.state"
    xfrdir: "{folder}"
    pidfile: "{folder}/nsd.pid"
    hide-version: yes
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: {apex}
    zonefile: {apex}.zone
"""


class Down(StrEnum):
    """How a server is taken out of service."""

    STOPPED = "stopped"  # the process ends: its port is closed, the host says so (ICMP)
    SUSPENDED = "suspended"  # the process hangs: its port is open, nothing ever comes back


class NsdServers:
    """One NSD a server, each a process of its own; `fst.lab.servers.LabServers`."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        apex: str,
        numbers: Sequence[PhoneNumber],
        folder: Path,
        down: Down,
    ) -> None:
        """Serve an allow-all policy for *numbers*; everything NSD writes is below *folder*."""
        self._endpoints, self._apex, self._numbers = endpoints, apex, numbers
        self._folder, self._down = folder, down
        self._processes: dict[str, Process] = {}
        self._serial = self._newest = FIRST_SERIAL
        argv = [need("nsd", "nsd"), "-v"]
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stderr
        self._version = said.partition("\n")[0]
        answers = {action: default_answer(action) for action in Action}
        self._policy = Policy((), Action.ALLOW, answers)

    async def start(self) -> None:
        """Write configurations and zones, start all, and return when they answer."""
        for name, endpoint in self._endpoints.items():
            own = self._own(name)
            own.mkdir(parents=True)
            text = CONFIG.format(
                address=endpoint.address, port=endpoint.port, folder=own, apex=self._apex
            )
            (own / "nsd.conf").write_text(text)
        self._write_zones()
        for name in self._endpoints:
            self._start(name)
        for name in self._endpoints:
            await self._answers(name)

    async def stop(self) -> None:
        """End all; one that is suspended too."""
        for name in tuple(self._processes):
            os.killpg(self._processes[name].pid, signal.SIGCONT)
            await self._end(name)

    async def down(self, name: str) -> None:
        """Stop or suspend the process of *name*."""
        if self._down is Down.SUSPENDED:
            os.killpg(self._processes[name].pid, signal.SIGSTOP)
        else:
            await self._end(name)

    async def up(self, name: str) -> None:
        """Bring it back, and return when it answers."""
        if self._down is Down.SUSPENDED:
            os.killpg(self._processes[name].pid, signal.SIGCONT)
        else:
            self._start(name)
        await self._answers(name)

    async def install(self, rules: Sequence[Rule]) -> None:
        """Write *rules* into the zone, and return when every server serves it."""
        await self._enforce(self._policy.with_rules(rules))

    async def uninstall(self, names: Sequence[str]) -> None:
        """Write the zone without the rules *names*, and return when every server serves it."""
        await self._enforce(self._policy.without(names))

    async def rules(self) -> tuple[str, ...]:
        """Return the names of the rules in the zone that every server serves."""
        return tuple(rule.name for rule in self._policy.rules)

    async def facts(self, name: str) -> Mapping[str, str]:
        """Return the process of *name*, its version, and the hashes of its files."""
        own = self._own(name)
        rules = own / f"{self._apex}.zone"  # by its whole path: policy is written into it
        files = {"nsd.conf": own / "nsd.conf", str(rules): rules}
        found = {
            f"config.{known_as}": hashlib.sha256(path.read_bytes()).hexdigest()
            for known_as, path in files.items()
        }
        found["version.nsd"] = self._version
        if name in self._processes:
            pid = self._processes[name].pid
            found["process.nsd"] = f"{pid}@{int(start_of(pid)) // TICKS_PER_S}"
        return found

    async def _enforce(self, policy: Policy) -> None:
        self._newest += bool(
            policy.rules
        )  # without rules the zone is, byte for byte, the first one
        self._policy, self._serial = policy, self._newest if policy.rules else FIRST_SERIAL
        self._write_zones()
        for process in self._processes.values():
            process.send_signal(signal.SIGHUP)
        for name in self._processes:
            await self._answers(name)

    def _own(self, name: str) -> Path:
        return self._folder / name

    def _start(self, name: str) -> None:
        own = self._own(name)
        argv = [need("nsd", "nsd"), "-d", "-c", str(own / "nsd.conf")]
        self._processes[name] = start(argv, own / "nsd.log")

    async def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        process.terminate()
        log = self._own(name) / "nsd.log"
        await until(lambda: process.poll() is not None, f"{name} ends", log)

    def _write_zones(self) -> None:
        text = zone(self._apex, self._serial, self._numbers, self._policy)
        for name in self._endpoints:
            (self._own(name) / f"{self._apex}.zone").write_text(text)

    async def _answers(self, name: str) -> None:
        """Return once *name* serves the zone that was written last."""
        seen: list[int] = []
        process, log = self._processes[name], self._own(name) / "nsd.log"

        async def asking() -> None:
            while self._serial not in seen:
                assert process.poll() is None, log.read_text()
                seen.extend(await serial_of(self._endpoints[name], self._apex))
                await asyncio.sleep(POLL_S)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asking())
            await until(lambda: self._serial in seen, f"{name} serves {self._serial}", log)


async def serial_of(server: Endpoint, apex: str) -> tuple[int, ...]:
    """Return the serial of the zone that *server* serves, or nothing when it does not answer."""
    query = dns.message.make_query(apex, dns.rdatatype.SOA)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        asking.connect((server.address, server.port))
        try:
            async with asyncio.timeout(ANSWER_S):
                await loop.sock_sendall(asking, query.to_wire())
                answer = dns.message.from_wire(await loop.sock_recv(asking, 4096))
        except (TimeoutError, ConnectionRefusedError, dns.exception.DNSException):
            return ()
    return tuple(rdata.serial for rrset in answer.answer for rdata in rrset)


def zone(apex: str, serial: int, numbers: Sequence[PhoneNumber], policy: Policy) -> str:
    """Return the zone file in which each of *numbers* is answered as *policy* orders."""
    lines = [
        f"$ORIGIN {apex}.",
        "$TTL 60",
        f"@ SOA ns.invalid. hostmaster.invalid. {serial} 3600 600 86400 60",
        "@ NS ns.invalid.",
    ]
    for number in numbers:
        records = policy.decide(None, number).records
        owner = number.enum_domain(apex)
        lines += [f"{owner}. NAPTR {presentation(record)}" for record in records]
    return "\n".join(lines) + "\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where the servers keep their files, and how they go down."""
    parser.addoption("--nsd-folder", type=Path, required=True)
    parser.addoption("--nsd-down", type=Down, choices=list(Down), default=Down.STOPPED)


class Parts:
    """The hook, with pytest's options at hand."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the options."""
        self._folder: Path = config.getoption("--nsd-folder")
        self._down: Down = config.getoption("--nsd-down")

    @pytest.hookimpl
    def pytest_fst_lab_parts(self, file: SiteFile, site: Site, sbc: SbcTable) -> LabParts:
        """Return NSD servers and tcpdump for *sbc*."""
        del file
        assert site.numbers is not None
        own = site.numbers
        numbers = [*own.plain, *own.allow, *own.terminate, *own.redirect]
        servers = NsdServers(
            enum_endpoints(site, sbc, by_endpoint=False),
            sbc.apex,
            tuple(PhoneNumber.parse(number) for number in numbers),
            self._folder,
            self._down,
        )
        net = int(sbc.address.split(".")[2])
        return LabParts(servers, TcpdumpRecorder(net, self._folder, "udp or tcp or icmp"))


def pytest_configure(config: pytest.Config) -> None:
    """Register the hook."""
    config.pluginmanager.register(Parts(config), "nsd-lab-parts")
