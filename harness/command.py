"""What a command run on a host gave back, as it stands in the evidence.

An access (ssh, or the lab) carries commands out; everything after that works on `CommandOutput`.
Law: a command that did not end is not one that failed: its exit code is None, and decides nothing.
"""

from dataclasses import dataclass
from typing import Protocol

NOT_FOUND = 127  # exit code of a shell that does not know the command


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """One command's result, whole: bytes, because a log need not be UTF-8."""

    argv: tuple[str, ...]
    exit_code: int | None  # None: not ended in time, or the host was not reached
    stdout: bytes
    stderr: bytes
    at_ns: int  # wall time of this machine when it was sent
    took_ns: int = 0
    cut: bool = False  # there was more output than is kept

    @property
    def whole(self) -> bool:
        """Say whether it ended, and all that it printed is here."""
        return self.exit_code is not None and not self.cut

    @property
    def text(self) -> str:
        """Return its output; bytes that are no UTF-8 stay visible as escapes."""
        return self.stdout.decode("utf-8", "backslashreplace")

    @property
    def complaint(self) -> str:
        """Return in one line why it gave nothing to read.

        >>> CommandOutput(("ss",), 127, b"", b"ss: not found", 0).complaint
        'ss: exit code 127: ss: not found'
        """
        said = self.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
        end = "did not end" if self.exit_code is None else f"exit code {self.exit_code}"
        more = " (output cut)" if self.cut else ""
        program = [word for word in self.argv if word != "env" and "=" not in word][:1]
        head = f"{' '.join(program)}: {end}{more}"
        return f"{head}: {said[0]}" if said else head


class HostAccess(Protocol):
    """A way to run commands on one host, each with bounded time and output."""

    async def run(self, *argv: str) -> CommandOutput:
        """Return what *argv* gave; a host that is not reached gives exit code None."""
        ...
