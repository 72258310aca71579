"""dnsdist between a simulated SBC and three stub servers, on loopback."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path

from enumtest.sbc.client import SbcClient
from enumtest.sbc.decision import Decision
from enumtest.sbc.sbc import Sbc
from enumtest.stub.policy import Action, Policy, default_answer
from enumtest.stub.server import EnumServers
from harness.clock import SystemClock
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex_worker import PosixRegex
from tests.enum_wire import sbc_config
from tests.lab.peers import Process, need, start, until
from tests.lab.tcpdump import TcpdumpRecorder

MS = 1_000_000
PORT = 15353
CALLS = 30
SPACING_S = 0.05  # 30 calls take longer than the second between two health checks
# Of the simulated SBC: to dnsdist a question sent again is another one, and takes a turn, so it is
# sent only where a server hangs, and never because the machine is slow.
TIMEOUT_NS, RETRANSMIT_NS = 4000 * MS, 2000 * MS
NUMBERS = [PhoneNumber(f"1212555011{last}") for last in range(5)]
MANY = [PhoneNumber(f"12125550{line}") for line in range(110, 170)]  # no call looks like a retry
SOURCE = "sip:+16505550100@192.0.2.1"
POLICY = Policy((), Action.ALLOW, {action: default_answer(action) for action in Action})
CONFIG = """\
setSecurityPollSuffix("")
setLocal("{dnsdist}")
setServerPolicy({policy})
"""
BACKEND = """\
newServer({{name="{name}", address="{place}", source="{source}", checkType="A",
           checkName="health.e164.arpa.", checkInterval=1, checkTimeout={check_ms},
           maxCheckFailures=1}})
"""


@dataclass(frozen=True, slots=True)
class Net:
    """The addresses of one lab, all on 127.0.*number*.x."""

    number: int

    def at(self, host: int) -> Endpoint:
        """Return where *host* of this network listens."""
        return Endpoint(f"127.0.{self.number}.{host}", PORT)

    @property
    def dnsdist(self) -> Endpoint:
        """Return where dnsdist listens; it asks from there too."""
        return self.at(5)

    @property
    def servers(self) -> dict[str, Endpoint]:
        """Return the stub servers in dnsdist's order."""
        return {f"enum{at}": self.at(10 + at) for at in (1, 2, 3)}


@dataclass(frozen=True, slots=True)
class Lab:
    """dnsdist between a simulated SBC and the stub servers, running."""

    net: Net
    stubs: EnumServers
    client: SbcClient
    folder: Path

    @property
    def log(self) -> Path:
        """Return what dnsdist says."""
        return self.folder / "dnsdist.log"

    async def marked(self, name: str, state: str, times: int) -> None:
        """Return once dnsdist has marked server *name* as *state* so many *times*."""
        words = f"Marking downstream {name} ({self.net.servers[name]}) as '{state}'"
        await until(lambda: self.log.read_text().count(words) >= times, words, self.log)

    async def recorded(self, name: str, calls: int = CALLS) -> list[Decision]:
        """Place *calls*, one after the other, with tcpdump around them; return the decisions."""
        async with self.watched(name):
            return await self.called(calls)

    @asynccontextmanager
    async def watched(self, name: str) -> AsyncIterator[None]:
        """Let tcpdump record the block."""
        recorder = TcpdumpRecorder(self.net.number, self.folder)
        await recorder.start(self.folder / f"{name}.pcap")
        try:
            yield
        finally:
            _, dropped = await recorder.stop()
            assert dropped == 0

    async def called(self, calls: int, numbers: Sequence[PhoneNumber] = NUMBERS) -> list[Decision]:
        """Place *calls*, one after the other; return the decisions."""
        return [await self._call(number) for number in islice(cycle(numbers), calls)]

    async def _call(self, number: PhoneNumber) -> Decision:
        decided, _ = await asyncio.gather(
            self.client.call(number, SOURCE), asyncio.sleep(SPACING_S)
        )
        return decided.decision


@asynccontextmanager
async def lab(net: Net, folder: Path, policy: str, *, check_ms: int = 5000) -> AsyncIterator[Lab]:
    """Return the lab, running, with all servers up; end it afterwards."""
    clock = SystemClock()
    config = sbc_config({"dnsdist": net.dnsdist}, timeout_ns=TIMEOUT_NS, retransmissions=1)
    with PosixRegex() as engine:
        client = SbcClient(Sbc(config, count(1), engine), Endpoint(net.at(10).address, 0), clock)
        async with EnumServers(net.servers, POLICY, clock) as stubs:
            made = Lab(net, stubs, client, folder)
            dnsdist = start_dnsdist(made, policy, check_ms)
            try:
                for name in net.servers:
                    await made.marked(name, "up", 1)
                await client.start()
                yield made
            finally:
                await client.stop()
                dnsdist.terminate()
                await until(lambda: dnsdist.poll() is not None, "dnsdist ends", made.log)


def start_dnsdist(made: Lab, policy: str, check_ms: int) -> Process:
    """Return dnsdist, started; a check without an answer takes *check_ms* to fail."""
    net, source = made.net, made.net.dnsdist.address
    text = CONFIG.format(dnsdist=net.dnsdist, policy=policy)
    for name, place in net.servers.items():
        text += BACKEND.format(name=name, place=place, source=source, check_ms=check_ms)
    path = made.folder / "dnsdist.conf"
    path.write_text(text)
    argv = [need("dnsdist", "dnsdist"), "--supervised", "--disable-syslog", "-C", str(path)]
    return start(argv, made.log)
