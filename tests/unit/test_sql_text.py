"""SQL text: names and values that must not become anything else."""

import pytest

from harness.errors import InputError
from hasync.database.sql import assignment, conninfo, ident, literal, parse_qualified, qualified


def test_a_name_too_long_is_refused() -> None:
    """PostgreSQL would cut it in silence, and mean another object."""
    assert ident("é" * 31) == '"' + "é" * 31 + '"'
    with pytest.raises(InputError, match="63 bytes"):
        ident("é" * 32)


@pytest.mark.parametrize("text", ["", "a\0b", "\ud800"])
def test_what_no_name_can_be_is_refused(text: str) -> None:
    """Empty, with a NUL, or no Unicode."""
    with pytest.raises(InputError):
        ident(text)


@pytest.mark.parametrize("text", ["a\0b", "\udfff"])
def test_what_no_text_can_be_is_refused(text: str) -> None:
    """A NUL would cut the statement."""
    with pytest.raises(InputError):
        literal(text)


@pytest.mark.parametrize(
    ("schema", "name", "text"),
    [
        ("public", "calls", "public.calls"),
        ("public", "user", "public.user"),  # a reserved word: quoted by quote_ident, not here
        ("A", "b c", '"A"."b c"'),
        ("a.b", 'c"d', '"a.b"."c""d"'),
        ("a$", "1a", '"a$"."1a"'),
    ],
)
def test_a_relation_has_one_text(schema: str, name: str, text: str) -> None:
    """The name in facts reads back to the same two names."""
    assert qualified(schema, name) == text
    assert parse_qualified(text) == (schema, name)


@pytest.mark.parametrize("text", ["", "a", "a.", ".a", "a.b.c", '"a.b', 'a."b', "a b.c", "a..b"])
def test_what_is_no_relation_is_refused(text: str) -> None:
    """Anything but two names joined by a dot."""
    with pytest.raises(InputError):
        parse_qualified(text)


def test_pg_dumps_own_quoting_is_read() -> None:
    """pg_dump quotes reserved words; the name is the same."""
    assert parse_qualified('public."user"') == ("public", "user")


def test_a_list_is_set_as_a_list() -> None:
    """As one string it would name one odd schema."""
    assert assignment("search_path", '"a, b", c') == "\"search_path\" TO 'a, b', 'c'"
    assert assignment("search_path", "") == "\"search_path\" TO ''"
    assert assignment("app.x", "a, b") == '"app"."x" TO \'a, b\''


@pytest.mark.parametrize(("name", "value"), [("a b", "1"), ("x;y", "1"), ("search_path", '"a')])
def test_no_setting_is_refused(name: str, value: str) -> None:
    """A name that is none, a list that is broken."""
    with pytest.raises(InputError):
        assignment(name, value)


def test_a_connection_string_keeps_values_apart() -> None:
    """Blanks, quotes and backslashes stay within their value."""
    assert conninfo({"dbname": "a' host=b\\", "port": "1"}) == "dbname='a\\' host=b\\\\' port='1'"
