"""How the tables of a plan file refer to each other: every name once, and none that leads nowhere.

Works on the raw tables, however wrong the rest of them is, so that `fst.plan` can report these
together with the bad fields, all at once.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import InputError


def within(step_id: str, place: str) -> bool:
    """Return whether *place* is the step itself, or the section or part that holds it."""
    return step_id == place or step_id.startswith(place + ".")


def contradictions(raw: Mapping[str, Any]) -> Iterator[InputError]:
    """Yield what no single field shows: names used twice, or that nothing bears."""
    for table in ("parties", "roles", "parts", "sections", "steps", "readings"):
        yield from _used_twice(table, [name for name, _ in _named(raw, table)])
    for table in ("deliverables", "criteria", "executed", "signing"):
        yield from _used_twice(table, [name for name, _ in _named(raw, table, "name")])
    for table, key, other in (
        ("roles", "party", "parties"),
        ("sections", "part", "parts"),
        ("steps", "section", "sections"),
        ("steps", "reading", "readings"),
    ):
        known = {name for name, _ in _named(raw, other)}
        for name, row in _named(raw, table):
            value = row.get(key)
            field = f"{table}[{name}].{key}"
            if isinstance(value, str) and value not in known:
                yield InputError(f"not among the {other}", field=field, value=value)
            elif isinstance(value, str) and key in {"part", "section"} and not within(name, value):
                yield InputError(f"the id {name} does not begin so", field=field, value=value)
    yield from _loose_ends(raw)


def _named(raw: Mapping[str, Any], table: str, key: str = "id") -> list[tuple[str, dict[str, Any]]]:
    """Return the tables called *table* that have a name, however wrong the rest of them is."""
    rows = raw.get(table)
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    # a name that does not print is refused by its pattern, and would break the one-line report
    names = [(row.get(key), row) for row in found]
    return [(name, row) for name, row in names if isinstance(name, str) and name.isprintable()]


def _used_twice(table: str, names: list[str]) -> Iterator[InputError]:
    for name, count in Counter(names).items():
        if count > 1:
            yield InputError(f"used {count} times", field=table, value=name, fix="use each once")


def _loose_ends(raw: Mapping[str, Any]) -> Iterator[InputError]:
    """Yield roles nobody describes, and steps and readings that do not point at each other."""
    steps = _named(raw, "steps")
    duties = {name for name, _ in _named(raw, "roles")}
    places = {name: _strings(row.get("where")) for name, row in _named(raw, "readings")}
    for name, row in steps:
        field = f"steps[{name}]"
        for role in sorted(set(_strings(row.get("roles"))) - duties):
            yield InputError("not described in roles", field=f"{field}.roles", value=role)
        exempt = {role for role, _ in _named(row, "not_applicable", "role")}
        for role in sorted(exempt & set(_strings(row.get("applies")))):
            yield InputError("also in applies", field=f"{field}.not_applicable", value=role)
        for table in ("waits", "measurements"):
            names = [inner for inner, _ in _named(row, table, "name")]
            yield from _used_twice(f"{field}.{table}", names)
        for key in ("roles", "applies"):
            yield from _used_twice(f"{field}.{key}", _strings(row.get(key)))
        reading = row.get("reading")
        where = places.get(reading, [name]) if isinstance(reading, str) else [name]
        if not any(within(name, place) for place in where):
            yield InputError(
                "that reading does not cover this step",
                field=f"{field}.reading",
                value=reading,
                fix="name the step in its where",
            )
    for name, where in places.items():
        for place in where:
            if not any(within(step, place) for step, _ in steps):
                yield InputError("covers no step", field=f"readings[{name}].where", value=place)


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
