"""The limited process that runs the C library's regular expressions, and the value it answers with.

No test asserts a duration: that a costly pattern is bounded shows in the engine answering the next.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from harness import regex_child, regex_worker
from harness.errors import ToolError
from harness.regex import Match, NoMatch, Refusal
from harness.regex_child import INVALID, MATCHED, READY, REPLY_HEAD, REQUEST_HEAD, UNMATCHED
from harness.regex_worker import PosixRegex

UNASKED = count()
BLOW_UP = (rb"(.*)(.*)(.*)\1\2\3x", b"a" * 200)
MEMORY_EATER = rb"((((a{1,100}){1,100}){1,100}){1,100})"
# POSIX gives the first group the longest it can have: ab, c, d.
SUBMATCH_EXAMPLE = (rb"(a|ab)(c|bcd)(d*)", b"abcd")


@pytest.fixture(scope="module")
def engine() -> Iterator[PosixRegex]:
    """Give an engine that the module's tests share."""
    with PosixRegex() as shared:
        yield shared


def still_answers(engine: PosixRegex) -> bool:
    """Say whether *engine*'s process does its work, with a request that no cache holds."""
    subject = b"%d" % next(UNASKED)
    outcome = engine.match(rb"^([0-9]+)$", subject)
    return outcome == Match((subject, subject)) and engine.child_pid is not None


def open_descriptors() -> list[Path]:
    """Return this process's descriptors."""
    return sorted(Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    ("pattern", "subject", "outcome"),
    [
        (rb"^\+1(650)?(.*)$", b"+16505550112", Match((b"+16505550112", b"650", b"5550112"))),
        (rb"(a)|(b)", b"b", Match((b"b", None, b"b"))),
        (rb"(a*)", b"b", Match((b"", b""))),
        (rb"a|ab|abc", b"xabcd", Match((b"abc",), start=1)),
        (rb"[[:digit:]]+", b"a12", Match((b"12",), start=1)),
        (rb"\d", b"1", NoMatch()),
        (rb"^[a-c]{2,3}$", b"abcd", NoMatch()),
        (rb".", b"\xff", Match((b"\xff",))),
        (rb"[\xc3]", "é".encode()[1:], NoMatch()),
        (rb"(x)\1", b"axx", Match((b"xx", b"x"), start=1)),
    ],
)
def test_match_gives_groups_as_posix_says(
    engine: PosixRegex, pattern: bytes, subject: bytes, outcome: Match | NoMatch
) -> None:
    """Leftmost-longest over octets; an unset group is None and no group is invented."""
    assert engine.match(pattern, subject) == outcome


def test_groups_are_the_c_librarys_where_posix_wants_others(engine: PosixRegex) -> None:
    """POSIX wants ab, c, d; glibc (so sed, bash, Kamailio) and TRE (musl) give a, bcd, nothing.

    The whole match is the same. Clients use the C library, so its choice is the one to predict;
    an ERE whose groups depend on this choice is not portable.
    """
    assert engine.match(*SUBMATCH_EXAMPLE) == Match((b"abcd", b"a", b"bcd", b""))


def test_case_is_ignored_only_when_asked(engine: PosixRegex) -> None:
    """The i flag reaches the C library, and its answer is remembered apart."""
    assert engine.match(b"SIP", b"sip") == NoMatch()
    assert engine.match(b"SIP", b"sip", ignore_case=True) == Match((b"sip",))


@pytest.mark.parametrize("pattern", [b"(", b"(?:a)", b"^+1", b"[a", b"a{2,1}", b"a\\", b"[[:no:]]"])
def test_bad_syntax_is_refused_in_the_c_librarys_words(engine: PosixRegex, pattern: bytes) -> None:
    """A pattern that does not compile gives its reason, and the process lives on."""
    pid = engine.child_pid
    outcome = engine.match(pattern, b"a")
    assert isinstance(outcome, Refusal)
    assert outcome.why
    assert pid in (None, engine.child_pid)


