"""What a probe or client reported, as rows that do not depend on its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a row is about."""

    TOTAL = "calls in all"
    BUCKET = "calls by time"
    TOP_SOURCE = "top sources"
    TOP_DESTINATION = "top destinations"
    CALL = "calls one by one"
    STREAM = "RTP streams"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written: the last digit may be rounded."""

    value: float
    tolerance: float = 0.0

    def is_near(self, other: float) -> bool:
        """Say whether *other* could have been written like this.

        >>> Number(0.33, 0.005).is_near(1 / 3), Number(1, 0).is_near(2)
        (True, False)
        """
        return abs(self.value - other) <= self.tolerance * (1 + 1e-9) + 1e-9 * abs(self.value)

    def __str__(self) -> str:
        """Write it without a point where it has none."""
        return f"{self.value:.10g}"


def as_number(text: str) -> Number | None:
    """Return a decimal number, and half of its last place; None: it is none.

    >>> as_number("0.25"), as_number("12"), as_number("1e3")
    (Number(value=0.25, tolerance=0.005), Number(value=12.0, tolerance=0.0), None)
    """
    whole, point, rest = text.removeprefix("-").partition(".")
    if not (whole.isascii() and whole.isdecimal() and (rest.isdecimal() if point else True)):
        return None
    return Number(float(text), 0.5 * 10 ** -len(rest) if point else 0.0)


@dataclass(frozen=True, slots=True)
class Reported:
    """One row; what it does not say is absent."""

    kind: Kind
    line: int  # of their file
    at_ns: int | None = None  # where a bucket begins; of a call, or of a stream: its start
    at_tolerance_ns: int = 0
    key: tuple[str, ...] = ()  # Call-ID or nothing; party; source, destination and SSRC
    numbers: Mapping[str, Number] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    form: str  # that it was read as
    rows: tuple[Reported, ...]
    whole: tuple[Kind, ...] = ()  # lists of everything, which may be empty

    def of(self, *kinds: Kind) -> "Report":
        """Return the rows about some things alone."""
        rows = tuple(row for row in self.rows if row.kind in kinds)
        return Report(self.form, rows, tuple(kind for kind in self.whole if kind in kinds))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return what it is about."""
        present = {*self.whole, *(row.kind for row in self.rows)}
        return tuple(kind for kind in Kind if kind in present)
