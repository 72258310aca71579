"""Our reading of substitution expressions against BIND's `named-rrchecker`.

We accept an expression when it parses and the C library compiles its ERE; BIND has its own parser
and its own ERE checker. `KNOWN_DIFFERENCES` lists where the two part, with the reason.
"""

import re
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from enumtest.naptr.naptr import NaptrError, NaptrRecord, SubstitutionExpression, presentation
from harness.regex import Refusal
from harness.regex_worker import PosixRegex
from tests.lab.peers import need

pytestmark = pytest.mark.lab

# What may differ, as a pattern over the ERE, and why. All but the fourth is undefined by POSIX.
KNOWN_DIFFERENCES = {
    r"\{(?!\d+(,\d*)?\})": "a brace that opens no interval: a literal to BIND, refused by glibc",
    r"^\||\(\||\|\||\|\)|\|$": "an empty alternative: refused by BIND, empty to glibc",
    r"[*+?}][*+?{]": "a quantifier on a quantifier: refused by BIND, applied by glibc",
    r"\{\d*,?\d{3,}": "a count beyond 255 (RE_DUP_MAX): refused by BIND, glibc goes to 32767",
    r"\[[.=]|:\]-": "names of characters, and a class as the end of a range: BIND does not look",
}
EXAMPLES = [  # text, we accept it, BIND accepts it
    ("!a{!x!", False, True),
    ("!a{x}!x!", False, True),
    ("!a|!x!", True, False),
    ("!(|a)!x!", True, False),
    ("!a||b!x!", True, False),
    ("!a**!x!", True, False),
    ("!a{2}{3}!x!", True, False),
    ("!a{1,300}!x!", True, False),
    ("![[.hyphen.]]!x!", False, True),
    ("![[:alpha:]-z]!x!", False, True),
]


@pytest.fixture(scope="module")
def rrchecker() -> str:
    """Give the program's path."""
    return need("named-rrchecker", "bind9")


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


@pytest.mark.parametrize(("text", "ours", "binds"), EXAMPLES)
def test_known_difference_is_as_listed(
    rrchecker: str, engine: PosixRegex, text: str, *, ours: bool, binds: bool
) -> None:
    """Each difference has an example; a new release of either side shows here."""
    assert (we_accept(engine, text), bind_accepts(rrchecker, text)) == (ours, binds)
    assert differs_knowingly(text)


def differs_knowingly(text: str) -> bool:
    """Return whether the ERE of *text*, once parsed, falls under a known difference."""
    try:
        ere = SubstitutionExpression.parse(text).ere.decode("latin-1")
    except NaptrError:
        return False  # the grammar around the ERE knows no difference
    return any(re.search(known, ere) for known in KNOWN_DIFFERENCES)


# One line, split at blanks: what an ERE is made of, well-formed and not.
PIECES = r"a b 1 . ( ) (a) [ ] [a] [^b] [[:digit:]] ^ $ * + ? | {2} {1,2} - , : i \ \1 \2 é \( \["
pieces = st.sampled_from(PIECES.split())
eres = st.lists(pieces, min_size=1, max_size=6).map("".join)
replacements = st.lists(
    st.sampled_from(["x", "sip:", r"\1", r"\2", r"\0", r"\d", "\\\\"]), max_size=3
).map("".join)
flags = st.sampled_from(["", "", "i", "ii", "g"])


@given(
    delimiter=st.sampled_from("!!!!/.*(^-]|+a1i0"),
    ere=eres,
    escape=st.booleans(),
    replacement=replacements,
    flag=flags,
)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_made_up_expression_is_accepted_exactly_when_bind_accepts_it(  # noqa: PLR0913 - a record
    rrchecker: str,
    engine: PosixRegex,
    delimiter: str,
    ere: str,
    *,
    escape: bool,
    replacement: str,
    flag: str,
) -> None:
    """Delimiters that are operators, escapes, groups and back-references in any mixture."""
    if escape:
        ere = ere.replace(delimiter, "\\" + delimiter)
        replacement = replacement.replace(delimiter, "\\" + delimiter)
    text = delimiter.join(["", ere, replacement, flag])
    assume(not differs_knowingly(text))
    assert we_accept(engine, text) == bind_accepts(rrchecker, text)
