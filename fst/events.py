"""The schema of the journal: which events there are, and what each must hold.

Laws: who writes uses known types with fields of the right kind (`check`); who reads ignores types
and fields that it does not know; a journal of a newer schema is refused whole, because there known
names may mean something else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fst.event_table import TYPES, EventType, FieldType, Kind
from harness.errors import InputError
from harness.finding import Outcome
from harness.journal import SCHEMA, Event

MAX_WHOLE = 2**63 - 1
SAID = ("pass", "fail", "other")
RUN_START = "run.start"


def check(event: Event) -> None:
    """Refuse an event that no writer of schema 1 makes; fields of its own it may have.

    Raises:
        InputError: an unknown type, a field that is missing or of another kind.
    """
    known = TYPES.get(event.type)
    place = f"event {event.seq}"
    if known is None:
        raise InputError("no such type of event", file=place, field="type", value=event.type)
    for field in known.fields:
        value = event.fields.get(field.name)
        if value is None and not field.required:
            continue
        if not _SHAPES[field.kind].fits(value):
            raise InputError(
                f"not a {field.kind.value}" if value is not None else "is missing",
                file=f"{place} ({event.type})",
                field=field.name,
                value=value,
            )


def refuse_newer(events: Iterable[Event], *, file: str = "journal") -> None:
    """Refuse a journal of a newer schema; one without a number is of the first.

    Raises:
        InputError: its run.start has a number that this program does not know.
    """
    for event in events:
        if event.type == RUN_START:
            number = event.fields.get("schema", SCHEMA)
            if type(number) is not int or not 0 < number <= SCHEMA:
                raise InputError(
                    f"a journal of another schema; this program reads up to {SCHEMA}",
                    file=file,
                    field="schema",
                    value=number,
                    fix="use the version of fst that wrote it, or a newer one",
                )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one line of the journal."""
    own = {
        "seq": {"type": "integer", "minimum": 1, "description": "number of the line, from 1"},
        "at_ns": {"type": "integer", "description": "wall time (UTC) in ns since 1970"},
        "type": {"enum": sorted(TYPES), "description": "type of the event"},
        "prev": {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "SHA-256 of the line before, with its newline; of the first: zeros",
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:fst:journal:{SCHEMA}",
        "title": f"One line of the journal of a run, schema {SCHEMA}",
        "description": "Readers ignore fields that they do not know. Text is UTF-8.",
        "type": "object",
        "required": list(own),
        "properties": own,
        "allOf": [
            {
                "if": {"properties": {"type": {"const": each.name}}},
                "then": {"$ref": f"#/$defs/{each.name}"},
            }
            for each in TYPES.values()
        ],
        "$defs": {each.name: _definition(each) for each in TYPES.values()},
    }


def _definition(each: EventType) -> dict[str, Any]:
    return {
        "description": each.meaning,
        "required": [field.name for field in each.fields if field.required],
        "properties": {field.name: _property(field) for field in each.fields},
    }


def _property(field: FieldType) -> dict[str, Any]:
    shape = dict(_SHAPES[field.kind].schema)
    if not field.required:
        shape = {"anyOf": [shape, {"type": "null"}]}
    return shape | {"description": field.meaning}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and type(value) is int and 0 <= value <= MAX_WHOLE


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _all(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and all(fits(item) for item in value)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a kind of field looks like, to us and in JSON Schema."""

    schema: Mapping[str, Any]
    fits: Callable[[object], bool]

    def many(self) -> "_Shape":
        """Return the shape of a list of these."""
        return _Shape({"type": "array", "items": self.schema}, _all(self.fits))


def _one_of(words: Sequence[str]) -> _Shape:
    return _Shape({"enum": list(words)}, lambda value: value in words)


_TEXT = _Shape({"type": "string"}, _is_text)
_WHOLE = _Shape({"type": "integer", "minimum": 0, "maximum": MAX_WHOLE}, _is_whole)
_OBJECT = _Shape({"type": "object"}, _is_object)
_SHAPES = {
    Kind.TEXT: _TEXT,
    Kind.WHOLE: _WHOLE,
    Kind.NUMBER: _Shape({"type": "number"}, lambda value: type(value) in {int, float}),
    Kind.FLAG: _Shape({"type": "boolean"}, lambda value: isinstance(value, bool)),
    Kind.TEXTS: _TEXT.many(),
    Kind.WHOLES: _WHOLE.many(),
    Kind.OUTCOME: _one_of([word.value for word in Outcome]),
    Kind.SAID: _one_of(SAID),
    Kind.OBJECT: _OBJECT,
    Kind.OBJECTS: _OBJECT.many(),
    Kind.ROWS: _Shape({"type": "array"}, _is_list).many(),
}
