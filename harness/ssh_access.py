"""The edge that gives `harness.command.HostAccess` over ssh: each command in its own thread."""

import asyncio

from harness.clock import Clock
from harness.command import CommandOutput
from harness.ssh import Ssh, SshError


class SshAccess:
    """A host whose commands run by ssh; one that is not reached gives exit code None."""

    def __init__(self, ssh: Ssh, clock: Clock) -> None:
        """Take the host, and the clock that dates a command without result."""
        self._ssh, self._clock = ssh, clock

    async def run(self, *argv: str) -> CommandOutput:
        """Return what *argv* gave; ssh's words stand in stderr when there is no result."""
        at_ns = self._clock.wall_ns()
        begun_ns = self._clock.monotonic_ns()
        try:
            return await asyncio.to_thread(self._ssh.run, *argv)
        except SshError as error:
            took_ns = self._clock.monotonic_ns() - begun_ns
            return CommandOutput(argv, None, b"", str(error).encode(), at_ns, took_ns)