@pytest.mark.parametrize(
    ("pattern", "subject", "why"),
    [
        (b"a" * 256, b"a", "pattern of 256 octets"),
        (b"a", b"a" * 256, "subject of 256 octets"),
        (b"a\0b", b"a", "NUL in the pattern at octet 1"),
        (b"a", b"\0", "NUL in the subject at octet 0"),
    ],
)
def test_what_c_would_misread_is_refused_without_a_process(
    pattern: bytes, subject: bytes, why: str
) -> None:
    """Too long or with a NUL: the child is not even started."""
    with PosixRegex() as engine:
        outcome = engine.match(pattern, subject)
        assert isinstance(outcome, Refusal)
        assert outcome.why.startswith(why)
        assert engine.child_pid is None


def test_longest_pattern_and_subject_are_answered(engine: PosixRegex) -> None:
    """255 octets of each, and 127 groups, pass through both pipes."""
    assert engine.match(b"a" * 255, b"a" * 255) == Match((b"a" * 255,))
    assert engine.match(b"(" * 127 + b"b" + b")" * 127, b"b") == Match((b"b",) * 128)


def test_costly_pattern_is_refused_and_the_next_is_answered() -> None:
    """Back-reference blow-up ends at the wall limit; a new process takes the next request."""
    with PosixRegex(limit_ns=100_000_000) as engine:
        assert still_answers(engine)
        first = engine.child_pid
        assert engine.match(*BLOW_UP) == Refusal("too costly: no answer within 100 ms")
        assert still_answers(engine)
        assert engine.child_pid != first


def test_memory_eater_is_refused_and_the_next_is_answered() -> None:
    """Nested counted repetitions meet the address-space limit, not this process's memory."""
    with PosixRegex(limit_ns=30_000_000_000) as engine:
        outcome = engine.match(MEMORY_EATER, b"a")
        assert isinstance(outcome, Refusal)
        assert outcome.why.startswith(("too costly", "worker died"))
        assert still_answers(engine)


@pytest.mark.parametrize(
    "pattern",
    [
        b"(" * 255,
        b"(" * 127 + b")" * 127,
        b"(a*)*" * 50,
        b"a{32767}" * 30,
        b"((a{1,255}){1,255}){1,255}",
        b"(a|b|ab)*" * 25 + rb"\1",
        b"[" * 255,
        b"\xff" * 255,
        b"x*" * 127,
        rb"((.*)\2)*" * 20,
        b"^(b*|.{0,1}|b*)+$",  # glibc 2.36 loops for ever over its groups
    ],
)
def test_hostile_pattern_leaves_an_engine_that_answers(pattern: bytes) -> None:
    """Whatever a pattern does, the outcome is one of three values and the engine goes on."""
    with PosixRegex(limit_ns=100_000_000) as engine:
        assert isinstance(engine.match(pattern, b"ab" * 120), Match | NoMatch | Refusal)
        assert still_answers(engine)


def test_answer_in_doubt_is_remembered_when_it_comes_again() -> None:
    """A loaded machine may be late once; a pattern that is late twice is not asked a third time."""
    with PosixRegex(limit_ns=50_000_000) as engine:
        refused = engine.match(*BLOW_UP)
        assert engine.match(*BLOW_UP) == refused
        assert still_answers(engine)
        pid = engine.child_pid
        assert engine.match(*BLOW_UP) == refused
        assert engine.child_pid == pid


def test_cache_answers_without_a_process_and_is_bounded() -> None:
    """An answer is remembered until newer ones push it out."""
    with PosixRegex(cache_entries=2) as engine:
        engine.match(b"a", b"a")
        pid = engine.child_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert engine.match(b"a", b"a") == Match((b"a",))
        assert engine.child_pid == pid
        engine.match(b"b", b"b")
        engine.match(b"c", b"c")
        second = engine.child_pid
        assert second not in (None, pid)
        os.kill(second or 0, signal.SIGKILL)
        os.waitid(os.P_PID, second or 0, os.WEXITED | os.WNOWAIT)
        assert engine.match(b"a", b"a") == Match((b"a",))
        assert engine.child_pid != second


