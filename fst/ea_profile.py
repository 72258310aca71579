"""What must be set on a warm-standby pair, by profile, and the commands that show it.

`fst/data/ea-profiles.toml` holds the profiles. Kinds of setting: `folder`, `file`, `executable`
(by its owner), `mode` (permissions, octal), `text` (each pattern matches a line of the file),
`cron-file` and `crontab` (an entry that all patterns match), `key` (a key pair in the folder),
`key-known` (the counterpart's public key is in the file), `boot` (starts with the system when
active, only then).
Law: no command here reads a private key.
"""

import tomllib
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fst.plan import HostRole
from fst.roles import FilePath, Pattern, problems
from harness.errors import InputError
from harness.host_files import ENV, STAT

FILE = "fst/data/ea-profiles.toml"
KEY_KINDS = ("ed25519", "ecdsa", "rsa")  # ssh-keygen's defaults over the years
STATUS_LIMIT_S = 30  # for one answer; a real one takes less than 1 s
Argv = tuple[str, ...]


class Kind(StrEnum):
    """How a setting is looked at."""

    FOLDER = "folder"
    FILE = "file"
    EXECUTABLE = "executable"
    MODE = "mode"
    TEXT = "text"
    CRON_FILE = "cron-file"
    CRONTAB = "crontab"
    KEY = "key"
    KEY_KNOWN = "key-known"
    BOOT = "boot"


_NEEDS: dict[Kind, frozenset[str]] = {
    Kind.FOLDER: frozenset({"path"}),
    Kind.FILE: frozenset({"path"}),
    Kind.EXECUTABLE: frozenset({"path"}),
    Kind.MODE: frozenset({"path", "mode"}),
    Kind.TEXT: frozenset({"path", "patterns"}),
    Kind.CRON_FILE: frozenset({"path", "user", "patterns"}),
    Kind.CRONTAB: frozenset({"user", "patterns"}),
    Kind.KEY: frozenset({"path"}),
    Kind.KEY_KNOWN: frozenset({"path"}),
    Kind.BOOT: frozenset({"service"}),
}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Table):
    """One thing that must be there, or be set."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    role: HostRole
    kind: Kind
    what: Annotated[str, Field(min_length=1)]
    path: FilePath | None = None
    mode: Annotated[str, Field(pattern=r"^[0-7]{3,4}$")] | None = None
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] | None = None
    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")] | None = None
    patterns: tuple[Pattern, ...] | None = None

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        given = {
            name for name in ("path", "mode", "user", "service", "patterns") if getattr(self, name)
        }
        if given != _NEEDS[self.kind]:
            wanted = ", ".join(sorted(_NEEDS[self.kind]))
            raise ValueError(f"{self.id}: kind {self.kind} takes {wanted}")
        return self

    @property
    def private_keys(self) -> tuple[str, ...]:
        """Return where a private key may be (kind `key`); its public half has `.pub` added."""
        return tuple(f"{self.path}/id_{kind}" for kind in KEY_KINDS)

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the files whose facts are wanted."""
        if self.kind is Kind.KEY:
            return tuple(path + end for path in self.private_keys for end in ("", ".pub"))
        return () if self.path is None else (self.path,)

    @property
    def commands(self) -> tuple[Argv, ...]:
        """Return the commands that show what is in it; facts of files are asked for together."""
        match self.kind:
            case Kind.TEXT | Kind.CRON_FILE | Kind.KEY_KNOWN:
                return (cat(str(self.path)),)
            case Kind.KEY:
                return tuple(cat(f"{path}.pub") for path in self.private_keys)
            case Kind.CRONTAB:
                return ((*ENV, "crontab", "-u", str(self.user), "-l"),)
            case Kind.BOOT:
                service = str(self.service)
                return (
                    (*ENV, "chkconfig", "--list", service),
                    (*ENV, "systemctl", "is-enabled", service),
                )
            case _:
                return ()


class Copies(_Table):
    """Where the copies lie that the scripts make and send, by role."""

    role: HostRole
    folder: FilePath
    pattern: Pattern  # of their names


class StatusOf(_Table):
    """Which program tells the state of the pair, by role, and the account that may ask it."""

    role: HostRole
    program: FilePath
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")]

    @property
    def command(self) -> Argv:
        """Return the question: as the account that its files belong to, ended past its time."""
        bounded = ("timeout", "-k", "5", str(STATUS_LIMIT_S))
        asks = (self.program, "status", "--json")
        return (*ENV, "runuser", "-u", self.user, "--", *bounded, *asks)


class Profile(_Table):
    """One way to keep a warm standby; of a kind of server copies are listed, or it is asked."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    title: str
    copies: tuple[Copies, ...] = ()
    status: tuple[StatusOf, ...] = ()
    settings: Annotated[tuple[Setting, ...], Field(min_length=1)]

    def settings_of(self, role: HostRole) -> tuple[Setting, ...]:
        """Return the settings of a kind of server; none: the profile does not cover it."""
        return tuple(one for one in self.settings if one.role is role)

    def copies_of(self, role: HostRole) -> Copies | None:
        """Return where its copies lie."""
        return next((one for one in self.copies if one.role is role), None)

    def status_of(self, role: HostRole) -> StatusOf | None:
        """Return what tells the state of the pair; None: copies do."""
        return next((one for one in self.status if one.role is role), None)

    def commands(self, role: HostRole) -> tuple[Argv, ...]:
        """Return all commands that show settings and state of a kind of server, each once."""
        own, status = self.settings_of(role), self.status_of(role)
        paths = dict.fromkeys(path for one in own for path in one.paths)
        found = [argv for one in own for argv in one.commands]
        found += [status.command] if status else []
        return tuple(dict.fromkeys([(*STAT, *paths), *found])) if paths else tuple(found)


class _Profiles(_Table):
    profiles: tuple[Profile, ...]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [one.name for one in self.profiles]
        names += [f"{one.name}: {each.id}" for one in self.profiles for each in one.settings]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return self


def cat(path: str) -> Argv:
    """Return the command that prints a file."""
    return (*ENV, "cat", path)


def parse_profiles(text: str, *, file: str = "") -> tuple[Profile, ...]:
    """Return the profiles that *text* (TOML) describes.

    Raises:
        InputError: every field that is wrong, one line each.
    """
    try:
        return _Profiles.model_validate(tomllib.loads(text)).profiles
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"not TOML: {error}", file=file, fix="correct the line named") from error
    except ValidationError as error:
        raise InputError("\n".join(problems(error, file))) from error


@cache
def default_profiles() -> tuple[Profile, ...]:
    """Return the profiles that are shipped with this package."""
    path = resources.files("fst") / "data" / "ea-profiles.toml"
    return parse_profiles(path.read_text(encoding="utf-8"), file=FILE)


def profile(name: str) -> Profile:
    """Return the shipped profile called *name*.

    Raises:
        InputError: there is none.
    """
    known = {one.name: one for one in default_profiles()}
    if name not in known:
        fix = f"use {' or '.join(known)}"
        raise InputError("no such profile", field="profile", value=name, fix=fix)
    return known[name]
