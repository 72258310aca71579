"""Profile files: TOML text to `Profile` and back, and the profiles that come with the package.

Times stand in milliseconds (`expire_ms`) or, where that is too coarse, in nanoseconds
(`expire_ns`); paths in `[source]` and `unknown` name them either way. How an SBC reads NAPTR
records stands in a dialect file (`dialect = "oracle"`), whose sources come along; without one it is
unknown.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from enumtest.dns.source_name import NO_NAMING, SourceNaming
from enumtest.naptr.dialect_file import shipped_client
from enumtest.naptr.naptr_dialect import NaptrDialect
from enumtest.profiles.oracle_timers import S, is_known, oracle_schedule
from enumtest.profiles.profile_groups import (
    AllDown,
    Cache,
    EdnsUse,
    Event,
    HoldDown,
    Reaction,
    Readmission,
    Retransmission,
    SelectionRules,
    Stage,
    Timers,
)
from enumtest.profiles.profiles import Profile
from enumtest.stub.policy import parse_toml
from harness.errors import InputError

MS = 1_000_000  # nanoseconds
_FOLDER = resources.files("enumtest") / "data" / "profiles"

_Group = (
    type[SelectionRules]
    | type[Retransmission]
    | type[HoldDown]
    | type[Stage]
    | type[Readmission]
    | type[Cache]
    | type[EdnsUse]
)
_GROUPS: Mapping[str, _Group] = {
    "selection": SelectionRules,
    "retransmission": Retransmission,
    "hold_down": HoldDown,
    "readmission": Readmission,
    "cache": Cache,
    "edns": EdnsUse,
}
_Place = tuple[str | int, ...]
_Table = dict[str, object]
_Written = dict[_Place, tuple[_Place, object]]  # place in nanoseconds to place and value as written


class _ProfileRow(BaseModel):
    """The file: no key beyond those named, no conversions but text to a closed set."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    title: str = Field(min_length=1, max_length=200)
    selection: SelectionRules
    retransmission: Retransmission
    reactions: Mapping[Event, Reaction]
    hold_down: HoldDown
    readmission: Readmission
    all_down: AllDown
    cache: Cache
    edns: EdnsUse
    source_name: SourceNaming = NO_NAMING
    dialect: str = ""
    timers: Timers = Timers.DRAWN_OUT
    source: Mapping[str, Annotated[str, Field(min_length=1)]] = {}
    unknown: frozenset[str] = frozenset()


def parse_profile(text: str, file: str = "") -> Profile:
    """Return the profile in the TOML *text* (docs/sbc-profiles.md).

    Raises:
        InputError: not TOML, or wrong values: one line for each of them.
    """
    written: dict[_Place, tuple[_Place, object]] = {}
    table = _table_in_ns(parse_toml(text, file), (), (), written)
    lines: list[str] = []
    row = _validated(table, file, written, lines)
    naptr, naptr_source = _dialect(table.get("dialect", ""), file, lines)
    if row is None:
        lines += _also_wrong(table, file)
    if row is None or lines:
        raise InputError("\n".join(dict.fromkeys(lines)))
    parts = {name: getattr(row, name) for name in _ProfileRow.model_fields}
    parts["source"] = {**row.source, **naptr_source}
    try:
        profile = Profile(**parts, naptr=naptr)
        _refuse_other_sends(profile)
    except InputError as error:
        raise InputError("\n".join(_named(error, file))) from error
    return profile


