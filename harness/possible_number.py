"""What libphonenumber is asked: two questions about digits, never to parse a text.

It would make +45 18062 of `voi18062` and +33 1001 of an extension; and which ranges are assigned
changes with its metadata, so that is not asked either. `LIBRARY` says which metadata answered.
"""

import re
from functools import lru_cache

import phonenumbers

from harness.errors import NumberError
from harness.number import MAX_DIGITS, PhoneNumber
from harness.party import Global

LIBRARY = f"phonenumbers {phonenumbers.__version__}"

_DIGITS = re.compile(r"[0-9]+\Z")
_EMERGENCY_DIGITS = 3  # longer ones, of few countries, are named in the plan


def e164(digits: str) -> Global | None:
    """Return *digits* as a global party when they have the form of E.164."""
    try:
        return Global(PhoneNumber(digits))
    except NumberError:
        return None


def possible(digits: str, country_code: str = "") -> Global | None:
    """Return *digits*, country code first, as a global party when such a number can exist."""
    lengths = (len(country_code),) if country_code else (1, 2, 3)
    for length in lengths:
        code, rest = digits[:length], digits[length:]
        if _verdict_is(code, rest, phonenumbers.ValidationResult.IS_POSSIBLE):
            return e164(digits)
    return None


def is_local_only(country_code: str, national: str) -> bool:
    """Say whether a number of that length is dialled in that country, inside one area alone."""
    return _verdict_is(country_code, national, phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY)


def emergency_region(country_code: str, digits: str) -> str:
    """Return the country of *country_code* when *digits* are an emergency number there, else ""."""
    if len(digits) != _EMERGENCY_DIGITS:
        return ""
    region = phonenumbers.region_code_for_country_code(int(country_code))
    return region if phonenumbers.is_emergency_number(digits, region) else ""


def _verdict_is(country_code: str, national: str, wanted: int) -> bool:
    """Say whether libphonenumber gives a national number of that length the verdict *wanted*."""
    size = len(country_code) + len(national)
    if not _DIGITS.match(country_code + national) or not national or size > MAX_DIGITS:
        return False
    return _verdict(country_code, len(national)) == wanted


@lru_cache(maxsize=8192)
def _verdict(country_code: str, digits: int) -> int:
    """Return what libphonenumber says of all national numbers of so many *digits*."""
    code, national = int(country_code), int("1" * digits)
    some = phonenumbers.PhoneNumber(country_code=code, national_number=national)
    found: int = phonenumbers.is_possible_number_with_reason(some)
    return found
