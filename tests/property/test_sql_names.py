"""Any name there can be passes through SQL text, facts and schema text unharmed."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from hasync.database.facts import DatabaseFacts
from hasync.database.schema import fingerprint
from hasync.database.sql import (
    MAX_NAME_BYTES,
    assignment,
    conninfo,
    literal,
    parse_qualified,
    qualified,
)

CHARS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
NAMES = st.text(CHARS, min_size=1, max_size=15).filter(
    lambda name: len(name.encode()) <= MAX_NAME_BYTES
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
FIELDS = tuple(DatabaseFacts.__dataclass_fields__)


@given(NAMES, NAMES)
def test_a_qualified_name_reads_back(schema: str, name: str) -> None:
    """Two names become one text, and the text the same two names."""
    assert parse_qualified(qualified(schema, name)) == (schema, name)


@given(st.text())
def test_any_text_is_a_relation_or_refused(text: str) -> None:
    """A value or InputError, never anything else."""
    try:
        schema, name = parse_qualified(text)
    except InputError:
        return
    assert parse_qualified(qualified(schema, name)) == (schema, name)


@given(st.text(CHARS))
def test_a_literal_ends_where_it_should(text: str) -> None:
    """Within the outer quotes every quote is doubled."""
    inner = literal(text)[1:-1]

    assert inner.replace("''", "'") == text
    assert inner.replace("''", "").count("'") == 0


@given(st.text(), st.text())
def test_any_setting_is_written_or_refused(name: str, value: str) -> None:
    """A value or InputError, never anything else."""
    for field in (name, "search_path"):
        try:
            assignment(field, value)
        except InputError:
            continue


@given(st.text(CHARS))
def test_a_connection_string_has_one_value(text: str) -> None:
    """Unescaped, the value is the text; nothing follows it."""
    inner = conninfo({"dbname": text})[len("dbname='") : -1]
    out, at = "", 0
    while at < len(inner):
        assert inner[at] != "'"
        at += inner[at] == "\\"
        out, at = out + inner[at], at + 1

    assert out == text


@given(JSON)
def test_hostile_facts_are_refused(value: Any) -> None:  # noqa: ANN401 - JSON
    """Any JSON is facts or InputError, never anything else."""
    for wrong in (value, dict.fromkeys(FIELDS, value)):
        try:
            found = DatabaseFacts.parse(wrong)
        except InputError:
            continue
        assert json.loads(json.dumps(found.to_json())) == wrong


@given(st.text(st.sampled_from("()[]'\"$,A RY:at-\n\\")))
def test_any_text_has_a_fingerprint(text: str) -> None:
    """Broken SQL is no reason to stop."""
    assert len(fingerprint(f"--\n-- Name: x; Type: VIEW; Schema: s; Owner: o\n{text}")) == 64