def _refuse_other_sends(profile: Profile) -> None:
    """Refuse sends that are not as the rule that the file names has them."""
    rules = profile.retransmission
    if profile.timers is not Timers.ORACLE:
        return
    if not is_known(rules.expire_ns):
        why, field = "no whole second, and timers says oracle", "retransmission.expire_ns"
        raise InputError(why, field=field, value=rules.expire_ns)
    wanted = oracle_schedule(rules.expire_ns // S)
    if rules.schedule_ns != wanted:
        why, field = "not by Oracle's rule, which timers names", "retransmission.schedule_ns"
        fix = f"write {[at_ns // MS for at_ns in wanted]} ms"
        raise InputError(why, field=field, value=rules.schedule_ns, fix=fix)


def _validated(table: _Table, file: str, written: _Written, lines: list[str]) -> _ProfileRow | None:
    """Return *table* as a row, or None with what is wrong added to *lines*.

    It goes by way of JSON: there, a list can be a tuple or a set, and text a member of a closed
    set, without any other conversion.
    """
    try:
        return _ProfileRow.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        lines += _lines(error, file, written)
    except InputError as error:  # what a naming refuses of itself
        known = InputError(error.why, field=f"source_name.{error.field}", value=error.value)
        lines += _named(known, file)
    return None


def _also_wrong(table: _Table, file: str) -> Iterator[str]:
    """Yield what else is wrong of a *table* that is no row: in its groups that can be read alone.

    So that whoever mends the one does not meet the other afterwards.
    """
    hold_down = table.get("hold_down")
    stages = hold_down.get("stages") if isinstance(hold_down, dict) else None
    kinds: list[tuple[str, _Group, object]] = [
        (name, kind, table.get(name)) for name, kind in _GROUPS.items()
    ]
    if isinstance(stages, list):
        kinds += [(f"hold_down.stages.{at}", Stage, stage) for at, stage in enumerate(stages)]
    for place, kind, value in kinds:
        try:
            group = TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError:  # told of already
            continue
        for path, wrong, why in group.problems():
            yield from _named(InputError(why, field=f"{place}.{path}", value=wrong), file)
    yield from _strangers(table, file)


def _strangers(table: _Table, file: str) -> Iterator[str]:
    """Yield the paths in `[source]` and `unknown` whose first part is no group of a profile."""
    source, unknown = table.get("source"), table.get("unknown")
    paths = [*(source if isinstance(source, dict) else ()), *_texts(unknown)]
    for path in paths:
        if path.partition(".")[0] not in (*_ProfileRow.model_fields, "naptr"):
            yield from _named(InputError("names no value of this profile", field=path), file)


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _dialect(name: object, file: str, lines: list[str]) -> tuple[NaptrDialect, dict[str, str]]:
    """Return the dialect called *name* with its sources; what is wrong goes to *lines*."""
    if not name or not isinstance(name, str):
        return NaptrDialect(), {}
    try:
        client = shipped_client(name)
    except InputError as error:
        known = InputError(error.why, field="dialect", value=name, fix=error.fix)
        lines += _named(known, file)
        return NaptrDialect(), {}
    return client.naptr, {f"naptr.{field}": text for field, text in client.source.items()}


def _named(error: InputError, file: str) -> list[str]:
    return [f"{file}: {one}" if file else one for one in str(error).splitlines()]


def encode_profile(profile: Profile) -> str:
    """Return *profile* as the text of a file that `parse_profile` reads as the same profile."""
    lines = [f"name = {_toml(profile.name)}", f"title = {_toml(profile.title)}"]
    unknown = sorted(path for path in profile.unknown if not path.startswith("naptr."))
    lines += [f"dialect = {_toml(profile.dialect)}", f"unknown = {_toml(unknown)}"]
    lines += [f"all_down = {_toml(profile.all_down)}"]
    lines += [f"timers = {_toml(profile.timers)}"]
    lines += ["", "[source]"]
    lines += [
        f"{_toml(path)} = {_toml(text)}"
        for path, text in profile.source.items()
        if not path.startswith("naptr.")
    ]
    tables: dict[str, list[str]] = {}
    for path, value in profile.leaves():
        place, _, key = path.rpartition(".")
        if place and place != "naptr":
            tables.setdefault(place, []).append(f"{key} = {_toml(value)}")
    for place, rows in tables.items():
        head = f"[[{place.rpartition('.')[0]}]]" if place[-1].isdigit() else f"[{place}]"
        lines += ["", head, *rows]
    return "\n".join(lines) + "\n"


def shipped_names() -> tuple[str, ...]:
    """Return the names of the profiles that come with the package."""
    found = (item.name for item in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


@cache
def shipped_profile(name: str) -> Profile:
    """Return the profile called *name*.

    Raises:
        InputError: there is none of that name.
    """
    if name not in shipped_names():
        fix = f"there are {', '.join(shipped_names())}"
        raise InputError("no such profile", field="profile", value=name, fix=fix)
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    return parse_profile(text, f"{name}.toml")


def _table_in_ns(table: _Table, place: _Place, old: _Place, written: _Written) -> _Table:
    """Return *table* with each `…_ms` as `…_ns`; *written* takes what stood where."""
    found: _Table = {}
    for key, value in table.items():
        if not place and key in ("source", "unknown"):
            found[key] = _paths_in_ns(value)
        elif key.endswith("_ms"):
            new = _path_in_ns(key)
            if new in table:
                field = ".".join(map(str, (*old, key)))
                raise InputError("given twice", field=field, value=value, fix=f"leave {new} out")
            found[new] = [_ns(one) for one in value] if isinstance(value, list) else _ns(value)
            written[*place, new] = ((*old, key), value)
        elif isinstance(value, dict):
            found[key] = _table_in_ns(value, (*place, key), (*old, key), written)
        elif isinstance(value, list):
            found[key] = [
                _table_in_ns(one, (*place, key, at), (*old, key, at), written)
                if isinstance(one, dict)
                else one
                for at, one in enumerate(value)
            ]
        else:
            found[key] = value
    return found


def _ns(value: object) -> object:
    return value * MS if isinstance(value, int) and not isinstance(value, bool) else value


def _paths_in_ns(paths: object) -> object:
    """Return the paths of `[source]` or `unknown` with nanoseconds in their names."""
    if isinstance(paths, dict):
        return {_path_in_ns(path): text for path, text in paths.items()}
    if isinstance(paths, list):
        return [_path_in_ns(path) if isinstance(path, str) else path for path in paths]
    return paths


def _path_in_ns(path: str) -> str:
    return f"{path.removesuffix('_ms')}_ns" if path.endswith("_ms") else path


def _lines(error: ValidationError, file: str, written: _Written) -> list[str]:
    """Return one line a bad value: file, field, value, why, what to do."""
    lines = []
    for one in error.errors(include_url=False):
        place, value = one["loc"], one["input"]
        for end in range(len(place), 0, -1):
            if place[:end] in written:
                old, was = written[place[:end]]
                place, value = (*old, *place[end:]), was
                break
        field = ".".join(str(part) for part in place if part != "[key]")
        why, fix = one["msg"].removeprefix("Value error, "), ""
        if one["type"] in ("missing", "missing_argument"):
            why, value, fix = "missing", None, "add it; docs/sbc-profiles.md says what it is"
        elif one["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            why, fix = "no such key", "remove it, or correct its spelling"
        value = None if isinstance(value, dict) else value
        lines.append(str(InputError(why, file=file, field=field, value=value, fix=fix)))
    return lines


def _toml(value: object) -> str:
    """Return a plain value as TOML writes it: as JSON does, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
