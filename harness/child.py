"""The edge to other programs: a child has a time limit, bounded output, and cannot outlive us.

A child leads a process group of its own, so that all it started ends with it; the kernel kills it
when this process dies, however that happens. argv lists only: no shell.
"""

import ctypes
import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from harness.clock import SystemClock
from harness.command import NOT_FOUND, CommandOutput

OUTPUT_BYTES = 1 << 20  # kept of each stream: a tool's complaint, not its data
GRACE_S = 5.0  # between asking a child to end and ending it
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_CHUNK = 1 << 16
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def environment(**more: str) -> dict[str, str]:
    """Return what a child gets to see: nothing of ours but the home folder, and *more*.

    Cron, a login shell and a test thereby run the same program in the same locale.
    """
    home = {"HOME": os.environ["HOME"]} if "HOME" in os.environ else {}
    return ENV | home | more


def run(  # noqa: PLR0913 - named options of one call
    argv: Sequence[str],
    *,
    limit_s: float,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output_bytes: int = OUTPUT_BYTES,
) -> CommandOutput:
    """Return what *argv* gave; exit code None when it did not end within *limit_s* and was killed.

    A program that is not there gives exit code 127, like a shell. Output beyond *output_bytes* a
    stream is read and dropped (`cut`): the first bytes are kept.
    """
    at_ns, begun_ns = SystemClock().wall_ns(), time.monotonic_ns()
    try:
        process = _start(argv, env, cwd, subprocess.PIPE, subprocess.PIPE)
    except OSError as error:
        said = f"{argv[0]}: {error.strerror}".encode()
        return CommandOutput(tuple(argv), NOT_FOUND, b"", said, at_ns)
    talk = _Talk(process, stdin, output_bytes)
    try:
        ended = talk.until(begun_ns + round(limit_s * 1e9))
    finally:
        end_group(process)
        _close_streams(process)
    code = process.returncode if ended else None
    took_ns = time.monotonic_ns() - begun_ns
    out, err = (bytes(kept) for kept in talk.kept.values())
    return CommandOutput(tuple(argv), code, out, err, at_ns, took_ns, talk.cut)


@contextmanager
def started(  # noqa: PLR0913 - named options of one call
    argv: Sequence[str],
    *,
    stdin: IO[bytes] | int = subprocess.PIPE,
    stdout: IO[bytes] | int = subprocess.PIPE,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Give the running child to talk to; its group has ended when the block is left.

    The caller bounds the time of every read and write (`selectors`, or files instead of pipes).

    Raises:
        OSError: the program cannot be started.
    """
    process = _start(argv, env, cwd, stdin, stdout, stderr)
    try:
        yield process
    finally:
        end_group(process)
        _close_streams(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Return once *process* and all of its group are gone: asked first, then killed.

    It is reaped last, so its number can be nobody else's when the group gets its signal.
    """
    if process.returncode is not None:
        return
    if not _has_ended(process, 0.0):
        os.killpg(process.pid, signal.SIGTERM)
        _has_ended(process, GRACE_S)
    with suppress(ProcessLookupError):  # a group whose last member is a zombie
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _has_ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Say whether *process* has ended *within_s*; it is not reaped."""
    watched = os.pidfd_open(process.pid)
    try:
        return bool(select.select([watched], [], [], max(0.0, within_s))[0])
    finally:
        os.close(watched)


def _start(  # noqa: PLR0913, PLR0917 - what Popen needs
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: IO[bytes] | int,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - argv comes from settings and this project
        list(argv),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=dict(environment() if env is None else env),
        cwd=cwd,
        process_group=0,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call into libc, and we run no threads
    )


def _die_with_parent() -> None:
    """Ask the kernel to kill this child when its parent is gone (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _close_streams(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            _close(stream)


def _close(stream: IO[bytes]) -> None:
    with suppress(BrokenPipeError):  # unsent input of a child that is gone
        stream.close()


class _Talk:
    """Feeds one child and keeps what it says, without ever waiting on one stream alone."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes, output_bytes: int) -> None:
        self._process, self._input, self._room = process, memoryview(stdin), output_bytes
        assert process.stdin is not None  # noqa: S101 - they were asked for
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        self.kept = {process.stdout: bytearray(), process.stderr: bytearray()}
        self.cut = False
        self._selector = selectors.DefaultSelector()
        for stream in self.kept:
            self._selector.register(stream, selectors.EVENT_READ)
        if stdin:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()

    def until(self, deadline_ns: int) -> bool:
        """Say whether the child ended before *deadline_ns* (monotonic)."""
        with self._selector:
            while self._selector.get_map():
                left_s = (deadline_ns - time.monotonic_ns()) / 1e9
                ready = self._selector.select(left_s) if left_s > 0 else []
                if not ready and left_s <= 0:
                    break
                for key, _ in ready:
                    self._move(key.fileobj)  # type: ignore[arg-type] # we registered streams
        return _has_ended(self._process, (deadline_ns - time.monotonic_ns()) / 1e9)

    def _move(self, stream: IO[bytes]) -> None:
        """Read a piece, or write one."""
        if stream is self._process.stdin:
            self._feed(stream)
            return
        piece = os.read(stream.fileno(), _CHUNK)
        kept = self.kept[stream]
        self.cut |= len(kept) + len(piece) > self._room
        kept += piece[: self._room - len(kept)]
        if not piece:
            self._selector.unregister(stream)
            stream.close()

    def _feed(self, stream: IO[bytes]) -> None:
        try:
            self._input = self._input[os.write(stream.fileno(), self._input[:_CHUNK]) :]
        except BrokenPipeError:
            self._input = self._input[:0]  # it did not want the rest
        if not self._input:
            self._selector.unregister(stream)
            _close(stream)
