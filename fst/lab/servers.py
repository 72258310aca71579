"""The ENUM servers of a lab: what an exercise can do to them, and our stubs doing it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Protocol

from enumtest.stub.faults import Fault, PortClosed, parse_fault_rows
from enumtest.stub.policy import Action, Policy, Rule, default_answer
from enumtest.stub.server import EnumServers
from fst.lab.tap import Tap
from fst.site import Lab
from harness.clock import Clock
from harness.packets.frame import Endpoint


class LabServers(Protocol):
    """A group of ENUM servers that the lab may stop and start."""

    async def start(self) -> None:
        """Start all, and return when they answer."""
        ...

    async def stop(self) -> None:
        """Stop all."""
        ...

    async def down(self, name: str) -> None:
        """Take the service of *name* out of service."""
        ...

    async def up(self, name: str) -> None:
        """Bring it back, and return when it answers."""
        ...

    async def install(self, rules: Sequence[Rule]) -> None:
        """Put policy rules in force."""
        ...

    async def uninstall(self, names: Sequence[str]) -> None:
        """Remove policy rules by name."""
        ...

    async def rules(self) -> tuple[str, ...]:
        """Return the names of the policy rules in force."""
        ...

    async def facts(self, name: str) -> Mapping[str, str]:
        """Return what is known of *name*: version.…, config.… (a hash), process.… (pid@start).

        A file that rules are written into is named by its path: config./etc/….
        """
        ...


class StubServers:
    """Our own stub servers, all in this process."""

    def __init__(
        self, endpoints: Mapping[str, Endpoint], lab: Lab, apex: str, tap: Tap, clock: Clock
    ) -> None:
        """Serve an allow-all policy, with the faults that the site file's [lab] asks for."""
        # Nothing to keep: an SBC with a cache would ask once for each test number.
        answers = {action: replace(default_answer(action), ttl_s=0) for action in Action}
        policy = Policy((), Action.ALLOW, answers)
        self._servers = EnumServers(endpoints, policy, clock, apex=apex, on_datagram=tap.sent)
        self._faults = _faults(lab, tuple(endpoints))

    async def start(self) -> None:
        """Open the sockets; raises ToolError when one cannot be had."""
        await self._servers.start()
        for name, faults in self._faults.items():
            await self._servers.set_faults(name, faults)

    async def stop(self) -> None:
        """Close the sockets."""
        await self._servers.stop()

    async def down(self, name: str) -> None:
        """Close the port of *name*, as a stopped service does."""
        await self._servers.set_faults(name, (PortClosed(),))

    async def up(self, name: str) -> None:
        """Open it again."""
        await self._servers.set_faults(name, self._faults.get(name, ()))

    async def install(self, rules: Sequence[Rule]) -> None:
        """Put policy rules in force, ahead of the others."""
        self._servers.set_policy(self._servers.policy.with_rules(rules))

    async def uninstall(self, names: Sequence[str]) -> None:
        """Remove policy rules by name."""
        self._servers.set_policy(self._servers.policy.without(names))

    async def rules(self) -> tuple[str, ...]:
        """Return the names of the policy rules in force."""
        return tuple(rule.name for rule in self._servers.policy.rules)

    async def facts(self, name: str) -> Mapping[str, str]:
        """Return its version, policy and faults; it has no process but ours, which may change."""
        policy = self._servers.policy
        answers = sorted((action.value, str(answer)) for action, answer in policy.answers.items())
        told = f"{policy.rules} {policy.default.value} {answers}"
        return {
            "version.stub": version("fst-harness"),
            "config.policy": hashlib.sha256(told.encode()).hexdigest(),
            "config.faults": hashlib.sha256(str(self._faults.get(name, ())).encode()).hexdigest(),
        }


def _faults(lab: Lab, names: Sequence[str]) -> dict[str, tuple[Fault, ...]]:
    """Return the faults of each server; "*" stands for all of them."""
    rows = lab.fault_rows(names)
    return dict(parse_fault_rows({"faults": rows}, "lab.faults")) if rows else {}
