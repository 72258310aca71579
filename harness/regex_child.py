"""The program that runs POSIX regular expressions for `harness.regex_worker`, and may die of it.

Started as `python -I -S regex_child.py`, so it imports the standard library alone. It reads
requests from stdin and writes one reply each to stdout; it ends at end of file, that is, with its
parent.

    ready    READY, once
    request  flags u8 (1: ignore case), pattern length u8, subject length u8, pattern, subject
    reply    kind u8 (MATCHED, UNMATCHED, INVALID, EXHAUSTED), length u16, payload
             MATCHED: start and end, i16 each, of the whole match and of each group (-1: unset)
             INVALID, EXHAUSTED: the C library's own words

The layouts of regex_t and regmatch_t differ between C libraries (glibc: re_nsub at 48 and regoff_t
of 4 octets; musl: at 0 and 8 octets), so both are measured at the start instead of declared.
"""

import ctypes
import locale
import os
import resource
import signal
import struct

READY = b"R"
REQUEST_HEAD = struct.Struct("=BBB")
REPLY_HEAD = struct.Struct("=BH")
SPAN = struct.Struct("=hh")
MATCHED, UNMATCHED, INVALID, EXHAUSTED = range(4)

MEMORY_OCTETS = 256 * 1024 * 1024  # of address space; Python itself takes about 30 MiB of it
CPU_S = 2  # for one request: behind the parent's wall limit, in case the parent is gone

_REG_EXTENDED, _REG_ICASE = 1, 2  # the same in glibc and musl
_REG_NOMATCH, _REG_ESPACE = 1, 12
_REGEX_T_OCTETS = 1024  # 64 on all that is known; generous, so that no library writes past it


class Library:
    """The C library's regcomp and regexec, with the layout of their structures measured."""

    def __init__(self) -> None:
        """Find where `re_nsub` is and how wide `regoff_t` is.

        Raises:
            OSError: this C library's layout cannot be told.
        """
        self._c = ctypes.CDLL(None)
        self._regex = ctypes.create_string_buffer(_REGEX_T_OCTETS)
        self._groups_at = self._measured_groups_at()
        self._offset = self._measured_offset()

    def match(self, pattern: bytes, subject: bytes, *, ignore_case: bool) -> tuple[int, bytes]:
        """Return the kind of the reply and its payload."""
        flags = _REG_EXTENDED | (_REG_ICASE if ignore_case else 0)
        if code := self._c.regcomp(self._regex, pattern, flags):
            return self._failure(code)
        try:
            count = self._groups(self._groups_at) + 1
            spans = (self._offset * (2 * count))()
            code = self._c.regexec(self._regex, subject, ctypes.c_size_t(count), spans, 0)
            if code == _REG_NOMATCH:
                return UNMATCHED, b""
            if code:
                return self._failure(code)
            pairs = zip(spans[::2], spans[1::2], strict=True)
            return MATCHED, b"".join(SPAN.pack(start, end) for start, end in pairs)
        finally:
            self._c.regfree(self._regex)

    def _failure(self, code: int) -> tuple[int, bytes]:
        text = ctypes.create_string_buffer(256)
        self._c.regerror(code, self._regex, text, ctypes.c_size_t(len(text)))
        return EXHAUSTED if code == _REG_ESPACE else INVALID, text.value

    def _groups(self, at: int) -> int:
        return ctypes.c_size_t.from_buffer(self._regex, at).value

    def _measured_groups_at(self) -> int:
        width = ctypes.sizeof(ctypes.c_size_t)
        candidates = set(range(0, 64, width))
        for groups in (3, 5, 7):
            if self._c.regcomp(self._regex, b"(a)" * groups, _REG_EXTENDED):
                raise OSError("regcomp refuses (a)(a)(a)")
            candidates = {at for at in candidates if self._groups(at) == groups}
            self._c.regfree(self._regex)
        if not candidates:
            raise OSError("re_nsub is nowhere in regex_t")
        return min(candidates)

    def _measured_offset(self) -> type[ctypes.c_int] | type[ctypes.c_ssize_t]:
        if self._c.regcomp(self._regex, b"b", _REG_EXTENDED):
            raise OSError("regcomp refuses b")
        try:
            for kind in (ctypes.c_int, ctypes.c_ssize_t):
                # Room for the widest, filled with what no offset is.
                room = (ctypes.c_ssize_t * 2)(-9, -9)
                self._c.regexec(self._regex, b"ab", ctypes.c_size_t(1), room, 0)
                span = (kind * 2).from_buffer(room)
                if tuple(span) == (1, 2):
                    return kind
        finally:
            self._c.regfree(self._regex)
        raise OSError("regoff_t is neither int nor ssize_t")


def confine() -> None:
    """Give this process the C locale, a small memory, no core file, and no part in Ctrl-C."""
    locale.setlocale(locale.LC_ALL, "C")  # octets, not characters, whatever the user's locale
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; it ends us by end of file
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OCTETS, MEMORY_OCTETS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def grant_cpu() -> None:
    """Allow `CPU_S` seconds more from now: the limit counts the whole life, a request does not."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + CPU_S
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def read_exactly(descriptor: int, count: int) -> bytes | None:
    """Return *count* octets, or None when the other side is gone."""
    found = b""
    while len(found) < count:
        more = os.read(descriptor, count - len(found))
        if not more:
            return None
        found += more
    return found


def serve(requests: int, replies: int, library: Library) -> None:
    """Answer requests from one descriptor on another until end of file."""
    os.write(replies, READY)
    while head := read_exactly(requests, REQUEST_HEAD.size):
        flags, pattern_octets, subject_octets = REQUEST_HEAD.unpack(head)
        body = read_exactly(requests, pattern_octets + subject_octets)
        if body is None:
            return
        grant_cpu()
        kind, payload = library.match(
            body[:pattern_octets], body[pattern_octets:], ignore_case=bool(flags & 1)
        )
        os.write(replies, REPLY_HEAD.pack(kind, len(payload)) + payload)  # < PIPE_BUF: one piece


def main() -> int:
    """Serve stdin and stdout; return the exit status."""
    library = Library()
    confine()
    serve(0, 1, library)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
