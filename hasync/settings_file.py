"""The edge that reads the settings: TOML text to `Settings`, every bad field reported at once.

Nothing is guessed: an unknown key, a number given as text, a path that is not absolute are refused.
The meaning of each field, with its default, stands in docs/hasync-settings.md; a test compares the
two.
"""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError
from hasync.sets.manifest import checked_site
from hasync.settings import (
    Application,
    Database,
    Folders,
    Limits,
    Peer,
    Retention,
    Root,
    Service,
    Settings,
    Signing,
)

DEFAULT = "/etc/hasync/hasync.toml"
MAX_BYTES = 1 << 20
MAX_LIMIT_S = 7 * 86_400.0
MAX_COUNT = 100_000
ROOT_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}", re.ASCII)
DATABASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}", re.ASCII)  # of 63 bytes: companions
USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}", re.ASCII)

Read = Callable[[object], Any]  # a TOML value to a field's value, or InputError(why, fix=)


class SettingsError(InputError):
    """Every bad field of a settings file, one line each."""

    def __init__(self, errors: tuple[InputError, ...]) -> None:
        """Keep all *errors*; the attributes are those of the first."""
        first = errors[0]
        super().__init__(
            first.why, file=first.file, field=first.field, value=first.value, fix=first.fix
        )
        self.errors = errors

    def __str__(self) -> str:
        """Return one line for each bad field."""
        return "\n".join(str(error) for error in self.errors)


def load(path: Path) -> Settings:
    """Return the settings in the TOML file at *path*.

    Raises:
        SettingsError: one or more bad fields, each with file, field, value and what to do.
        InputError: no such file, not to be trusted, or no TOML.
    """
    return parse(_content(path), str(path))


def parse(content: bytes, file: str) -> Settings:
    """Return the settings that TOML *content* says; *file* is named in errors.

    Raises:
        SettingsError: one or more bad fields.
        InputError: no TOML in UTF-8.
    """
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"no TOML: {error}", file=file, fix="mend the syntax") from error
    reading = _Reading(file)
    settings = reading.settings(table)
    if settings is not None and not reading.errors:
        reading.errors += _contradictions(settings, file)
    if settings is None or reading.errors:
        raise SettingsError(tuple(reading.errors))
    return settings


def _content(path: Path) -> bytes:
    """Return the bytes of *path*: a regular file that not everybody may write.

    It names programs that we start, so who may write it may run anything as us.
    """
    fix = "name it with --config or $HASYNC_CONFIG, or write one with `hasync init`"
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise InputError("the settings are no regular file", file=str(path), fix=fix)
            if state.st_mode & stat.S_IWOTH:
                why = f"everybody may write the settings (mode {stat.S_IMODE(state.st_mode):04o})"
                raise InputError(why, file=str(path), fix=f"chmod o-w {path}")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        why = f"cannot read the settings: {error.strerror}"
        raise InputError(why, file=str(path), fix=fix) from error
    if len(content) > MAX_BYTES:
        raise InputError(f"settings larger than {MAX_BYTES} bytes", file=str(path))
    return content


