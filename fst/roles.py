"""What each kind of server must run: processes, service state, log, and peers it talks to.

`fst/data/roles.toml` is what is shipped; a site may state its own. Laws: each role is described
once for each standing; a server that need run nothing at all cannot be described, since nothing
would be observed of it.
"""

import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fst.plan import HostRole
from harness.errors import InputError
from harness.log_tail import Severity
from harness.snapshot import Process, ServiceState

FILE = "fst/data/roles.toml"


class Standing(StrEnum):
    """Whether a server does the work, or waits to take over."""

    ACTIVE = "active"
    STANDBY = "standby"


class Side(StrEnum):
    """Which end of a connection the server is; the port is the server's."""

    CLIENT = "client"
    SERVER = "server"


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern), Field(min_length=1)]
FilePath = Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProcessSpec(_Table):
    """One process, known by a regular expression searched for in its command line."""

    name: Annotated[str, Field(min_length=1)]
    pattern: Pattern

    def of(self, processes: Iterable[Process]) -> tuple[Process, ...]:
        """Return those of *processes* that are meant, the eldest (which started the rest) first."""
        wanted = re.compile(self.pattern)
        own = [one for one in processes if wanted.search(one.args)]
        return tuple(sorted(own, key=lambda one: (one.start_s, one.pid)))


class PeerSpec(_Table):
    """A connection that must be established with each active server of a role."""

    role: HostRole
    side: Side
    port: Annotated[int, Field(ge=1, le=65535)]


class RoleSpec(_Table):
    """What one kind of server must run."""

    role: HostRole
    standing: Standing
    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
    state: Literal[ServiceState.RUNNING, ServiceState.STOPPED]
    start_s: Annotated[float, Field(ge=0, le=3600)]  # until it must be up
    log: FilePath
    log_may_rest: bool = False  # a log that says nothing is as it should be
    processes: Annotated[tuple[ProcessSpec, ...], Field(min_length=1)]
    absent: tuple[ProcessSpec, ...] = ()
    peers: tuple[PeerSpec, ...] = ()


class SeveritySpec(_Table):
    """Which log lines are critical, and which are lesser errors."""

    critical: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    error: tuple[Pattern, ...]

    @property
    def compiled(self) -> Severity:
        """Return the patterns, ready for use."""
        return Severity(
            tuple(re.compile(one) for one in self.critical),
            tuple(re.compile(one) for one in self.error),
        )


class Roles(_Table):
    """The whole file."""

    roles: Annotated[tuple[RoleSpec, ...], Field(min_length=1)]
    severity: SeveritySpec

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        known = [(one.role, one.standing) for one in self.roles]
        twice = [
            f"{role} {standing}"
            for role, standing in set(known)
            if known.count((role, standing)) > 1
        ]
        if twice:
            raise ValueError(f"described more than once: {', '.join(sorted(twice))}")
        return self

    def spec(self, role: HostRole, standing: Standing) -> RoleSpec:
        """Return what a server must run; only mediation and database servers have a standby.

        Raises:
            InputError: the role is not described.
        """
        pairs = {HostRole.MEDIATION, HostRole.DATABASE}
        wanted = standing if role in pairs else Standing.ACTIVE
        for one in self.roles:
            if one.role is role and one.standing is wanted:
                return one
        raise InputError("not described", field="roles", value=f"{role} {wanted}")


def parse_roles(text: str, *, file: str = "") -> Roles:
    """Return the roles that *text* (TOML) describes.

    Raises:
        InputError: every field that is wrong, one line each.
    """
    try:
        return Roles.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"not TOML: {error}", file=file, fix="correct the line named") from error
    except ValidationError as error:
        raise InputError("\n".join(problems(error, file))) from error


def problems(error: ValidationError, file: str) -> list[str]:
    """Return one line a wrong field: file, place, value and why."""
    return [
        str(
            InputError(
                one["msg"].removeprefix("Value error, "),
                file=file,
                field=".".join(str(part) for part in one["loc"]) or "file",
                value=None if one["type"] == "missing" else one["input"],
            )
        )
        for one in error.errors(include_url=False)
    ]


@cache
def default_roles() -> Roles:
    """Return the roles that are shipped with this package."""
    path = resources.files("fst") / "data" / "roles.toml"
    return parse_roles(path.read_text(encoding="utf-8"), file=FILE)
