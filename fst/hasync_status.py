"""What `hasync status --json` says of one site: read from hostile text, whole or not at all.

Laws: any text gives a `SiteStatus` or an `InputError`; what is not there is null, never a guess;
words for people are kept short and without control characters, because they are shown on screens.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Never, TypeVar

from harness.command import CommandOutput
from harness.errors import InputError

T = TypeVar("T")
MAX_CHARS = 1 << 20  # of the whole text; a real one has 2 000
MAX_ROWS = 1000  # of any list or table in it
MAX_WORDS = 300  # characters of what is shown
ROLES = frozenset({"active", "standby", "unknown"})
PROVED = frozenset({"verified", "restored"})  # states of a set that can be relied on
_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"e([0-9]{6})-s([0-9]{8})-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_SITE = re.compile(r"[A-Za-z0-9_-]{1,32}")
_MAX_NS = 1 << 63


@dataclass(frozen=True, slots=True)
class SetSeen:
    """One set; of the newest and of the restored one all is known, of the others this much."""

    name: str
    at_ns: int | None  # of its data, by the clock of the site that made it
    id: str = ""
    kind: str = ""
    site: str = ""  # that made it
    state: str = ""
    size_bytes: int | None = None
    rows: int | None = None
    restore_s: float | None = None

    @property
    def order(self) -> tuple[int, int]:
        """Return epoch and sequence: a later set of the same pair has a higher one."""
        found = _NAME.fullmatch(self.name)
        return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """What the other site said of itself when it was last asked."""

    site: str
    role: str
    epoch: int
    restored: str | None  # id of a set
    asked_at_ns: int


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of one command; while one is on, `exit_code` is of the run before."""

    command: str
    running: bool
    exit_code: int
    why: str
    began_at_ns: int
    ended_at_ns: int
    failures: int


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """One site, as it told of itself."""

    site: str
    at_ns: int  # its wall time
    role: str
    epoch: int
    newest: SetSeen | None
    restored: SetSeen | None  # what its database holds
    proven_age_s: float | None
    restore_s: float | None
    trend: tuple[SetSeen, ...]  # oldest first
    corrupt: int
    peer: PeerSaid | None
    role_why: str = ""
    conflict: str = ""
    running: bool = False  # a run is on
    died: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    runs: Mapping[str, LastRun] = field(default_factory=dict)


def read_status(output: CommandOutput) -> SiteStatus:
    """Return what a host answered to `hasync status --json`.

    Raises:
        InputError: it did not answer, or with something else.
    """
    if not output.whole or (output.exit_code != 0 and not output.stdout):
        raise InputError(words(output.complaint))
    found = parse_status(output.text)
    if output.exit_code != 0:
        raise InputError(words(output.complaint))
    return found


def parse_status(text: str) -> SiteStatus:
    """Return the status that *text* (JSON) tells.

    Raises:
        InputError: it is something else; the field is named.
    """
    if len(text) > MAX_CHARS:
        raise InputError(f"longer than {MAX_CHARS} characters", field="hasync status")
    try:
        found = json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {words(str(error))}", field="hasync status") from error
    top = _table(found, "answer")
    code = _count(top, "exit_code")
    if code != 0:
        why = _words(top, "why") or "no reason given"
        raise InputError(f"hasync status: exit code {code}: {why}")
    return _status(_table(top.get("status"), "status"))


def words(text: str) -> str:
    r"""Return *text* fit to be shown: one line, bounded, without control characters.

    >>> words("a\x1b[2Jb\nc")
    'a?[2Jb?c'
    """
    shown = "".join(one if one.isprintable() else "?" for one in text[: MAX_WORDS + 1])
    return shown if len(shown) <= MAX_WORDS else shown[:MAX_WORDS] + "…"


