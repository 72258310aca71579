"""The C library's POSIX regular expressions, in a process that a hostile pattern may kill.

Laws:
  * A pattern costs at most its wall limit, 256 MiB in another process, and a restart of it.
  * What a pattern does to the process is a `Refusal`; only a process that cannot be started at all
    is a `ToolError`.
  * An answer that may be due to the machine's load (no answer in time, process died) is remembered
    only when it comes a second time; all others at once.
"""

import os
import select
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from harness import regex_child
from harness.errors import ToolError
from harness.regex import MAX_OCTETS, Match, NoMatch, Refusal

LIMIT_NS = 500_000_000
START_LIMIT_NS = 30_000_000_000  # a loaded machine may take seconds to start an interpreter
CACHE_ENTRIES = 4096

_Outcome = Match | NoMatch | Refusal
_Key = tuple[bytes, bytes, bool]
_T = TypeVar("_T")


class PosixRegex:
    """A `harness.regex.RegexEngine` on the C library; for one thread at a time.

    The process starts with the first request and ends with `close` (or with this process).
    """

    def __init__(self, *, limit_ns: int = LIMIT_NS, cache_entries: int = CACHE_ENTRIES) -> None:
        """Take the wall limit of one request, and how many answers are remembered."""
        self._limit_ns = limit_ns
        self._cache_entries = cache_entries
        self._cache: OrderedDict[_Key, _Outcome] = OrderedDict()
        self._suspects: OrderedDict[_Key, None] = OrderedDict()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def __enter__(self) -> Self:
        """Return itself; the process starts with the first request."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    @property
    def child_pid(self) -> int | None:
        """The process id of the child, or None when there is none now."""
        return None if self._child is None else self._child.pid

    def match(
        self, pattern: bytes, subject: bytes, *, ignore_case: bool = False
    ) -> Match | NoMatch | Refusal:
        """Return the leftmost-longest match of *pattern* in *subject*.

        Raises:
            ToolError: closed already, or the process cannot be started.
        """
        if self._closed:
            raise ToolError("this regular expression engine is closed")
        if why := _objection(pattern, "pattern") or _objection(subject, "subject"):
            return Refusal(why)
        key = (pattern, subject, ignore_case)
        if (known := self._cache.get(key)) is not None:
            self._cache.move_to_end(key)
            return known
        outcome, certain = self._ask(key)
        if certain or key in self._suspects:
            _remember(self._cache, key, outcome, self._cache_entries)
            self._suspects.pop(key, None)
        else:
            _remember(self._suspects, key, None, self._cache_entries)
        return outcome

    def close(self) -> None:
        """End the process, if there is one; a second call does nothing."""
        self._closed = True
        self._discard()

    def _ask(self, key: _Key) -> tuple[_Outcome, bool]:
        """Return the child's answer, and whether it is certain to come again."""
        pattern, subject, ignore_case = key
        child = self._running()
        head = regex_child.REQUEST_HEAD.pack(int(ignore_case), len(pattern), len(subject))
        deadline_ns = time.monotonic_ns() + self._limit_ns
        try:
            _write(child, head + pattern + subject)
            reply_head = _read(child, regex_child.REPLY_HEAD.size, deadline_ns)
            kind, count = regex_child.REPLY_HEAD.unpack(reply_head)
            payload = _read(child, count, deadline_ns)
        except TimeoutError:
            self._discard()
            return Refusal(f"too costly: no answer within {self._limit_ns / 1e6:g} ms"), False
        except (EOFError, BrokenPipeError):
            return Refusal(f"worker died ({_status(self._discard())})"), False
        return self._outcome(kind, payload, subject), True

    def _outcome(self, kind: int, payload: bytes, subject: bytes) -> _Outcome:
        """Return what a reply says."""
        if kind == regex_child.UNMATCHED:
            return NoMatch()
        if kind == regex_child.MATCHED:
            spans = tuple(regex_child.SPAN.iter_unpack(payload))
            groups = tuple(None if start < 0 else subject[start:end] for start, end in spans)
            return Match(groups, start=spans[0][0])
        text = payload.decode("ascii", "replace")
        if kind == regex_child.EXHAUSTED:
            self._discard()  # its heap may be in pieces now; the next request gets a fresh one
            return Refusal(f"too costly: {text}")
        return Refusal(text)

    def _running(self) -> subprocess.Popen[bytes]:
        """Return a child that is ready for a request.

        Raises:
            ToolError: it cannot be started, or does not say that it is ready.
        """
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._discard()
        argv = [sys.executable, "-I", "-S", str(Path(regex_child.__file__))]
        try:
            self._child = subprocess.Popen(
                argv,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            ready = _read(self._child, len(regex_child.READY), time.monotonic_ns() + START_LIMIT_NS)
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            self._discard()
            raise ToolError(f"cannot start {' '.join(argv)}: {error}") from error
        if ready != regex_child.READY:
            self._discard()
            raise ToolError(f"{' '.join(argv)} began with {ready!r}, not {regex_child.READY!r}")
        return self._child

    def _discard(self) -> int:
        """End the child and close its pipes; return its status (negative: the signal)."""
        child, self._child = self._child, None
        if child is None:
            return 0
        status = child.poll()
        if status is None:
            child.kill()
        with child:  # closes both pipes and waits, so that neither zombie nor descriptor stays
            pass
        return status if status is not None else child.returncode


def _objection(octets: bytes, name: str) -> str:
    """Say why the child is not asked about *octets*, or return ""."""
    if len(octets) > MAX_OCTETS:
        return f"{name} of {len(octets)} octets, more than {MAX_OCTETS}"
    if b"\0" in octets:
        return f"NUL in the {name} at octet {octets.index(0)}"  # C would read up to it only
    return ""


def _remember(store: OrderedDict[_Key, _T], key: _Key, value: _T, entries: int) -> None:
    """Keep *value*, and forget the least recently used beyond *entries*."""
    store[key] = value
    store.move_to_end(key)
    while len(store) > entries:
        store.popitem(last=False)


def _write(child: subprocess.Popen[bytes], octets: bytes) -> None:
    """Send *octets*, which an idle child's pipe always takes whole."""
    if child.stdin is None:
        raise BrokenPipeError
    child.stdin.write(octets)


def _read(child: subprocess.Popen[bytes], count: int, deadline_ns: int) -> bytes:
    """Return *count* octets from *child*.

    Raises:
        TimeoutError: they did not come before *deadline_ns* (monotonic).
        EOFError: the child closed its side.
    """
    if child.stdout is None:
        raise EOFError
    descriptor = child.stdout.fileno()
    poll = select.poll()  # not select(): a busy server has descriptors beyond 1024
    poll.register(descriptor, select.POLLIN)
    found = b""
    while len(found) < count:
        left_ns = max(0, deadline_ns - time.monotonic_ns())
        if not poll.poll(-(-left_ns // 1_000_000)):
            raise TimeoutError
        more = os.read(descriptor, count - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def _status(code: int) -> str:
    """Put a process's end into words."""
    return f"signal {-code}" if code < 0 else f"exit status {code}"
