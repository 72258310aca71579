"""What state/status.json says: of each command its last run, its last success, its failures in row.

    nothing ──began──▶ running ──ended──▶ ended
                          │
                          └─ killed: the file still says running, but nobody holds the run lock

Laws: the record says `running` before anything is done, so that a run that was killed never leaves
the success of an earlier one as the last word; and a success is only ever written by `ended`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from harness.errors import InputError
from hasync.failure import Exit

SCHEMA = 1
MAX_BYTES = 1 << 20  # of the file
KILLED = Exit.SIGNAL + 9
KEPT_CHARS = 2000  # of a reason


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The last run of one command; times are wall time in UTC."""

    command: str  # "pgsync", "ngpsync", "hasync restore" …
    running: bool
    pid: int
    began_at_ns: int
    ended_at_ns: int = 0
    took_s: float = 0.0  # by the monotonic clock
    exit_code: int = 0
    why: str = ""
    before: int = 0  # exit code of the run before this one
    failures: int = 0  # runs in row, up to and with this one, that failed or were killed
    last_ok_at_ns: int = 0  # 0: never
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def last_exit_code(self) -> int:
        """Return the exit code of the last run that has ended."""
        return self.before if self.running else self.exit_code

    @property
    def ok(self) -> bool:
        """Say whether it ended, and did what it is for."""
        return not self.running and self.exit_code in {Exit.OK, Exit.WARNING}


Runs = Mapping[str, RunRecord]


def began(runs: Runs, command: str, pid: int, at_ns: int) -> dict[str, RunRecord]:
    """Return *runs* with *command* running since *at_ns*.

    The caller holds the run lock, so whatever else is on record as running was killed: that is a
    failure of it.
    """
    before = runs.get(command)
    failures = 0 if before is None else before.failures + before.running
    last_ok_at_ns = 0 if before is None else before.last_ok_at_ns
    exit_before = 0 if before is None else KILLED if before.running else before.exit_code
    now = RunRecord(
        command,
        True,
        pid,
        at_ns,
        before=exit_before,
        failures=failures,
        last_ok_at_ns=last_ok_at_ns,
    )
    killed = {name: _killed(one) for name, one in runs.items() if one.running}
    return {**runs, **killed, command: now}


def _killed(one: RunRecord) -> RunRecord:
    """Return the record of a run that found no end of its own."""
    why = "it was killed, or the machine went down"
    return replace(one, running=False, exit_code=KILLED, why=why, failures=one.failures + 1)


def ended(  # noqa: PLR0913 - the fields of one record
    runs: Runs,
    command: str,
    *,
    at_ns: int,
    took_s: float,
    exit_code: int,
    why: str,
    facts: Mapping[str, Any],
) -> dict[str, RunRecord]:
    """Return *runs* with the run of *command*, which had begun, ended."""
    over = replace(
        runs[command],
        running=False,
        ended_at_ns=at_ns,
        took_s=round(took_s, 3),
        exit_code=exit_code,
        why=why[:KEPT_CHARS],
        facts=facts,
    )
    if over.ok:
        return {**runs, command: replace(over, failures=0, last_ok_at_ns=at_ns)}
    if exit_code == Exit.ASIDE:  # a person wanted it: neither a success nor one more failure
        return {**runs, command: over}
    return {**runs, command: replace(over, failures=over.failures + 1)}


def encode(runs: Runs) -> bytes:
    """Return the bytes of status.json."""
    shown = {name: _shown(record) for name, record in sorted(runs.items())}
    text = json.dumps({"schema": SCHEMA, "runs": shown}, indent=1, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def parse(content: bytes, file: str) -> dict[str, RunRecord]:
    """Return the runs that status.json tells of.

    Raises:
        InputError: not written by us.
    """
    try:
        whole = json.loads(content)
        if whole["schema"] != SCHEMA:
            raise InputError("a schema that is not known", file=file, value=whole["schema"])
        return {name: _read(name, record) for name, record in whole["runs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("no status of ours", file=file, fix="the next run writes it") from error


def _shown(record: RunRecord) -> dict[str, Any]:
    names = [name for name in RunRecord.__slots__ if name not in {"command", "facts"}]
    return {name: getattr(record, name) for name in names} | {"facts": dict(record.facts)}


def _read(name: str, told: Mapping[str, Any]) -> RunRecord:
    """Return one record; every field must be there, of its type, and no other."""
    record = RunRecord(command=name, **told)
    for field_name, kind in (
        *dict.fromkeys(
            ("pid", "began_at_ns", "ended_at_ns", "exit_code", "failures", "before"), int
        ).items(),
        ("last_ok_at_ns", int),
        ("running", bool),
        ("why", str),
        ("took_s", int | float),
        ("facts", dict),
    ):
        if not isinstance(getattr(record, field_name), kind):
            raise TypeError(field_name)
    return record
