"""The C library's regular expressions against TRE and PostgreSQL, which share no code with it.

All must agree on whether a pattern matches and on the span of the whole match; where one is known
to be wrong, `tre_errs` and `glibc_may_loop` say so. Which groups the match has depends on the
engine in the ways that `GROUP_DIFFERENCES` lists.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.regex import Match, NoMatch, Refusal
from harness.regex_worker import PosixRegex
from tests.lab.peers import missing

pytestmark = pytest.mark.lab

Span = tuple[int, int] | None
Case = tuple[str, str, bool]  # pattern, subject, ignore case

# (pattern, subject): groups of the C library, TRE, PostgreSQL. The reason is one for all: POSIX
# wants each group, from the left, as long as the whole match allows. PostgreSQL does that; glibc
# (so sed, bash, Kamailio) and TRE (so musl) take the first alternative, or the shortest way.
GROUP_DIFFERENCES = {
    (r"(a|ab)(c|bcd)(d*)", "abcd"): (
        ("a", "bcd", ""),
        ("a", "bcd", ""),
        ("ab", "c", "d"),
    ),
    (r"(ab|a)(c|bcd)(d*)", "abcd"): (
        ("ab", "c", "d"),
        ("a", "bcd", ""),
        ("ab", "c", "d"),
    ),
    (r"(a|ab)(bc|c)?", "abc"): (("a", "bc"), ("ab", "c"), ("ab", "c")),
    (r"^(\+1|\+12)(23|3)(.*)$", "+123"): (("+1", "23", ""), ("+12", "3", ""), ("+12", "3", "")),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[PosixRegex]:
    """Give the C library's engine."""
    with PosixRegex() as shared:
        yield shared


class Tre:
    """TRE's POSIX calls; its structures are those of glibc on 64 bits."""

    def __init__(self, library: str) -> None:
        """Load *library*."""
        self._c = ctypes.CDLL(library)

    def match(self, case: Case) -> Span:
        """Return the span of the whole match."""
        spans = self._spans(case, 1)
        return spans[0] if spans else None

    def groups(self, pattern: str, subject: str, count: int) -> tuple[str | None, ...]:
        """Return the first *count* groups."""
        spans = self._spans((pattern, subject, False), count + 1)
        return tuple(None if at < 0 else subject[at:end] for at, end in spans[1:])

    def _spans(self, case: Case, count: int) -> list[tuple[int, int]]:
        pattern, subject, ignore_case = case
        regex = ctypes.create_string_buffer(1024)
        flags = 1 | (2 if ignore_case else 0)
        assert self._c.tre_regcomp(regex, pattern.encode(), flags) == 0, pattern
        spans = (ctypes.c_int * (2 * count))()
        code = self._c.tre_regexec(regex, subject.encode(), ctypes.c_size_t(count), spans, 0)
        self._c.tre_regfree(regex)
        assert code in (0, 1), pattern
        return [] if code else list(zip(spans[::2], spans[1::2], strict=True))


class Postgres:
    """A private cluster in *folder*, reached by its socket alone."""

    def __init__(self, folder: Path, programs: Path) -> None:
        """Make and start it, as user postgres where this is root: initdb refuses root."""
        self._folder, self._programs = folder, programs
        self._as: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data = str(folder / "data")
        own = ["-U", "postgres", "-A", "trust", "-E", "SQL_ASCII", "--locale=C", "--no-sync"]
        self._run("initdb", "-D", data, *own)
        socket = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -F"
        self._run("pg_ctl", "-D", data, "-w", "-o", socket, "-l", f"{folder}/log", "start")

    def _run(self, program: str, *arguments: str) -> None:
        argv = [*self._as, str(self._programs / program), *arguments]
        # No pipe: the server would inherit it, and reading to its end would never end.
        subprocess.run(argv, check=True, timeout=120, stdout=subprocess.DEVNULL, cwd="/")

    def stop(self) -> None:
        """End the server."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "fast", "stop")

    def query(self, expression: str, rows: list[str]) -> list[list[object]]:
        """Return *expression*, a JSON array over s and p, for each of *rows*, in their order."""
        script = (
            "SET statement_timeout = '60s';\n"
            f"SELECT json_agg({expression} ORDER BY n) "
            f"FROM (VALUES {','.join(rows)}) AS cases(n, p, s);\n"
        )
        argv = [str(self._programs / "psql"), "-h", str(self._folder), "-U", "postgres"]
        argv += ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        done = subprocess.run(
            argv, input=script, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        found: list[list[object]] = json.loads(done.stdout)
        return found

    def match(self, cases: list[Case]) -> list[Span]:
        """Return the span of the whole match of each of *cases*."""
        rows = [
            f"({n}, {literal(('(?ei)' if ignore_case else '(?e)') + pattern)}, {literal(subject)})"
            for n, (pattern, subject, ignore_case) in enumerate(cases)
        ]
        ends = "json_build_array(regexp_instr(s, p, 1, 1, 0), regexp_instr(s, p, 1, 1, 1))"
        spans = [(int(str(start)), int(str(end))) for start, end in self.query(ends, rows)]
        return [(start - 1, end - 1) if start else None for start, end in spans]

    def groups(self, pattern: str, subject: str) -> tuple[object, ...]:
        """Return the groups of a match."""
        row = f"(0, {literal('(?e)' + pattern)}, {literal(subject)})"
        return tuple(self.query("to_json(regexp_match(s, p))", [row])[0])


def literal(text: str) -> str:
    """Return *text* as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