def test_process_that_dies_of_a_request_gives_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash inside the C library is a value with the signal's number."""
    with PosixRegex() as engine:
        assert still_answers(engine)
        pid = engine.child_pid or 0
        os.kill(pid, signal.SIGSTOP)
        write = regex_worker._write  # noqa: SLF001 - no other way to die between the two pipes

        def die(child: "subprocess.Popen[bytes]", octets: bytes) -> None:
            write(child, octets)
            os.kill(child.pid, signal.SIGSEGV)
            os.kill(child.pid, signal.SIGCONT)

        with monkeypatch.context() as patched:
            patched.setattr(regex_worker, "_write", die)
            assert engine.match(b"a", b"a") == Refusal("worker died (signal 11)")
        assert engine.match(b"a", b"a") == Match((b"a",))


def test_close_leaves_no_process_and_no_descriptor() -> None:
    """After every way a child can end, nothing of it is left."""
    before = open_descriptors()
    engine = PosixRegex(limit_ns=50_000_000)
    assert still_answers(engine)
    engine.match(*BLOW_UP)
    engine.match(MEMORY_EATER, b"a")
    assert still_answers(engine)
    pid = engine.child_pid
    engine.close()
    engine.close()
    assert engine.child_pid is None
    assert open_descriptors() == before
    assert pid is not None
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_closed_engine_is_the_callers_mistake() -> None:
    """A request after `close` would start a process that nobody ends."""
    engine = PosixRegex()
    engine.close()
    with pytest.raises(ToolError, match="closed"):
        engine.match(b"a", b"a")


@pytest.mark.parametrize("program", ["/nonexistent/python", "/bin/true", "/bin/echo"])
def test_process_that_cannot_start_is_our_trouble(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """No interpreter, or one that does not say it is ready: a ToolError, never a refusal."""
    before = open_descriptors()
    monkeypatch.setattr(sys, "executable", program)
    with PosixRegex() as engine, pytest.raises(ToolError):
        engine.match(b"a", b"a")
    assert open_descriptors() == before


def child_argv() -> list[str]:
    """Return the command line of the child."""
    return [sys.executable, "-I", "-S", str(Path(regex_child.__file__))]


def request(pattern: bytes, subject: bytes) -> bytes:
    """Return a request's octets."""
    return REQUEST_HEAD.pack(0, len(pattern), len(subject)) + pattern + subject


@pytest.mark.parametrize("cut", [0, 2, 3, 4])
def test_child_ends_with_its_parent(cut: int) -> None:
    """End of file, also in the middle of a request, ends the child without a word."""
    ended = subprocess.run(
        child_argv(), input=request(b"a", b"b")[:cut], capture_output=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, READY, b"")


def test_child_answers_requests_in_their_order() -> None:
    """Several requests in one write give as many replies."""
    octets = request(b"b", b"ab") + request(b"c", b"ab") + request(b"(", b"ab")
    ended = subprocess.run(
        child_argv(), input=octets, capture_output=True, timeout=30, check=True
    ).stdout
    matched = REPLY_HEAD.pack(MATCHED, 4) + regex_child.SPAN.pack(1, 2)
    assert ended.startswith(READY + matched + REPLY_HEAD.pack(UNMATCHED, 0))
    kind, octet_count = REPLY_HEAD.unpack_from(ended, len(READY + matched) + REPLY_HEAD.size)
    assert (kind, octet_count) == (INVALID, len(ended) - len(READY + matched) - 2 * REPLY_HEAD.size)


def test_child_lives_under_its_limits(engine: PosixRegex) -> None:
    """Address space, core files and processor time are limited in the running child."""
    assert still_answers(engine)
    pid = engine.child_pid or 0
    limits = [
        resource.prlimit(pid, which)[0]
        for which in (resource.RLIMIT_AS, resource.RLIMIT_CORE, resource.RLIMIT_CPU)
    ]
    assert limits[:2] == [regex_child.MEMORY_OCTETS, 0]
    assert 0 < limits[2] <= 60
