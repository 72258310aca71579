"""The edge to another host: the system's OpenSSH, with the user's own config, keys and known hosts.

A command's result is told apart from the lack of one: ssh itself says on a log of its own (`-E`)
whether the command's exit code came. 255 without it means lost or not reached, never "failed".
Host keys are strict: an unknown or changed one ends before anything is sent.
"""

import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from harness.child import OUTPUT_BYTES, run
from harness.command import CommandOutput
from harness.errors import InputError, ToolError

LIMIT_S = 120.0
SSH_FAILED = 255  # ssh's own exit code, which a command may have too
_LOG_BYTES = 1 << 16  # read of each end of ssh's log: how it began, how it ended
_FIXED = (  # they stand first: the first of two values is the one that ssh takes
    *("BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no"),
    *("ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no"),
    # A master that somebody's config leaves behind would outlive us; we share on purpose only.
    *("ControlMaster=no", "ControlPath=none", "RequestTTY=no", "EscapeChar=none"),
)
_CAME = re.compile(r"^debug1: Exit status (\d+)\s*$", re.MULTILINE)
_KILLED = re.compile(r"^debug1: client_input_channel_req: .* rtype exit-signal ", re.MULTILINE)
_SENT = re.compile(r"^(?:debug1: )?Transferred: sent (\d+), received (\d+) bytes", re.MULTILINE)
_DEBUG = re.compile(r"^debug\d: |^(OpenSSH_|Transferred: |Bytes per second: |Authenticated to )")
_UNTRUSTED = re.compile(
    r"^(Host key verification failed\.|No \S+ host key is known for |"
    r"@ +WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED)|"
    r": Permission denied \([a-z,-]+\)\.\s*$|Too many authentication failures",
    re.MULTILINE,
)
_DESTINATION = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.%:@+-]{0,319}", re.ASCII)


class Trouble(StrEnum):
    """Why there is no result."""

    NOT_REACHED = "not reached"
    UNTRUSTED = "not trusted"  # the host's key is not the known one, or it refuses ours
    LOST = "connection lost"  # the command may or may not have run


class SshError(ToolError):
    """No result of a command on another host, and which kind of lack."""

    def __init__(self, trouble: Trouble, destination: str, words: str) -> None:
        """Keep ssh's own *words*; nothing of them comes from the command."""
        self.trouble, self.destination, self.words = trouble, destination, words
        super().__init__(f"{destination}: {trouble}" + (f": {words}" if words else ""))


@dataclass(frozen=True, slots=True)
class SshLog:
    """What ssh itself said about one connection."""

    text: str

    @property
    def exit_code(self) -> int | None:
        """Return the exit code that the other side sent; None: none came."""
        found = _CAME.findall(self.text)
        return int(found[-1]) if found else None

    @property
    def killed(self) -> bool:
        """Say whether the other side reported that a signal ended the command."""
        return bool(_KILLED.search(self.text))

    @property
    def sent_bytes(self) -> int:
        """Return what went over the wire, 0 when ssh did not live to say it."""
        return sum(int(sent) for sent, _ in _SENT.findall(self.text))

    @property
    def words(self) -> str:
        """Return the end of its complaint, in one line, without what a good connection says."""
        lines = [line.strip() for line in self.text.splitlines() if not _DEBUG.match(line)]
        said = " / ".join([line for line in lines if line][-3:])
        return "".join(c if c.isprintable() else "?" for c in said)[-500:]

    @property
    def trouble(self) -> Trouble:
        """Return the kind of failure, for a connection that gave no exit code."""
        if _UNTRUSTED.search(self.text):
            return Trouble.UNTRUSTED
        return Trouble.LOST if "debug1: Sending command: " in self.text else Trouble.NOT_REACHED


@dataclass(frozen=True, slots=True)
class Ssh:
    """One other host, reached by ssh.

    *destination* is HOST or USER@HOST (an alias of the user's ssh_config too); *argv0* the program
    with its first options, as ("ssh", "-F", "/etc/hasync/ssh_config"); *options* more of the form
    "Port=2222". *env* None gives the child nothing of ours but HOME, so no agent.
    """

    destination: str
    options: tuple[str, ...] = ()
    argv0: tuple[str, ...] = ("ssh",)
    limit_s: float = LIMIT_S
    connect_s: int = 15
    alive_s: int = 15  # between two questions whether the other side is there
    alive_count: int = 4  # unanswered ones that end the connection
    env: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Refuse a destination that ssh could take for an option or a command."""
        if not _DESTINATION.fullmatch(self.destination):
            raise InputError(
                "not a destination for ssh",
                field="destination",
                value=self.destination,
                fix="write HOST or USER@HOST",
            )

    def words(self, log: Path) -> tuple[str, ...]:
        """Return the ssh command up to its destination; it says in the file *log* how it went."""
        alive = f"ServerAliveInterval={self.alive_s}", f"ServerAliveCountMax={self.alive_count}"
        fixed = _options((f"ConnectTimeout={self.connect_s}", *alive, *_FIXED))
        program, *more = self.argv0
        return (program, "-v", "-E", str(log), *fixed, *more, *_options(self.options))

    def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        limit_s: float | None = None,
        output_bytes: int = OUTPUT_BYTES,
    ) -> CommandOutput:
        """Return what *argv* gave on the host; exit code None when it did not end in time.

        The words are quoted for the shell that the host's sshd gives them to.

        Raises:
            SshError: no result: not reached, not trusted, or the connection was lost.
        """
        with tempfile.TemporaryDirectory(prefix="ssh-") as folder:
            log = Path(folder, "log")
            command = (*self.words(log), "--", self.destination, shlex.join(argv))
            output = run(
                command,
                limit_s=self.limit_s if limit_s is None else limit_s,
                stdin=stdin,
                env=self.env,
                output_bytes=output_bytes,
            )
            self.check(output, read_log(log))
        return replace(output, argv=argv)

    def check(self, output: CommandOutput, said: SshLog) -> None:
        """Return when *output* is the result of the command itself.

        Raises:
            SshError: it is ssh's own failure.
        """
        if output.exit_code is None or 0 <= output.exit_code < SSH_FAILED:
            return
        if said.exit_code == output.exit_code or said.killed:
            return
        more = output.complaint if output.exit_code != SSH_FAILED else ""
        raise SshError(said.trouble, self.destination, said.words or more)


def read_log(path: Path) -> SshLog:
    """Return what ssh said in the file *path*; nothing when it wrote none."""
    try:
        with path.open("rb") as file:
            head = file.read(_LOG_BYTES)
            file.seek(max(len(head), path.stat().st_size - _LOG_BYTES))
            return SshLog((head + file.read(_LOG_BYTES)).decode("utf-8", "replace"))
    except OSError:
        return SshLog("")


def rsync_shell(words: Sequence[str]) -> str:
    """Return *words* as the value of rsync's -e, which knows blanks and doubled quotes only.

    >>> rsync_shell(("ssh", "-o", "ProxyCommand=nc 'a b'"))
    "'ssh' '-o' 'ProxyCommand=nc ''a b'''"
    """
    return " ".join("'" + word.replace("'", "''") + "'" for word in words)


def _options(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for option in given for word in ("-o", option))