def _without_waiting(path: str, flags: int) -> int:
    """Open *path* so that a FIFO without a writer does not hang us."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _text(grammar: re.Pattern[str], fix: str) -> Read:
    def read(value: object) -> str:
        if not isinstance(value, str) or not grammar.fullmatch(value):
            raise InputError("not well formed", fix=fix)
        return value

    return read


def _or_empty(read: Read) -> Read:
    return lambda value: "" if value == "" and isinstance(value, str) else read(value)


def _path(value: object) -> Path:
    """Return an absolute path without `..`; it need not exist."""
    fix = "give an absolute path without .. or control characters"
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise InputError("not an absolute path", fix=fix)
    if ".." in value.split("/"):
        raise InputError("a path with ..", fix=fix)
    return Path(value)


def _site(value: object) -> str:
    """Return the name of a site, as it stands in the manifests of its sets."""
    try:
        return checked_site(value if isinstance(value, str) else "")
    except InputError as error:
        raise InputError(error.why, fix="give a short name, in quotes") from error


def _socket(value: object) -> str:
    """Return a folder of sockets, or a host."""
    if isinstance(value, str) and value.startswith("/"):
        return str(_path(value))
    return str(_text(HOST, "give the folder of the Unix socket, or a host name")(value))


def _whole(low: int, high: int) -> Read:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InputError("out of range", fix=f"give a whole number from {low} to {high}")
        return value

    return read


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_LIMIT_S:
        return float(value)
    raise InputError("out of range", fix=f"give seconds, above 0 and up to {MAX_LIMIT_S:.0f}")


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError("neither yes nor no", fix="write true or false, without quotes")
    return value


def _each(read: Read, *, at_least: int = 0) -> Read:
    def all_of(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) < at_least:
            raise InputError("no list", fix=f"give a list of {at_least or 'zero'} or more, in [ ]")
        return tuple(read(item) for item in value)

    return all_of


def _word(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InputError("no word", fix="give words in quotes, without control characters")
    return value


_WORDS = _each(_word, at_least=1)
_COUNT = _whole(0, MAX_COUNT)
_BYTES = _whole(0, 1 << 60)
_EXIT_CODES = _each(_whole(0, 255), at_least=1)
_NAME = "letters, digits, _ . and -, beginning with no -"

SECTIONS: Mapping[str, Mapping[str, Read]] = {
    "folders": {"base": _path},
    "signing": {"key": _path, "allowed_signers": _path},
    "database": {
        "socket": _socket,
        "bin": _path,
        "data": _path,
        "name": _text(DATABASE_NAME, "letters, digits and _, at most 40; quoted names are not"),
        "port": _whole(1, 65_535),
        "user": _text(USER, _NAME),
        "manage": _yes_or_no,
        "lock_wait_s": _seconds,
        "reserve_bytes": _BYTES,
        "keep_previous": _whole(1, 100),
    },
    "application": {
        "roots": _each(lambda value: value),  # tables, read one by one
        "exclude": _each(_word),
        "sqlite": _each(_word),
        "min_bytes": _BYTES,
    },
    "peer": {
        "site": _site,
        "user": _or_empty(_text(USER, _NAME)),
        "port": _whole(0, 65_535),
        "ssh": _WORDS,
        "agent": _WORDS,
        "bandwidth_kib_s": _whole(0, 1 << 31),
    },
    "service": {
        "status": _WORDS,
        "active": _EXIT_CODES,
        "inactive": _EXIT_CODES,
        "limit_s": _seconds,
    },
    "limits": dict.fromkeys(("dump_s", "restore_s", "transfer_s", "command_s", "swap_s"), _seconds),
    "retention": {
        "min_keep": _whole(1, MAX_COUNT),
        "max_bytes": _BYTES,
        **dict.fromkeys(("keep_days", "daily", "weekly", "monthly"), _COUNT),
    },
}
ROOT: Mapping[str, Read] = {"name": _text(ROOT_NAME, _NAME), "path": _path}
NEEDED = {
    "folders": ("base",),
    "signing": ("key", "allowed_signers"),
    "database": ("socket", "bin", "data"),
    "peer": ("site",),
    "application.roots": ("name", "path"),
}


class _Reading:
    """Reads one file; what is wrong with it is collected."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.errors: list[InputError] = []

    def settings(self, table: Mapping[str, Any]) -> Settings | None:
        """Return the settings; None when something is wrong."""
        self._known(table, {"site", *SECTIONS}, "")
        site = self._value(
            _site,
            table.get("site"),
            "site",
        )
        found = {name: self._section(name, table) for name in SECTIONS}
        if "roots" in found["application"]:
            found["application"]["roots"] = self._roots(found["application"]["roots"])
        if self.errors:
            return None
        return Settings(
            site=site,
            folders=Folders(**found["folders"]),
            signing=Signing(**found["signing"]),
            database=Database(**found["database"]) if "database" in table else None,
            application=Application(**found["application"]) if "application" in table else None,
            peer=Peer(**found["peer"]),
            service=Service(**found["service"]),
            limits=Limits(**found["limits"]),
            retention=Retention(**found["retention"]),
        )

    def _section(self, name: str, whole: Mapping[str, Any]) -> dict[str, Any]:
        table = whole.get(name, {})
        wanted = () if name == "database" and name not in whole else NEEDED.get(name, ())
        return self._table(table, SECTIONS[name], name, wanted)

    def _table(
        self,
        table: object,
        fields: Mapping[str, Read],
        where: str,
        wanted: tuple[str, ...],
    ) -> dict[str, Any]:
        if not isinstance(table, dict):
            self._wrong("no table", where, table, f"write it as [{where}]")
            return {}
        self._known(table, set(fields), f"{where}.")
        for name in wanted:
            if name not in table:
                self._wrong("missing", f"{where}.{name}", None, "see docs/hasync-settings.md")
        return {
            name: self._value(read, table[name], f"{where}.{name}")
            for name, read in fields.items()
            if name in table
        }

    def _roots(self, tables: tuple[Any, ...] | None) -> tuple[Root, ...]:
        where = "application.roots"
        found = [
            self._table(table, ROOT, f"{where}.{index}", NEEDED[where])
            for index, table in enumerate(tables or ())
        ]
        if tables == ():
            self._wrong("no roots at all", where, [], "leave it out for the guide's two")
        return () if self.errors else tuple(Root(**values) for values in found)

    def _known(self, table: Mapping[str, Any], known: set[str], prefix: str) -> None:
        for name in table.keys() - known:
            choice = ", ".join(sorted(known))
            self._wrong("no such setting", f"{prefix}{name}", table[name], f"use one of: {choice}")

    def _value(self, read: Read, value: object, where: str) -> Any:  # noqa: ANN401 - as the reader
        if value is None:
            self._wrong("missing", where, None, "see docs/hasync-settings.md")
            return None
        try:
            return read(value)
        except InputError as error:
            self._wrong(error.why, where, value, error.fix)
            return None

    def _wrong(self, why: str, where: str, value: object, fix: str) -> None:
        self.errors.append(InputError(why, file=self._file, field=where, value=value, fix=fix))


