"""JSON to frozen dataclasses and back, strictly: what a peer wrote has the shape, or is refused.

The shape is the dataclass itself: its field names and their types (int, str, bool, `T | None`,
`tuple[T, ...]`, `Mapping[str, T]`, and dataclasses of these).
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from harness.errors import InputError

T = TypeVar("T")
_PLAIN = (int, str, bool, type(None))


def to_json(value: object) -> Any:  # noqa: ANN401 - JSON
    """Return *value* as JSON values: objects, arrays, text, numbers.

    Raises:
        InputError: something in it is no shape.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_json(found) for key, found in value.items()}
    if isinstance(value, tuple):
        return [to_json(found) for found in value]
    if isinstance(value, _PLAIN):
        return value
    raise InputError("no value for a manifest", value=value)


def from_json(shape: type[T], value: object, field: str) -> T:
    """Return *value* as *shape*; *field* is where it stands, for messages.

    Raises:
        InputError: a field is missing, unknown, or of another type.
    """
    return typing.cast("T", _shaped(shape, value, field))


def _shaped(shape: Any, value: object, field: str) -> object:  # noqa: ANN401 - a type expression
    if dataclasses.is_dataclass(shape):
        return _record(shape, value, field)
    origin, of = typing.get_origin(shape), typing.get_args(shape)
    if origin is types.UnionType:
        return None if value is None else _shaped(of[0], value, field)
    if origin is tuple and isinstance(value, list):
        return tuple(_shaped(of[0], found, f"{field}.{i}") for i, found in enumerate(value))
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: _shaped(of[1], found, f"{field}.{key}") for key, found in value.items()}
    if shape in _PLAIN and type(value) is shape:
        return value
    raise InputError("not of the shape it must have", field=field, value=value)


def _record(shape: Any, value: object, field: str) -> object:  # noqa: ANN401 - a dataclass
    if not isinstance(value, dict):
        raise InputError("not an object", field=field, value=value)
    kinds = typing.get_type_hints(shape)
    names = [f.name for f in dataclasses.fields(shape)]
    if strange := sorted(set(names) ^ set(value)):
        raise InputError("fields missing or unknown", field=field, value=", ".join(strange))
    return shape(**{name: _shaped(kinds[name], value[name], f"{field}.{name}") for name in names})