def _status(row: dict[str, Any]) -> SiteStatus:
    runs = _table(row.get("runs"), "runs")
    return SiteStatus(
        site=_match(row, "site", _SITE),
        at_ns=_count(row, "at_ns"),
        role=_one_of(row, "role", ROLES),
        epoch=_count(row, "epoch"),
        newest=_maybe(row, "newest", _set),
        restored=_maybe(row, "restored", _set),
        proven_age_s=_number(row, "proven_rpo_s"),
        restore_s=_number(row, "measured_rto_s"),
        trend=tuple(_point(_table(one, "trend")) for one in _list(row, "trend")),
        corrupt=_count(_table(row.get("sets"), "sets"), "corrupt"),
        peer=_maybe(row, "peer", _peer),
        role_why=_words(row, "role_why"),
        conflict=_words(row, "conflict"),
        running=_truth(row, "running"),
        died=_texts(row, "died"),
        unfinished=_texts(row, "unfinished"),
        problems=_texts(row, "problems"),
        runs={words(name): _run(_table(one, "runs")) for name, one in runs.items()},
    )


def _set(row: dict[str, Any]) -> SetSeen:
    return SetSeen(
        name=_match(row, "name", _NAME),
        at_ns=_count_or_none(row, "snapshot_at_ns"),
        id=_match(row, "id", _ID),
        kind=_words(row, "kind"),
        site=_match(row, "site", _SITE),
        state=_words(row, "state"),
        size_bytes=_count_or_none(row, "size_bytes"),
        rows=_count_or_none(row, "rows"),
    )


def _point(row: dict[str, Any]) -> SetSeen:
    return SetSeen(
        name=_match(row, "name", _NAME),
        at_ns=_count_or_none(row, "at_ns"),
        size_bytes=_count_or_none(row, "size_bytes"),
        rows=_count_or_none(row, "rows"),
        restore_s=_number(row, "restore_s"),
    )


def _peer(row: dict[str, Any]) -> PeerSaid:
    restored = row.get("restored")
    return PeerSaid(
        site=_match(row, "site", _SITE),
        role=_one_of(row, "role", ROLES),
        epoch=_count(row, "epoch"),
        restored=None if restored is None else _match(row, "restored", _ID),
        asked_at_ns=_count(row, "asked_at_ns"),
    )


def _run(row: dict[str, Any]) -> LastRun:
    running = _truth(row, "running")
    return LastRun(
        command=_words(row, "command"),
        running=running,
        exit_code=_count(row, "before" if running else "exit_code"),
        why="" if running else _words(row, "why"),
        began_at_ns=_count(row, "began_at_ns"),
        ended_at_ns=_count(row, "ended_at_ns"),
        failures=_count(row, "failures"),
    )


# Values of JSON ----------------------------------------------------------------------------------


def _no_number(name: str) -> Never:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a name that stands twice could be read either way."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refused(name: str, value: object, wanted: str) -> InputError:
    return InputError(f"not {wanted}", field=f"hasync status: {name}", value=value)


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_ROWS:
        raise _refused(name, value, "a table")
    return value


def _list(row: dict[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list) or len(value) > MAX_ROWS:
        raise _refused(name, value, "a list")
    return value


def _maybe(row: dict[str, Any], name: str, read: Callable[[dict[str, Any]], T]) -> T | None:
    value = row.get(name)
    return None if value is None else read(_table(value, name))


def _count(row: dict[str, Any], name: str) -> int:
    value = row.get(name)
    if type(value) is not int or not 0 <= value < _MAX_NS:
        raise _refused(name, value, "a whole number")
    return value


def _count_or_none(row: dict[str, Any], name: str) -> int | None:
    return None if row.get(name) is None else _count(row, name)


def _number(row: dict[str, Any], name: str) -> float | None:
    """Return a number, negative too: an age is, when a clock is wrong."""
    value = row.get(name)
    if value is None:
        return None
    if type(value) not in {int, float} or abs(value) >= _MAX_NS or math.isnan(value):
        raise _refused(name, value, "a number")
    return float(value)


def _truth(row: dict[str, Any], name: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool):
        raise _refused(name, value, "true or false")
    return value


def _words(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise _refused(name, value, "a text")
    return words(value)


def _texts(row: dict[str, Any], name: str) -> tuple[str, ...]:
    found = _list(row, name)
    if not all(isinstance(one, str) for one in found):
        raise _refused(name, found, "texts")
    return tuple(words(one) for one in found)


def _match(row: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = row.get(name)
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _refused(name, value, f"of the form {pattern.pattern}")
    return value


def _one_of(row: dict[str, Any], name: str, known: frozenset[str]) -> str:
    value = row.get(name)
    if not isinstance(value, str) or value not in known:
        raise _refused(name, value, " or ".join(sorted(known)))
    return value
