"""What a POSIX extended regular expression gives: a match, no match, or a refusal.

Pure: the engine itself (the C library, in a limited process) is `harness.regex_worker`.
Beside it, the little of the syntax that must be known before an engine is asked: what a delimiter
around an expression does to it (RFC 3402, as in sed), and how many groups it has.

Laws: an engine answers every request with one of the three values and never raises for a hostile
pattern; a `Refusal` says nothing about whether the pattern would have matched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_OCTETS = 255  # of a pattern or a subject: what one DNS character-string holds

_OPERATORS = frozenset(b".[()+*?{}|^$")  # without its backslash, such a delimiter would operate
_BRACKET_OPERATORS = frozenset(b"^-[]")  # in a bracket expression, where backslash is a member


@dataclass(frozen=True, slots=True)
class Match:
    """The octets of each group: [0] the whole match, then one a group, None where it took no part.

    There are exactly as many entries as the pattern has groups, plus one.
    """

    groups: tuple[bytes | None, ...]
    start: int = 0  # of the whole match, in octets from the start of the subject


@dataclass(frozen=True, slots=True)
class NoMatch:
    """The pattern is valid and does not occur in the subject."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The engine gave no answer: bad syntax, too costly, too long, or it died."""

    why: str


class RegexEngine(Protocol):
    """Anything that speaks POSIX extended regular expressions over octets, in the C locale."""

    def match(
        self, pattern: bytes, subject: bytes, *, ignore_case: bool = False
    ) -> Match | NoMatch | Refusal:
        """Return the leftmost-longest match of *pattern* in *subject*."""
        ...


def without_delimiter(ere: bytes, delimiter: bytes) -> bytes:
    r"""Return the ERE for an engine: each escaped *delimiter* has become itself, as a literal.

    >>> without_delimiter(rb"^\!\d[\!]", b"!"), without_delimiter(rb"a\.b[\.]", b".")
    (b'^!\\d[!]', b'a\\.b[.]')
    """
    if delimiter not in ere:
        return ere
    escaped = b"\\" + delimiter
    outside = escaped if delimiter[0] in _OPERATORS else delimiter
    inside = b"[." + delimiter + b".]" if delimiter[0] in _BRACKET_OPERATORS else delimiter
    return b"".join(
        piece.replace(escaped, inside if piece.startswith(b"[") else outside)
        for piece in _pieces(ere, delimiter)
    )


def group_count(ere: bytes, delimiter: bytes = b"") -> int:
    r"""Return how many groups *ere*, written between delimiters, has if it compiles at all.

    >>> group_count(rb"^(\(|[(])(.*)$")
    2
    """
    return sum(piece == b"(" for piece in _pieces(ere, delimiter))


def unescaped(octets: bytes, start: int) -> Iterator[int]:
    """Yield the offset of each octet that is no backslash and follows none that escapes it."""
    at = start
    while at < len(octets):
        if octets[at] == ord("\\"):
            at += 2
            continue
        yield at
        at += 1


def first_unescaped(ere: bytes, delimiter: bytes) -> int:
    """Return where an unescaped *delimiter*, or a backslash that escapes nothing, is; else -1."""
    for at in unescaped(ere, 0):
        if ere[at : at + 1] == delimiter:
            return at
    backslashes = len(ere) - len(ere.rstrip(b"\\"))
    return len(ere) - 1 if backslashes % 2 else -1


def _pieces(ere: bytes, delimiter: bytes) -> Iterator[bytes]:
    """Yield an ERE in pieces: an escaped pair, a whole bracket expression, or one octet."""
    at = 0
    while at < len(ere):
        end = at + 1
        if ere[at] == ord("\\"):
            end = at + 2
        elif ere[at] == ord("["):
            end = _bracket_end(ere, at, delimiter)
        yield ere[at:end]
        at = end


def _bracket_end(ere: bytes, start: int, delimiter: bytes) -> int:
    """Return the offset after the bracket expression at *start* (POSIX XBD 9.3.5)."""
    at = start + 1
    at += ere[at : at + 1] == b"^"
    at += ere[at : at + 1] == b"]"  # first, it is a member
    while at < len(ere):
        pair = ere[at : at + 2]
        if pair in (b"[.", b"[=", b"[:") and (close := ere.find(pair[1:] + b"]", at + 2)) >= 0:
            at = close + 2
        elif pair[:1] == b"]" != delimiter:  # as the delimiter it can only be a literal
            return at + 1
        else:
            at += 1
    return len(ere)
