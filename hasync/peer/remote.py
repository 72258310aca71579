"""The edge to the other site: hello, send a set, have it committed.

Two channels over the system's ssh: rsync carries files into the peer's inbox, where nothing is
trusted; the agent takes a set from there into the catalogue, after it has checked it. Both can be
repeated at any time: files that are there are not sent again, a commit of the same set is the same.

rsync writes in place: whatever ends it (a cut, a kill, a reboot), what has arrived is kept under
its name, so a resumed transfer sends the rest and no temporary name is ever left. Nothing is
flushed file by file, which takes seconds where there are thousands: the commit flushes all at once,
before the set has a place in the catalogue, and it hashes what a power cut may have emptied.
"""

import logging
import re
import select
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.child import run
from harness.clock import Clock, SystemClock
from harness.command import NOT_FOUND, CommandOutput
from harness.errors import InputError
from harness.ssh import Ssh, SshError, SshLog, Trouble, read_log, rsync_shell
from hasync.failure import Exit, Stop
from hasync.peer import peer_file
from hasync.peer.address import PeerAddress
from hasync.peer.hello import MAX_ANSWER_BYTES, Hello, PeerStop, Request, parse_answer, readable
from hasync.peer.patience import GIVE_UP_S, Patience
from hasync.settings import Settings

logger = logging.getLogger(__name__)

