"""The status as a monitoring system asks for it: Nagios codes, one line, perfdata.

Law: silence is no success. What cannot be known is UNKNOWN or worse, and nothing is OK that was not
proved within the time that was asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from harness.errors import InputError
from hasync.commands.status import Point, Status, measured, span
from hasync.failure import Exit
from hasync.role import Role
from hasync.sets.backup import Kind, State

FUTURE_NS = 15 * 60 * 10**9  # as for retention: two clocks may differ by this
SHRUNK = 0.6  # of the rows before: below it somebody should look before good copies age out
BUSY = 0.8  # of the time between two sets: a restore this long will not keep up for long
SCHEDULED = frozenset({"pgsync", "ngpsync"})  # who typed another command has seen its end
FAILURES = 2  # in row; the first is a warning


class Level(IntEnum):
    """Nagios plugin codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_WORST = {Level.OK: 0, Level.UNKNOWN: 1, Level.WARNING: 2, Level.CRITICAL: 3}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The age of proven data, in seconds, from which it is a warning, and critical."""

    warning_s: int = 26 * 3600  # a daily run, and two hours
    critical_s: int = 50 * 3600  # a second one missed

    def __post_init__(self) -> None:
        """Refuse limits that could never warn first."""
        if not 0 < self.warning_s <= self.critical_s:
            value = (self.warning_s, self.critical_s)
            raise InputError("the warning must come first", field="thresholds", value=value)


@dataclass(frozen=True, slots=True)
class Judged:
    """The check's answer."""

    level: Level
    said: tuple[tuple[Level, str], ...]  # the worst first
    perfdata: str

    @property
    def line(self) -> str:
        """Return the one line that a monitoring system shows."""
        words = "; ".join(text for _, text in self.said).replace("|", "/")
        return f"HASYNC {self.level.name} - {words} | {self.perfdata}"


def check(status: Status, limits: Thresholds) -> Judged:
    """Return how the site stands.

    >>> str(Level.CRITICAL.name)
    'CRITICAL'
    """
    found = [
        *_of_role(status),
        *_of_age(status, limits),
        *_of_peer(status),
        *_of_sets(status),
        *_of_runs(status),
        *_of_trend(status.trend),
        *_of_space(status),
        *_of_logins(status),
        *((Level.UNKNOWN, text) for text in status.gathered.problems),
    ]
    found.sort(key=lambda one: -_WORST[one[0]])
    if not found:
        age_ns = status.proven_age_ns or 0
        newest = status.newest.name.text if status.newest else ""
        found = [(Level.OK, f"data proved up to {span(age_ns)} ago, newest set {newest}")]
    return Judged(found[0][0], tuple(found), _perfdata(status, limits))


_Said = Iterable[tuple[Level, str]]


def _of_role(status: Status) -> _Said:
    seen = status.gathered
    if seen.role.role is Role.UNKNOWN:
        yield Level.CRITICAL, f"the role is unknown, so nothing is done: {seen.role.why}"
    if status.conflict:
        yield Level.CRITICAL, status.conflict
    if seen.peer and abs(seen.peer.skew_ns) > FUTURE_NS:
        yield Level.WARNING, f"the sites' clocks differ by {span(abs(seen.peer.skew_ns))}"


def _of_peer(status: Status) -> _Said:
    peer = status.gathered.peer
    if peer is None or not _active(status) or peer.fact.exit_code in {Exit.OK, Exit.WARNING}:
        return
    level = Level.CRITICAL if peer.fact.failures >= FAILURES else Level.WARNING
    fact = peer.fact
    yield level, f"pgsync at {fact.site} ended with {fact.exit_code}, {fact.failures} in row"


def _of_age(status: Status, limits: Thresholds) -> _Said:
    for kind, age_ns in status.ages_ns.items():
        yield from _of_one_age(_what(status, kind), age_ns, limits)


def _what(status: Status, kind: Kind) -> str:
    if kind is Kind.DATABASE:
        return "the data restored at the other site" if _active(status) else "the live data"
    return "the application there" if _active(status) else "the application here"


def _of_one_age(what: str, age_ns: int | None, limits: Thresholds) -> _Said:
    if age_ns is None:
        yield Level.CRITICAL, f"{what}: nothing is proved"
    elif age_ns < -FUTURE_NS:
        yield Level.WARNING, f"{what} is from the future: a clock is wrong"
    elif age_ns >= limits.critical_s * 10**9:
        yield Level.CRITICAL, f"{what} is {span(age_ns)} old"
    elif age_ns >= limits.warning_s * 10**9:
        yield Level.WARNING, f"{what} is {span(age_ns)} old"


