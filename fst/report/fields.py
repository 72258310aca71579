"""The fields of a journal event, read with their types checked, as text that may be printed.

Law: what a journal holds came from peers and people and may be hostile. Text leaves here legible:
no character that XML 1.0 cannot hold, and none that makes a reader see another order of letters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, TypeVar

from harness.errors import InputError
from harness.journal import Event

_Choice = TypeVar("_Choice", bound=StrEnum)

_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_WHOLE = 2**63 - 1  # what other programs can hold; Python refuses to print far longer ones
_LAST_LATIN_CONTROL = 0x9F
_LAST_ONE_BYTE, _LAST_TWO_BYTES = 0xFF, 0xFFFF


def legible(text: str) -> str:
    r"""Return *text* with control, half and reordering characters written as their numbers.

    >>> legible("a\x1b[31m")
    'a\\x1b[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if _is_illegible(c) else c for c in text)


@dataclass(frozen=True, slots=True)
class Fields:
    """Named JSON values, and the *place* they came from (for the error message)."""

    values: Mapping[str, object]
    place: str

    @classmethod
    def of(cls, event: Event) -> "Fields":
        """Return the fields of *event*."""
        return cls(event.fields, f"event {event.seq} ({legible(event.type)})")

    def raw(self, name: str) -> str:
        """Return the text as the journal has it, to compare and never to print."""
        value = self.values.get(name)
        return value if isinstance(value, str) else self._refuse(name, "not a text")

    def text(self, name: str) -> str:
        """Return the text, legible; "" when the field is absent or null."""
        value = self.values.get(name)
        return "" if value is None else legible(self.raw(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the list of texts, legible; none when the field is absent or null."""
        found = self.items(name)
        return tuple(
            legible(item) if isinstance(item, str) else self._refuse(name, "not a list of texts")
            for item in found
        )

    def whole(self, name: str) -> int:
        """Return the whole number, which is never negative."""
        return whole(self.values.get(name), self.place, name)

    def whole_or_none(self, name: str) -> int | None:
        """Return the whole number; None when the field is absent or null."""
        return None if self.values.get(name) is None else self.whole(name)

    def number_or_none(self, name: str) -> float | None:
        """Return the number; None when it is absent, null, or no number at all (NaN, infinity)."""
        value = self.values.get(name)
        return None if value is None else finite(value, self.place, name)

    def limit(self, name: str) -> float | None:
        """Return the number; unlike a value, a limit that is no number is refused, not ignored."""
        found = self.number_or_none(name)
        if found is None and self.values.get(name) is not None:
            self._refuse(name, "not a finite number")
        return found

    def wholes(self, name: str) -> tuple[int, ...]:
        """Return the list of whole numbers; none when the field is absent or null."""
        return tuple(whole(item, self.place, name) for item in self.items(name))

    def choice(self, name: str, kind: type[_Choice]) -> _Choice:
        """Return the member of *kind* that the text names."""
        return chosen(self.values.get(name), kind, self.place, name)

    def items(self, name: str) -> tuple[object, ...]:
        """Return the list; an empty one when the field is absent or null."""
        value = self.values.get(name)
        if value is None:
            return ()
        return tuple(value) if isinstance(value, list | tuple) else self._refuse(name, "not a list")

    def rows(self, name: str, length: int) -> tuple[tuple[object, ...], ...]:
        """Return the list of lists, each of *length*."""
        return tuple(
            tuple(item)
            if isinstance(item, list | tuple) and len(item) == length
            else self._refuse(name, f"not lists of {length}")
            for item in self.items(name)
        )

    def inner(self, name: str) -> "Fields":
        """Return the object; an empty one when the field is absent or null."""
        value = self.values.get(name)
        return self._fields({} if value is None else value, name)

    def inners(self, name: str) -> tuple["Fields", ...]:
        """Return the list of objects."""
        return tuple(self._fields(v, f"{name}.{i}") for i, v in enumerate(self.items(name)))

    def _fields(self, value: object, name: str) -> "Fields":
        if not isinstance(value, Mapping):
            return self._refuse(name, "not an object", value)
        return Fields(value, f"{self.place}.{name}")

    def _refuse(self, name: str, why: str, value: object = None) -> NoReturn:
        raise InputError(why, file=self.place, field=name, value=value or self.values.get(name))


def whole(value: object, place: str, name: str) -> int:
    """Return the number, which is from 0 to MAX_WHOLE.

    Raises:
        InputError: anything else, a boolean included.
    """
    if type(value) is not int or not 0 <= value <= MAX_WHOLE:
        raise InputError("not a whole number from 0", file=place, field=name, value=value)
    return value


def finite(value: object, place: str, name: str) -> float | None:
    """Return the number, or None for NaN and infinity.

    Raises:
        InputError: not a number, or one too large to draw or compare.
    """
    if type(value) not in {int, float}:
        raise InputError("not a number", file=place, field=name, value=value)
    try:
        number = float(value)  # type: ignore[arg-type] # an int or a float, said above
    except OverflowError as error:
        raise InputError("too large a number", file=place, field=name) from error
    return number if math.isfinite(number) else None


def chosen(value: object, kind: type[_Choice], place: str, name: str) -> _Choice:
    """Return the member of *kind* that *value* names.

    Raises:
        InputError: it names none.
    """
    for member in kind:
        if value == member.value:
            return member
    known = ", ".join(kind)
    raise InputError("no such word", file=place, field=name, value=value, fix=f"one of {known}")


def _is_illegible(c: str) -> bool:
    code = ord(c)
    if c in "\t\n":
        return False
    control = code < ord(" ") or ord("\x7f") <= code <= _LAST_LATIN_CONTROL
    half = 0xD800 <= code <= 0xDFFF  # noqa: PLR2004 - the surrogates
    return control or half or code & 0xFFFE == 0xFFFE or c in _REORDERING  # noqa: PLR2004


def _escaped(c: str) -> str:
    code = ord(c)
    if code <= _LAST_ONE_BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _LAST_TWO_BYTES else f"\\U{code:08x}"