RETRYABLE = frozenset({10, 12, 20, 23, 24, 30, 35, 255})  # rsync(1): sockets, streams, time-outs
IO_TIMEOUT_S = 60  # rsync's, at both ends: also what ends a receiver whose sender is gone
REFUSED = "hasync agent: refused"  # how the agent's refusal of an rsync begins
_ALOUD = {"aloud": True}  # told on stderr too (hasync.commands.run_log)
_NO_SPACE = re.compile(r"\((28|122)\)$", re.MULTILINE)  # ENOSPC, EDQUOT: rsync shows the number
_REFUSED = re.compile(rf"^{REFUSED}: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TransferResult:
    """A set that lies whole in the peer's inbox, not yet committed."""

    bytes_sent: int  # over the wire, of the attempts whose ssh lived to say it
    attempts: int


def pause(seconds: float) -> None:
    """Return after *seconds*; a signal's exception passes through."""
    select.select([], [], [], seconds)


class Peer:
    """The other site at *address*, as *settings* say how to reach it."""

    def __init__(  # noqa: PLR0913 - the last four are for tests
        self,
        settings: Settings,
        address: PeerAddress,
        *,
        clock: Clock | None = None,
        wait: Callable[[float], None] = pause,
        io_timeout_s: int = IO_TIMEOUT_S,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        """Reach nobody yet; *io_timeout_s* without any byte ends a transfer.

        *give_up_s* without progress ends all attempts.
        """
        self._settings, self._address, self._wait = settings, address, wait
        self._clock = clock or SystemClock()
        self._io_timeout_s, self._give_up_s = io_timeout_s, give_up_s
        self._hello: Hello | None = None
        user = address.user or settings.peer.user
        self._address = PeerAddress(address.host, address.path, user)
        self._ssh = Ssh(
            self._address.ssh_destination,
            options=(f"Port={settings.peer.port}",) if settings.peer.port else (),
            argv0=settings.peer.ssh,
            limit_s=settings.limits.command_s,
            connect_s=max(1, min(15, io_timeout_s)),
            alive_s=max(1, io_timeout_s // 4),
        )

    def hello(self, own: Hello) -> Hello:
        """Return what the peer says of itself, having told it *own*; kept in state/peer.json.

        Raises:
            Stop: not reached, not trusted, no answer; or it is ourselves, or has another path.
        """
        found = self._retried(lambda: self._ask(Request("hello", own), "hello"), "hello")
        try:
            hello = Hello.from_json(found)
        except InputError as error:
            raise self._no_answer(str(error)) from error
        self._is_the_other(own, hello)
        self._hello = hello
        peer_file.remember(self._settings.folders.state, hello)
        return hello

    def send(
        self, folder: Path, set_id: str, bandwidth: int | None = None, *, checksum: bool = False
    ) -> TransferResult:
        """Return once all files of *folder* lie in the peer's inbox; `hello` comes first.

        *bandwidth* (KiB/s; None: as the settings say, 0: no limit) bounds it; *checksum* compares
        what is there by content, not by size and time.

        Raises:
            Stop: no space there, not trusted, out of time, or it failed for good.
        """
        if self._hello is None:
            raise AssertionError("hello comes before send")  # a bug, seen by any test
        self._fits(folder, set_id, self._hello)
        more = ("--checksum",) if checksum else ()
        argv = self._rsync(folder, set_id, self._hello, bandwidth, more)
        limit_s = self._settings.limits.transfer_s
        attempts, sent_bytes, deadline_ns = 0, 0, self._after_ns(limit_s)

        def attempt() -> None:
            nonlocal attempts, sent_bytes
            attempts += 1
            left_s = (deadline_ns - self._clock.monotonic_ns()) / 1e9
            output, said = self._transfer(argv, left_s)
            sent_bytes += said.sent_bytes
            self._check_transfer(output, said)

        self._retried(attempt, f"transfer {set_id}", deadline_ns)
        return TransferResult(sent_bytes, attempts)

    def commit(self, set_id: str) -> str:
        """Return the id once the peer has checked the set and taken it into its catalogue.

        Raises:
            Stop: the peer refuses it, with its reason; or it is not reached.
        """
        limit_s = self._settings.limits.transfer_s
        request = Request("commit", None, set_id)
        found = self._retried(
            lambda: self._ask(request, "committed", limit_s),
            f"commit {set_id}",
            self._after_ns(limit_s),
        )
        if found != set_id:
            raise self._no_answer(f"committed {readable(str(found), 80)}")
        return set_id

    def deliver(self, folder: Path, set_id: str) -> TransferResult:
        """Return once the set is in the peer's catalogue: sent, committed, if need be repaired.

        The commit finds files that have the right size and time but not the content (a disk that
        lost power), and removes them there; they are sent anew, once.

        Raises:
            Stop: it could not be delivered.
        """
        result = self.send(folder, set_id)
        try:
            self.commit(set_id)
        except PeerStop as stop:
            if stop.code not in {Exit.NOT_VERIFIED, Exit.TRANSFER}:
                raise
            logger.warning("commit refused set=%s why=%s; sent again", set_id, stop)
            again = self.send(folder, set_id)
            self.commit(set_id)
            attempts = result.attempts + again.attempts
            return TransferResult(result.bytes_sent + again.bytes_sent, attempts)
        return result

    def _ask(self, request: Request, wanted: str, limit_s: float | None = None) -> Any:  # noqa: ANN401 - JSON
        """Return the field *wanted* of the agent's answer."""
        output = self._ssh.run(
            *self._settings.peer.agent,
            stdin=request.encode(),
            limit_s=limit_s,
            output_bytes=MAX_ANSWER_BYTES + 4096,
        )
        if output.exit_code is None:
            raise Stop(
                Exit.TIMEOUT,
                "the peer's agent did not end in time",
                fact=f"{request.verb}, {output.took_ns / 1e9:.0f} s",
            )
        try:
            return parse_answer(output.stdout, wanted=wanted)
        except PeerStop as stop:
            if stop.code is Exit.LOCKED:
                raise _Again(stop) from stop
            raise
        except InputError as error:
            fact = output.complaint if output.exit_code else str(error)
            raise self._no_answer(readable(fact, 300)) from error

    def _retried(
        self,
        attempt: Callable[[], Any],
        what: str,
        deadline_ns: int | None = None,
    ) -> Any:  # noqa: ANN401 - what the attempt returns
        """Return what *attempt* gives, tried again with back-off while that can help."""
        patience = Patience(self._clock.monotonic_ns(), give_up_s=self._give_up_s)
        while True:
            begun_ns = self._clock.monotonic_ns()
            try:
                return attempt()
            except (SshError, _Again) as error:
                stop = self._stop_for(error)
            ended_ns = self._clock.monotonic_ns()
            patience = patience.after(begun_ns, ended_ns, self._io_timeout_s)
            if stop.code is Exit.TRUST or patience.is_over(ended_ns):
                raise stop
            wait_s = patience.wait_s
            if deadline_ns is not None and ended_ns + round(wait_s * 1e9) >= deadline_ns:
                raise Stop(Exit.TIMEOUT, f"no time left for {what}", fact=stop.fact or stop.why)
            if patience.tries == 1:  # nobody should sit before a silent program
                logger.warning("%s; tried again for %.0f s", stop, self._give_up_s, extra=_ALOUD)
            logger.warning("retry what=%s after_s=%g why=%s", what, wait_s, stop)
            self._wait(wait_s)

    def _stop_for(self, error: "SshError | _Again") -> Stop:
        """Return how the run ends if this failure is the last."""
        if isinstance(error, _Again):
            return error.stop
        words = readable(error.words, 300)
        if error.trouble is Trouble.UNTRUSTED:
            return Stop(
                Exit.TRUST,
                f"ssh does not trust {error.destination}, or is not trusted there",
                fact=words,
                fix="compare the host key by hand (known_hosts), and the key in authorized_keys",
            )
        return Stop(Exit.TRANSFER, f"{error.destination}: {error.trouble}", fact=words)

    def _no_answer(self, fact: str) -> Stop:
        return Stop(
            Exit.TRANSFER,
            "no answer from the peer's agent",
            fact=fact,
            fix=f"try there: {' '.join(self._settings.peer.agent)}",
        )

    def _is_the_other(self, own: Hello, peer: Hello) -> None:
        """Return when *peer* is another site, with the path that the command line names."""
        if peer.site == own.site:
            raise Stop(
                Exit.CONFIG,
                "the other host has this site's own name",
                fact=peer.site,
                fix="name the other site's host, and give each site a name of its own",
            )
        wanted = self._settings.peer.site
        if wanted not in {"", peer.site}:
            raise Stop(
                Exit.CONFIG,
                "the other host is not the peer that the settings name",
                fact=f"it is {peer.site}, peer.site is {wanted}",
                fix="name the peer's host, or mend peer.site",
            )
        path = self._address.path
        if path and peer.base and path not in {peer.base, peer.inbox, f"{peer.base}/inbox"}:
            raise Stop(
                Exit.CONFIG,
                "the peer keeps its sets elsewhere",
                fact=f"{path} is not {peer.base}",
                fix="leave the path out: the peer's own settings decide it",
            )

    def _fits(self, folder: Path, set_id: str, peer: Hello) -> None:
        size_bytes = sum(path.lstat().st_size for path in folder.rglob("*"))
        need_bytes = size_bytes - peer.parts.get(set_id, 0)
        if need_bytes > peer.free_bytes:
            raise Stop(
                Exit.NO_SPACE,
                "no space in the peer's inbox",
                fact=f"needs {need_bytes} bytes, may take {peer.free_bytes}",
                fix="free some space there",
            )

    def _rsync(
        self,
        folder: Path,
        set_id: str,
        peer: Hello,
        bandwidth: int | None,
        more: tuple[str, ...],
    ) -> tuple[str, ...]:
        """Return rsync's words but for -e; the set's folder is the only one it makes there."""
        kib_s = self._settings.peer.bandwidth_kib_s if bandwidth is None else bandwidth
        inbox = f"{peer.inbox}/" if peer.inbox else ""
        return (
            *("rsync", "-rt", "--inplace", f"--timeout={self._io_timeout_s}"),
            *("--chmod=D0700,F0600", "--no-motd", *more),
            *((f"--bwlimit={kib_s}",) if kib_s else ()),
            *("--", f"{folder}/", f"{self._address.rsync_host}:{inbox}{set_id}.part/"),
        )

    def _transfer(self, argv: tuple[str, ...], limit_s: float) -> tuple[CommandOutput, SshLog]:
        with tempfile.TemporaryDirectory(prefix="rsync-") as folder:
            log = Path(folder, "log")
            program, *more = argv
            shell = rsync_shell(self._ssh.words(log))
            output = run((program, "-e", shell, *more), limit_s=limit_s)
            return output, read_log(log)

    def _check_transfer(self, output: CommandOutput, said: SshLog) -> None:
        """Return when rsync sent all; raise `_Again` for what another attempt may mend."""
        code, complaint = output.exit_code, readable(output.complaint, 300)
        words = output.stderr.decode("utf-8", "replace")
        if code == 0:
            return
        if code is None:
            raise Stop(Exit.TIMEOUT, "the transfer took too long", fact=complaint)
        if code in RETRYABLE and said.exit_code is None and said.trouble is not Trouble.LOST:
            raise SshError(said.trouble, self._address.ssh_destination, said.words or complaint)
        if _NO_SPACE.search(words):
            fix = "free some space there"
            raise Stop(Exit.NO_SPACE, "no space at the peer", fact=complaint, fix=fix)
        if refused := _REFUSED.search(words):
            raise Stop(Exit.REFUSED, "the peer takes no files", fact=readable(refused[1], 300))
        stop = Stop(Exit.TRANSFER, "the transfer failed", fact=complaint)
        if code == NOT_FOUND or (code > 0 and code not in RETRYABLE):
            raise stop
        raise _Again(stop)

    def _after_ns(self, seconds: float) -> int:
        return self._clock.monotonic_ns() + round(seconds * 1e9)


class _Again(Exception):  # noqa: N818 - not an error yet
    """A failure that another attempt may mend; *stop* is how it ends if not."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        super().__init__(str(stop))