def _of_sets(status: Status) -> _Said:
    if status.gathered.touched:
        yield Level.WARNING, status.gathered.touched
    if refused := status.gathered.quarantined:
        told = f"{len(refused)} refused, the last is {refused[-1]}: look, then remove it"
        yield Level.WARNING, told
    sets = status.gathered.sets
    corrupt = [one for one in sets if one.state.state is State.CORRUPT]
    if corrupt:
        yield Level.CRITICAL, f"{len(corrupt)} corrupt, for example {corrupt[-1].path}"
    for one in sets:
        if one.state.state is State.FAILED:
            level = Level.CRITICAL if one.state.attempts >= FAILURES else Level.WARNING
            yield level, f"{one.name.text} failed {one.state.attempts} times: {one.state.why}"
        passed = status.live is not None and one.order < status.live.order
        if one.state.held and not passed and not _active(status):
            yield Level.WARNING, f"{one.name.text} is held back: {one.state.held}"
        if one.kind is Kind.TAIL and not measured(one, "acknowledged_at_ns"):
            yield Level.WARNING, f"tail {one.name.text} waits for `hasync tail diff` and `ack`"


def _of_runs(status: Status) -> _Said:
    for name in status.died:
        yield Level.CRITICAL, f"{name} was killed and has not run since"
    for name in status.gathered.unfinished:
        if not status.gathered.run_held:
            yield Level.WARNING, f"an unfinished {name}: the next run settles it"
    for one in (status.gathered.runs or {}).values():
        if one.command in SCHEDULED and not one.running and not one.ok:
            level = Level.CRITICAL if one.failures >= FAILURES else Level.WARNING
            yield level, f"{one.command} ended with {one.exit_code}: {one.why}"


def _of_trend(trend: tuple[Point, ...]) -> _Said:
    if len(trend) < 2:  # noqa: PLR2004 - a pair
        return
    before, last = trend[-2:]
    if before.rows and last.rows is not None and last.rows < SHRUNK * before.rows:
        yield Level.WARNING, f"{last.rows} rows, and {before.rows} in the set before"
    between_s = (last.at_ns - before.at_ns) / 1e9
    if last.restore_s is not None and between_s > 0 and last.restore_s > BUSY * between_s:
        yield (
            Level.WARNING,
            f"a restore takes {last.restore_s:.0f} s, sets come {between_s:.0f} s apart",
        )


def _of_space(status: Status) -> _Said:
    reserve = status.gathered.reserve_bytes
    for where, free in (status.gathered.free_bytes or {}).items():
        if free < reserve:
            yield Level.CRITICAL, f"{where} has {free} bytes free, less than the reserve"
        elif free < 2 * reserve:
            yield Level.WARNING, f"{where} has {free} bytes free, near the reserve"


def _of_logins(status: Status) -> _Said:
    names = status.gathered.logins
    if names:
        yield (
            Level.WARNING,
            f"nobody can log in as {', '.join(names[:3])} here ({len(names)} without a password)",
        )


def _active(status: Status) -> bool:
    return status.gathered.role.role is Role.ACTIVE


def _perfdata(status: Status, limits: Thresholds) -> str:
    """Return label=value[unit];warn;crit;min, U for what is not known."""
    age_ns, newest = status.proven_age_ns, status.trend[-1] if status.trend else None
    age = "U" if age_ns is None else f"{age_ns / 1e9:.0f}s"
    failures = max((one.failures for one in (status.gathered.runs or {}).values()), default=0)
    return " ".join(
        (
            f"age={age};{limits.warning_s};{limits.critical_s};0",
            f"restore={_or_unknown(status.restore_s, 's')};;;0",
            f"rows={_or_unknown(newest.rows if newest else None)};;;0",
            f"size={_or_unknown(newest.size_bytes if newest else None, 'B')};;;0",
            f"sets={sum(one.proved for one in status.gathered.sets)};;;0",
            f"failures={failures};;{FAILURES};0",
        )
    )


def _or_unknown(value: float | None, unit: str = "") -> str:
    return "U" if value is None else f"{value}{unit}"