def _contradictions(settings: Settings, file: str) -> list[InputError]:
    """Return what is wrong between fields that are each well formed."""
    found: list[InputError] = []

    def wrong(why: str, field: str, value: object, fix: str) -> None:
        found.append(InputError(why, file=file, field=field, value=value, fix=fix))

    if settings.database is None and settings.application is None:
        wrong("nothing to keep in step", "database", None, "add [database] or [application]")
    if settings.peer.site == settings.site:
        wrong("this site's own name", "peer.site", settings.site, "name the other site")
    both = sorted(set(settings.service.active) & set(settings.service.inactive))
    if both:
        wrong("means active and inactive", "service.inactive", both, "give each code one meaning")
    base = settings.folders.base
    if settings.database is not None and _overlap(base, settings.database.data):
        wrong("within PGDATA, or around it", "folders.base", str(base), "keep the two apart")
    roots = settings.application.roots if settings.application else ()
    if len({root.name for root in roots}) < len(roots):
        names = [root.name for root in roots]
        wrong("a name given twice", "application.roots", names, "give each root a name of its own")
    found += _roots_of_ours(settings, file)
    return found


def _roots_of_ours(settings: Settings, file: str) -> list[InputError]:
    """Return the roots within the folder that we sweep; the other way round may be excluded."""
    roots = settings.application.roots if settings.application else ()
    base = settings.folders.base
    return [
        InputError(
            f"within folders.base ({base})",
            file=file,
            field=f"application.roots.{index}.path",
            value=str(root.path),
            fix="keep the two apart",
        )
        for index, root in enumerate(roots)
        if root.path == base or base in root.path.parents
    ]


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
