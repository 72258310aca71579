"""Telephone numbers in the one form that the whole project compares: E.164 digits.

Everything that leaves a SIP URI, a NAPTR owner name or a site file passes through `PhoneNumber`,
so two modules can never disagree about whether "+1 (650) 555-0112" and "16505550112" are equal.

Sources: ITU-T E.164 (at most 15 digits), RFC 6116 section 3 (the ENUM owner name).
"""

import re
from dataclasses import dataclass
from typing import Self

from harness.errors import NumberError

MAX_DIGITS = 15  # country code included
ENUM_APEX = "e164.arpa"

_DIGITS = frozenset("0123456789")  # ASCII only: str.isdecimal() also accepts U+0663
_E164 = re.compile(rf"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}\Z")
_SEPARATORS = frozenset(" -.()")  # RFC 3966 section 5.1.1, plus the space people type


@dataclass(frozen=True, slots=True, order=True)
class PhoneNumber:
    """An E.164 number: 1 to 15 ASCII digits, country code first, no plus sign."""

    digits: str

    def __post_init__(self) -> None:
        """Refuse anything else, so that no invalid number can exist."""
        if why := _objection(self.digits):
            raise NumberError(self.digits, why)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read *text* as a global number, ignoring visual separators only.

        Raises:
            NumberError: any other character, no digits, more than 15, or a national leading zero.

        >>> PhoneNumber.parse("+1 (650) 555-0112").digits
        '16505550112'
        >>> PhoneNumber.parse("ext 12 of +1650")
        Traceback (most recent call last):
        harness.errors.NumberError: 'ext 12 of +1650': not an E.164 number: unexpected 'e'
        """
        digits = "".join(c for c in text.removeprefix("+") if c not in _SEPARATORS)
        if why := _objection(digits):
            raise NumberError(text, why)
        return cls(digits)

    def enum_domain(self, apex: str = ENUM_APEX) -> str:
        """Return the owner name to query for NAPTR records, without a final dot (RFC 6116 s3).

        >>> PhoneNumber("4420").enum_domain()
        '0.2.4.4.e164.arpa'
        """
        return ".".join([*reversed(self.digits), apex])

    def __str__(self) -> str:
        """Write the number as dialled between countries, with its plus sign."""
        return f"+{self.digits}"


def _objection(digits: str) -> str | None:
    """Say why *digits* is no E.164 number, or None when it is one."""
    if _E164.match(digits):  # nearly all
        return None
    for c in digits:
        if c not in _DIGITS:
            return f"unexpected {c!r}"
    if not 1 <= len(digits) <= MAX_DIGITS:
        return f"{len(digits)} digits, not 1 to {MAX_DIGITS}"
    if digits.startswith("0"):
        return "no country code starts with 0; is this a national number?"
    return None
