"""Our reading of substitution expressions against BIND's `named-rrchecker`.

We accept an expression when it parses and the C library compiles its ERE; BIND has its own parser
and its own ERE checker. `KNOWN_DIFFERENCES` lists where the two part, with the reason.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from enumtest.naptr import NaptrError, NaptrRecord, SubstitutionExpression, presentation
from harness.regex import Refusal
from harness.regex_worker import PosixRegex

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def rrchecker() -> str:
    """Give the program's path."""
    found = shutil.which("named-rrchecker")
    if found is None:
        line = "named-rrchecker is not here: apt-get install bind9"
        if os.environ.get("CI") == "true":
            pytest.fail(line)
        pytest.skip(line)
    return found


@pytest.fixture(scope="module")
def engine() -> Iterator[PosixRegex]:
    """Give the C library's engine."""
    with PosixRegex() as shared:
        yield shared


def bind_accepts(rrchecker: str, text: str) -> bool:
    """Return what BIND says of a record with *text* as its regexp."""
    record = NaptrRecord(10, 20, "u", "E2U+sip", text)
    done = subprocess.run(
        [rrchecker],
        input=f"IN NAPTR {presentation(record)}\n".encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0


def we_accept(engine: PosixRegex, text: str) -> bool:
    """Return whether it parses and its ERE compiles."""
    try:
        found = SubstitutionExpression.parse(text)
    except NaptrError:
        return False
    return not isinstance(found.apply("+16505550112", engine), Refusal)


@pytest.mark.parametrize(
    "text",
    [
        r"!^.*$!sip:x@example.com!",
        r"!^\+1(.*)$!sip:\1@x!",
        r"!^(\+1)(.*)$!sip:\2\1@x!i",
        r"!a!b!ii",
        r"!a!b!I",
        r"!a!b!g",
        r"!a!b!i!",
        r"!a!b",
        r"!a!b!c!",
        r"!a!b\!",
        r"!a\!b!c\!d!",
        r"aba\1a",
        r"axaba",
        r"ixiyi",
        r"IxIyI",
        r"1x1y1",
        r"0x0y0",
        r"9x9y9",
        "\\x\\y\\",
        r".a\.b.c.",
        r".[\.].c.",
        r"*a\*[+\*].b*c*",
        r"(a\(b(c(",
        r"+^\+1+x+",
        r"^\^a^b^",
        r"-[a\-z]-b-",
        "\xa3a\xa3b\xa3",
        "!\xe9!\xff!",
        r"!!b!",
        r"!a!!",
        r"!!!",
        r"!(a)!\2!",
        r"!(a)!\0!",
        r"!(a)!\10!",
        r"!(a)!\\1!",
        r"!a!\d!",
        r"!a!\1!",
        r"!\(a\)!\1!",
        r"![(]a!\1!",
        r"![](]a!\1!",
        r"!\d!x!",
        r"!^+1!x!",
        r"!*a!x!",
        r"!(*a)!x!",
        r"!a|*b!x!",
        r"!(!x!",
        r"!a)!x!",
        r"!(?:a)!x!",
        r"!a{1,255}!x!",
        r"!a{2}!x!",
        r"!a{2,}!x!",
        r"!a{3,2}!x!",
        r"!a{x}!x!",
        r"![a!x!",
        r"![[:alpha:]]!x!",
        r"![[:nonsense:]]!x!",
        r"![z-a]!x!",
        r"!a\\!x!",
        r"!(a)\1!x!",
        r"!(a)\2!x!",
        "!a!b\x00!",
        "!a\x00!b!",
        "!" + "a" * 240 + "!sip:x!",
        "!" + "(" * 9 + "a" + ")" * 9 + r"!\9\8\7!",
    ],
)
def test_expression_is_accepted_exactly_when_bind_accepts_it(
    rrchecker: str, engine: PosixRegex, text: str
) -> None:
    """Every rule of the grammar, one case and more each."""
    assert we_accept(engine, text) == bind_accepts(rrchecker, text)
