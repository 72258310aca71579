"""What the fields of a dial plan may hold: every fault at once, for `harness.dialplan`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import phonenumbers

from harness.number import PhoneNumber


def faults(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the fields of a plan, one text a fault."""
    found = []
    for name, value in values.items():
        wanted, is_right = _FIELDS.get(name, ("no such field", None))
        if is_right is None or not is_right(value):
            found.append(f"{name} = {repr(value)[:80]}: {wanted}")
    if found:
        return found
    lengths = values.get("extension_digits", ())
    seen = set[str]()
    for extension, _ in values.get("extensions", ()):
        if extension in seen or extension in values.get("emergency", ()):
            found.append(f"extensions.{extension}: has another meaning already")
        if lengths and len(extension) not in lengths:
            found.append(f"extensions.{extension}: its length is not in extension_digits")
        seen.add(extension)
    both = {*values.get("emergency", ())} & {*values.get("service_codes", ())}
    found += [f"service_codes: {code} is an emergency number too" for code in sorted(both)]
    trunk = values.get("national_prefix")
    if trunk and trunk in values.get("international_prefixes", ()):
        found.append(f"national_prefix = {trunk!r}: is an international prefix too")
    return found


def _text(pattern: str) -> Callable[[Any], bool]:
    """Return a check that a value is text of *pattern*, the whole of it."""
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _each(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a check that a value is a tuple whose every part is right."""
    return lambda value: isinstance(value, tuple) and all(map(is_right, value))


def _between(low: int, high: int) -> Callable[[Any], bool]:
    """Return a check that a value is a whole number in *low* to *high*; True is none."""
    return lambda value: type(value) is int and low <= value <= high


def _is_extension(value: Any) -> bool:  # noqa: ANN401 - TOML can hold anything
    """Say whether *value* is a pair of an extension and its global number."""
    match value:
        case (extension, PhoneNumber()):
            return _text("[0-9]{1,10}")(extension)
        case _:
            return False


_COUNTRIES = "|".join(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("not 1 to 32 of a-z 0-9 . -", _text("[a-z0-9][a-z0-9.-]{0,31}")),
    "country_code": ('not a country code in quotes, such as "44"', _text(_COUNTRIES)),
    "international_prefixes": ('not a list such as ["00"]', _each(_text("[0-9]{1,6}"))),
    "national_prefix": ('not digits in quotes, such as "0", or ""', _text("[0-9]{0,3}")),
    "area_code": ('not digits in quotes, such as "650", or ""', _text("[0-9]{0,6}")),
    "extension_digits": ("not a list of lengths from 2 to 10", _each(_between(2, 10))),
    "extensions": ('not a table such as 1001 = "+16505550112"', _each(_is_extension)),
    "emergency": ('not a list such as ["112"]', _each(_text("[0-9]{2,6}"))),
    "service_codes": ('not a list such as ["*67", "411"]', _each(_text("[0-9*#]{2,8}"))),
    "short_max_digits": ("not a length from 0 to 10", _between(0, 10)),
}
