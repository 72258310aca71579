"""The schema of the journal: the table, what is checked, and the published JSON Schema."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from fst.event_table import TYPES, Kind
from fst.events import check, json_schema, refuse_newer
from harness.errors import InputError
from harness.journal import FIRST, SCHEMA, Event
from tests.unit.test_report_sample import sample

PUBLISHED = Path(__file__).parents[2] / "docs" / f"journal-schema-{SCHEMA}.json"
VALUES: dict[Kind, tuple[object, object]] = {  # one that fits, one that does not
    Kind.TEXT: ("x", 1),
    Kind.WHOLE: (3, -1),
    Kind.NUMBER: (1.5, True),
    Kind.FLAG: (True, 1),
    Kind.TEXTS: (["x"], [1]),
    Kind.WHOLES: ([1], [1.5]),
    Kind.OUTCOME: ("PASS", "N/A"),
    Kind.SAID: ("pass", "PASS"),
    Kind.OBJECT: ({}, []),
    Kind.OBJECTS: ([{}], {}),
    Kind.ROWS: ([[1]], [1]),
}
FIELDS = [(kind.name, field) for kind in TYPES.values() for field in kind.fields]


def event(kind: str, /, **changed: object) -> Event:
    fields = {field.name: VALUES[field.kind][0] for field in TYPES[kind].fields}
    return Event(1, 7, kind, FIRST, fields | changed)


def line(made: Event) -> object:
    return json.loads(made.encode())


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_published_schema_is_that_of_the_table() -> None:
    """The file in docs is made from the table; make it again when the table changes."""
    made = json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
    assert PUBLISHED.read_text(encoding="utf-8") == made


def test_a_foreign_validator_takes_the_lines_of_a_run(validator: Draft202012Validator) -> None:
    """jsonschema, which knows nothing of us, finds no fault in the sample journal; nor do we."""
    for each in sample():
        validator.validate(line(each))
        check(each)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_taken_with_and_without_its_open_fields(
    kind: str, validator: Draft202012Validator
) -> None:
    """The validator and `check` agree on each type, as full and as bare as it may be."""
    bare = {field.name: None for field in TYPES[kind].fields if not field.required}
    for each in (event(kind), event(kind, **bare), event(kind, novelty=1)):
        check(each)
        validator.validate(line(each))


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=lambda one: getattr(one, "name", one))
def test_a_field_of_another_kind_is_refused_by_both(
    kind: str,
    field: object,
    validator: Draft202012Validator,
) -> None:
    """Each field of each type, wrong or (if needed) missing, is named by us and found by them."""
    (wanted,) = (one for one in TYPES[kind].fields if one is field)
    wrong = [VALUES[wanted.kind][1], *([None] if wanted.required else [])]
    for value in wrong:
        made = event(kind, **{wanted.name: value})
        with pytest.raises(InputError, match=wanted.name):
            check(made)
        assert not validator.is_valid(line(made))


def test_an_unknown_type_is_refused_by_the_writer() -> None:
    """What is not in the table is not written; a reader of an older version would pass it by."""
    with pytest.raises(InputError, match="no such type of event"):
        check(Event(1, 0, "verdict.guessed", FIRST, {}))


@pytest.mark.parametrize("number", [2, 0, "1", True, None])
def test_another_schema_is_refused_in_one_line(number: object) -> None:
    """A newer journal may use our words for other things; one line says so."""
    events = [Event(1, 0, "run.start", FIRST, {"schema": number})]
    with pytest.raises(InputError, match="a journal of another schema; this program reads up to 1"):
        refuse_newer(events)


def test_the_first_journals_have_no_number() -> None:
    """They are of schema 1."""
    refuse_newer([Event(1, 0, "run.start", FIRST, {})])