@pytest.fixture(scope="module")
def tre() -> Tre:
    """Give TRE."""
    library = find_library("tre")
    if library is None:
        missing("libtre", "libtre5")
    return Tre(str(library))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """Give a private PostgreSQL 15 or later (regexp_instr), and end it."""
    found = sorted(
        (path for path in Path("/usr/lib/postgresql").glob("*/bin") if int(path.parent.name) >= 15),
        key=lambda path: int(path.parent.name),
    )
    if not found:
        missing("PostgreSQL 15", "postgresql")
    # Not pytest's folder: user postgres cannot enter it, and a socket's path is at most 107 octets.
    with tempfile.TemporaryDirectory(prefix="fst-pg-") as folder:
        server = Postgres(Path(folder), found[-1])
        try:
            yield server
        finally:
            server.stop()


def tre_errs(pattern: str) -> bool:
    """Say whether TRE is known to be wrong about such patterns; the others agree on them.

    With alternatives it is not always leftmost-longest ("a|.a|(a|a.).*" on "1a1" gives "a1"), nor
    does it find all ("^_*$|_*$" on "a"); copies of a class for {m,n} lose the class, and match
    anything ("^[[:digit:]]{2,}" matches "ab").
    """
    return "|" in pattern or ("[:" in pattern and "{" in pattern)


def glibc_may_loop(pattern: str) -> bool:
    """Say whether glibc may loop for ever over the groups, as in "^(c*|.{0,1}|c*)+$" on "c+]ca"."""
    return re.search(r"\)[*+?{]", pattern) is not None


def own_span(engine: PosixRegex, case: Case) -> Span | Refusal:
    """Return the C library's span of the whole match, or why it gave none."""
    pattern, subject, ignore_case = case
    outcome = engine.match(pattern.encode(), subject.encode(), ignore_case=ignore_case)
    if isinstance(outcome, Refusal):
        return outcome
    if isinstance(outcome, NoMatch):
        return None
    whole = outcome.groups[0] or b""
    return outcome.start, outcome.start + len(whole)


# Only what POSIX defines: no quantifier on a quantifier or an anchor, no empty alternative.
characters = st.sampled_from(["a", "b", "c", "A", "1", r"\.", r"\+", "_"])
brackets = st.sampled_from(
    ["[ab]", "[^a]", "[a-c]", "[]a]", "[^]b]", "[[:digit:]]", "[[:alpha:]1]"]
)
atoms = characters | brackets | st.just(".")
quantifiers = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,1}", "{1,3}", "{2,}"])


def quantified(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return a strategy of one to three quantified pieces."""
    piece = st.tuples(inner, quantifiers).map("".join)
    return st.lists(piece, min_size=1, max_size=3).map("".join)


def grouped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return a strategy of sequences whose atoms may be groups of alternatives."""
    group = st.lists(inner, min_size=1, max_size=3).map("|".join).map("({})".format)
    return quantified(atoms | group)


patterns = st.recursive(quantified(atoms), grouped, max_leaves=6)
anchored = st.tuples(st.sampled_from(["", "^"]), patterns, st.sampled_from(["", "$"])).map("".join)
alternatives = st.lists(anchored, min_size=1, max_size=3).map("|".join)
subjects = st.text(alphabet="aabbcA1.+]_", max_size=10)
cases = st.lists(st.tuples(alternatives, subjects, st.booleans()), min_size=1, max_size=40)


@given(batch=cases)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whole_match_is_that_of_tre_and_postgresql(
    engine: PosixRegex, tre: Tre, postgres: Postgres, batch: list[Case]
) -> None:
    """Three engines of different descent see the same leftmost-longest match, or none."""
    wrong = []
    for case, third in zip(batch, postgres.match(batch), strict=True):
        own = own_span(engine, case)
        if isinstance(own, Refusal) and glibc_may_loop(case[0]):
            continue
        second = third if tre_errs(case[0]) else tre.match(case)
        if not own == second == third:
            wrong.append((case, own, second, third))
    assert wrong == []


@pytest.mark.parametrize(
    ("pattern", "subject", "own", "second"),
    [
        ("a|.a|(a|a.).*", "1a1", (0, 2), (1, 3)),
        ("^_*$|_*$", "a", (1, 1), None),
        ("^[[:digit:]]{2,}", "ab", None, (0, 2)),
    ],
)
def test_tre_errs_where_it_is_known_to(  # noqa: PLR0913 - three peers and a table
    engine: PosixRegex,
    tre: Tre,
    postgres: Postgres,
    *,
    pattern: str,
    subject: str,
    own: Span,
    second: Span,
) -> None:
    """PostgreSQL sides with the C library; a TRE that has learnt better shows here."""
    case = (pattern, subject, False)
    found = (own_span(engine, case), tre.match(case), postgres.match([case])[0])
    assert found == (own, second, own)


def test_glibc_loops_where_postgresql_answers(engine: PosixRegex, postgres: Postgres) -> None:
    """Glibc hangs over these 17 octets; here that is a refusal, and the engine goes on."""
    case = ("^(c*|.{0,1}|c*)+$", "c+]ca", False)
    assert isinstance(own_span(engine, case), Refusal)
    assert postgres.match([case]) == [(0, 5)]
    assert own_span(engine, ("b", "ab", False)) == (1, 2)


@pytest.mark.parametrize(("pattern", "subject"), GROUP_DIFFERENCES)
def test_groups_differ_exactly_where_it_is_known(
    engine: PosixRegex, tre: Tre, postgres: Postgres, pattern: str, subject: str
) -> None:
    """Each listed difference is as listed; a library that changes its mind shows here."""
    outcome = engine.match(pattern.encode(), subject.encode())
    assert isinstance(outcome, Match)
    own = tuple(None if group is None else group.decode() for group in outcome.groups[1:])
    found = (own, tre.groups(pattern, subject, len(own)), postgres.groups(pattern, subject))
    assert found == GROUP_DIFFERENCES[pattern, subject]
