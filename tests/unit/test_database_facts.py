"""The facts of a database: read strictly, compared in words."""

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import InputError
from hasync.database.facts import DatabaseFacts, SequenceValue, compare, content_differences
from hasync.database.properties import DatabaseRole, Grant, Membership, Properties, Setting

PROPERTIES = Properties(
    owner="app",
    encoding="UTF8",
    collate="C",
    ctype="C",
    provider="libc",
    locale="",
    collation_version="",
    tablespace="pg_default",
    connection_limit=-1,
    comment="",
    grants=(Grant("", "CONNECT", grantable=False),),
    settings=(Setting("", "work_mem", "1MB"),),
)
ROLE = DatabaseRole(
    name="app",
    superuser=False,
    inherit=True,
    create_role=False,
    create_database=False,
    login=True,
    replication=False,
    bypass_rls=False,
    connection_limit=-1,
    valid_until="",
    comment="",
    member_of=(Membership("staff", admin=False),),
    settings=(),
)
FACTS = DatabaseFacts(
    tables={"public.calls": 3, "public.rules": 0},
    unlogged=(),
    sequences={"public.ids": SequenceValue(3, called=True)},
    large_objects=0,
    fingerprint="f" * 64,
    properties=PROPERTIES,
    extensions={"plpgsql": "1.0"},
    roles=(ROLE,),
    tablespaces=(),
    matviews={"public.seen": True},
    unvalidated=(),
    invalid_indexes=(),
    disabled_triggers=(),
    server_version=150018,
    pg_dump_version=150018,
    archive_version="1.14-0",
    size_bytes=8_000_000,
)


def test_json_gives_the_same_facts() -> None:
    """What is in a manifest reads back as it was."""
    assert DatabaseFacts.parse(FACTS.to_json()) == FACTS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tables", {"public.calls": "3"}),
        ("tables", {"public.calls": True}),
        ("tables", [["public.calls", 3]]),
        ("large_objects", 1.0),
        ("sequences", {"public.ids": [3, True]}),
        ("properties", None),
        ("roles", {}),
        ("fingerprint", None),
    ],
)
def test_a_wrong_type_is_refused_by_name(field: str, value: object) -> None:
    """A number as text, a truth as a number, an array as an object: the field is named."""
    with pytest.raises(InputError) as caught:
        DatabaseFacts.parse({**FACTS.to_json(), field: value})

    assert caught.value.field.startswith(f"facts.{field}")


def test_fields_missing_or_unknown_are_refused() -> None:
    """Nothing is guessed, and nothing is ignored."""
    whole: dict[str, Any] = FACTS.to_json()
    less = {name: value for name, value in whole.items() if name != "tables"}

    for wrong in ({**whole, "more": 1}, less, [], None, "facts"):
        with pytest.raises(InputError):
            DatabaseFacts.parse(wrong)


def test_equal_facts_have_no_difference() -> None:
    """() is the proof."""
    assert compare(FACTS, FACTS) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tables": {"public.calls": 2, "public.rules": 0}}, "table public.calls: wanted 3 rows"),
        ({"tables": {"public.calls": 3}}, "table public.rules: missing, wanted 0 rows"),
        ({"sequences": {}}, "sequence public.ids: missing"),
        ({"large_objects": 1}, "large objects: wanted 0, found 1"),
        ({"fingerprint": "0" * 64}, "schema: another fingerprint"),
        ({"properties": replace(PROPERTIES, owner="x")}, "property owner: wanted 'app', found 'x'"),
        ({"properties": replace(PROPERTIES, grants=())}, "property grants: wanted [Grant("),
        ({"properties": replace(PROPERTIES, settings=())}, "property settings: wanted"),
        ({"extensions": {}}, "extension plpgsql: missing"),
        ({"matviews": {"public.seen": False}}, "materialized view public.seen: not populated"),
        ({"invalid_indexes": ("public.i",)}, "index public.i: invalid"),
        ({"unvalidated": ("public.calls c",)}, "unvalidated constraint public.calls c: not in"),
        ({"disabled_triggers": ("t",)}, "disabled trigger t: not in the set"),
    ],
)
def test_each_difference_is_told(change: dict[str, Any], told: str) -> None:
    """One changed fact gives one line that names it."""
    (line,) = compare(FACTS, replace(FACTS, **change))

    assert line.startswith(told)


@pytest.mark.parametrize(
    "change",
    [
        {"properties": replace(PROPERTIES, connection_limit=0)},  # keeps clients out meanwhile
        {"properties": replace(PROPERTIES, collation_version="2.36")},
        {"extensions": {"plpgsql": "1.1"}},  # asked before the restore, not after
        {"archive_version": ""},
        {"size_bytes": 1},
        {"roles": ()},
        {"fingerprint": "0" * 64, "server_version": 160004},  # words the same schema otherwise
        {"fingerprint": "0" * 64, "pg_dump_version": 160004},
        {"server_version": 150004},
    ],
)
def test_what_may_differ_is_no_difference(change: dict[str, Any]) -> None:
    """A standby is another machine: size, roles and minor versions are its own."""
    assert compare(FACTS, replace(FACTS, **change)) == ()


def test_many_differences_are_bounded() -> None:
    """Twenty lines and a number, however much is wrong."""
    wanted = replace(FACTS, tables={f"public.t{n}": 1 for n in range(5000)})

    told = content_differences(wanted, FACTS)

    assert len(told) == 21
    assert told[-1] == "and 4982 more differences"


def test_only_nothing_is_empty() -> None:
    """A view or a sequence alone is something that could be lost."""
    bare = replace(FACTS, tables={}, sequences={}, matviews={})

    assert bare.empty
    assert not FACTS.empty
    assert not replace(bare, large_objects=1).empty
    assert FACTS.rows == 3
