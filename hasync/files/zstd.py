"""The edge to zstd: a stream into a compressed file, or out of one, through a child with a limit.

A child that hangs ends with its time limit; one that fails (disk full, damaged frame) is a `Stop`
with its own words. What was written is flushed to the disk before `compressing` returns.
"""

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.child import started
from harness.clock import SystemClock
from hasync.failure import Exit, Stop

LEVEL = 3
_PIECE = 1 << 20
_WORDS_BYTES = 2000


@contextmanager
def compressing(target: Path, *, limit_s: float) -> Iterator[Callable[[bytes], None]]:
    """Give a function that takes the next bytes of what becomes the new file *target*.

    Raises:
        Stop: zstd is not there, has failed or did not take the bytes in time.
    """
    deadline_ns = SystemClock().monotonic_ns() + round(limit_s * 1e9)
    argv = ("zstd", "-q", "-T0", f"-{LEVEL}", "-c")
    with target.open("xb") as file, _child(argv, subprocess.PIPE, file) as process:
        assert process.stdin is not None  # noqa: S101 - it was asked for
        number = process.stdin.fileno()
        os.set_blocking(number, False)

        def write(data: bytes) -> None:
            rest = memoryview(data)
            while rest:
                _wait(process, deadline_ns, writing=number)
                try:
                    rest = rest[os.write(number, rest[:_PIECE]) :]
                except BrokenPipeError as error:
                    raise _failure(process, deadline_ns) from error

        yield write
        process.stdin.close()
        _end(process, deadline_ns)
        os.fsync(file.fileno())


@contextmanager
def expanding(source: Path, *, limit_s: float) -> Iterator[Callable[[int], bytes]]:
    """Give a function that returns at most so many next bytes of the content of *source*.

    It returns b"" at the end, once zstd has said that the whole frame was good.

    Raises:
        Stop: zstd is not there, finds damage, or gives nothing in time.
    """
    deadline_ns = SystemClock().monotonic_ns() + round(limit_s * 1e9)
    with source.open("rb") as file, _child(("zstd", "-q", "-d", "-c"), file) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        number = process.stdout.fileno()

        def read(size_bytes: int) -> bytes:
            _wait(process, deadline_ns, reading=number)
            piece = os.read(number, min(size_bytes, _PIECE))
            if not piece:
                _end(process, deadline_ns)
            return piece

        yield read


@contextmanager
def _child(
    argv: tuple[str, ...], stdin: object, stdout: object = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """Give the running child; one that cannot be started is a `Stop`."""
    try:
        context = started(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)  # type: ignore[arg-type] # files and PIPE
        process = context.__enter__()
    except OSError as error:
        fix = "install zstd"
        raise Stop(Exit.FAILED, "cannot start zstd", fact=str(error.strerror), fix=fix) from error
    try:
        yield process
    finally:
        context.__exit__(None, None, None)


def _wait(
    process: subprocess.Popen[bytes], deadline_ns: int, *, reading: int = -1, writing: int = -1
) -> None:
    """Return when the pipe is ready, or its other end is closed."""
    left_s = max(0.0, (deadline_ns - SystemClock().monotonic_ns()) / 1e9)
    ready = select.select(
        [reading] if reading >= 0 else [], [writing] if writing >= 0 else [], [], left_s
    )
    if not any(ready):
        raise Stop(Exit.TIMEOUT, "zstd did not end in time", fact=f"process {process.pid}")


def _end(process: subprocess.Popen[bytes], deadline_ns: int) -> None:
    """Return once the child has ended well."""
    failure = _failure(process, deadline_ns)
    if process.returncode != 0:
        raise failure


def _failure(process: subprocess.Popen[bytes], deadline_ns: int) -> Stop:
    """Return what the child says of its end, having waited for it."""
    assert process.stderr is not None  # noqa: S101 - it was asked for
    words = b""
    while True:
        _wait(process, deadline_ns, reading=process.stderr.fileno())
        piece = os.read(process.stderr.fileno(), _PIECE)
        if not piece:
            break
        words = (words + piece)[:_WORDS_BYTES]
    process.wait()  # it has closed its last output: it is at its end
    said = words.decode("utf-8", "backslashreplace").strip() or f"exit code {process.returncode}"
    full = "No space left" in said
    return Stop(Exit.NO_SPACE if full else Exit.FAILED, "zstd failed", fact=said)
