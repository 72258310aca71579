"""Dialect files: what one ENUM client understands of NAPTR records, each value with its source.

    name = "cisco-ios"
    title = "Cisco IOS gateways"
    [naptr]
    new_form = false
    [source]
    new_form = "Cisco document 110417: the gateway does not support E2U+sip"

Laws: a field that is not in `[naptr]` is unknown; one that is there has a source, and nothing else
has one. The files that come with the package are in `enumtest/data/dialects`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from enumtest.naptr.naptr_dialect import NaptrDialect
from enumtest.stub.policy import input_error, parse_toml
from harness.errors import InputError

_FOLDER = resources.files("enumtest") / "data" / "dialects"
_Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Client:
    """One ENUM client: its reading of NAPTR records, and where each value comes from."""

    name: str
    title: str
    naptr: NaptrDialect
    source: Mapping[str, str]


class _ClientRow(BaseModel):
    """The file: no key beyond those named, no conversions but text to a closed set."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    title: _Text
    naptr: NaptrDialect = NaptrDialect()
    source: Mapping[str, _Text] = {}

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        known = {field.name for field in fields(NaptrDialect)} - set(self.naptr.unknown)
        without, spare = sorted(known - set(self.source)), sorted(set(self.source) - known)
        if without:
            raise ValueError(f"no source for {', '.join(without)}")
        if spare:
            raise ValueError(f"a source for {', '.join(spare)}, which [naptr] does not have")
        return self


def parse_client(text: str, file: str = "") -> Client:
    """Return the client in the TOML *text*.

    Raises:
        InputError: not TOML, or wrong fields: all of them in one error.
    """
    table = parse_toml(text, file)
    try:  # by way of JSON: there, a list is a tuple and text a member of a closed set
        row = _ClientRow.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        raise input_error(error, file) from error
    except InputError as error:  # of the dialect itself; pydantic lets it through
        place = f"naptr.{error.field}"
        raise InputError(error.why, file=file, field=place, value=error.value) from error
    return Client(row.name, row.title, row.naptr, row.source)


def shipped_clients() -> tuple[str, ...]:
    """Return the names of the clients that come with the package."""
    found = (item.name for item in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


@cache
def shipped_client(name: str) -> Client:
    """Return the client called *name*.

    Raises:
        InputError: there is none of that name.
    """
    if name not in shipped_clients():
        fix = f"there are {', '.join(shipped_clients())}"
        raise InputError("no such client", field="profile", value=name, fix=fix)
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    return parse_client(text, f"{name}.toml")
