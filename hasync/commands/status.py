"""What is true of a site now, from facts that were gathered: role, sets, proven RPO, measured RTO.

A backup's age says little. What counts is what has been proved: the age of the data in a set that
was restored here with every row counted, and the seconds that this restore took.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hasync.commands.record import RunRecord
from hasync.role import Restored, Role, RoleFact, ServiceFact, SiteFact, conflict
from hasync.sets.backup import SENT, Kind, State, StoredSet

TREND = 14  # of the last sets
_STEPS = ((86_400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True)
class PeerSeen:
    """What the other site said of itself when it was last asked."""

    fact: SiteFact
    at_ns: int  # our wall time of it
    skew_ns: int = 0  # its clock minus ours
    newest: Mapping[str, int] | None = None  # the highest sequence that it has, by kind/site


@dataclass(frozen=True, slots=True)
class Gathered:
    """All facts about a site at one moment; what could not be read is in `problems`."""

    site: str
    now_ns: int
    role: RoleFact
    service: ServiceFact | None = None
    sets: tuple[StoredSet, ...] = ()
    live: str = ""  # id of the set that the live database holds; "": not known
    installed: str | None = None  # id of the set whose trees are live; None: none ever was
    runs: Mapping[str, RunRecord] | None = None
    run_held: bool = False
    unfinished: tuple[str, ...] = ()  # procedures with a journal that was left behind
    peer: PeerSeen | None = None
    free_bytes: Mapping[str, int] | None = None
    reserve_bytes: int = 0
    logins: tuple[str, ...] = ()  # roles that a restore created, and that have no password yet
    quarantined: tuple[str, ...] = ()  # refused sets that wait for a person, the oldest first
    touched: str = ""  # in words: the live copy of a standby was written to since its restore
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One set in the trend."""

    name: str
    at_ns: int  # its snapshot
    size_bytes: int
    rows: int | None
    restore_s: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to: if the active site is lost now, what is lost, and how long does it take."""

    gathered: Gathered
    newest: StoredSet | None  # highest proved set of the data that counts here
    live: StoredSet | None  # what the live database was restored from
    proven_age_ns: int | None  # standby: age of the live data; active: of what the peer restored
    restore_s: float | None  # of the last proving restore
    trend: tuple[Point, ...]  # oldest first
    conflict: str
    died: tuple[str, ...]  # commands that were killed: on record as running, but no run is on
    ages_ns: Mapping[Kind, int | None] = field(default_factory=dict)  # of each kind that is kept

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of `hasync status --json`; durations in seconds, null unknown."""
        seen, age_ns = self.gathered, self.proven_age_ns
        return {
            "site": seen.site,
            "at_ns": seen.now_ns,
            "role": seen.role.role,
            "epoch": seen.role.epoch,
            "role_why": seen.role.why,
            "service": seen.service.state if seen.service else None,
            "newest": _named(self.newest),
            "restored": _named(self.live),
            "installed": seen.installed,
            "proven_rpo_s": None if age_ns is None else round(age_ns / 1e9, 3),
            "ages_s": {
                str(kind): None if one is None else round(one / 1e9, 3)
                for kind, one in self.ages_ns.items()
            },
            "measured_rto_s": self.restore_s,
            "sets": {str(state): self._count(state) for state in State},
            "trend": [_shown(point) for point in self.trend],
            "peer": _peer(seen.peer),
            "conflict": self.conflict,
            "running": seen.run_held,
            "died": list(self.died),
            "unfinished": list(seen.unfinished),
            "runs": {name: _run(one) for name, one in sorted((seen.runs or {}).items())},
            "free_bytes": dict(seen.free_bytes or {}),
            "logins_without_password": list(seen.logins),
            "quarantined": list(seen.quarantined),
            "problems": list(seen.problems),
        }

    def lines(self) -> tuple[str, ...]:
        """Return the status for a person."""
        seen = self.gathered
        found = [f"site {seen.site}: {seen.role.role}, epoch {seen.role.epoch}"]
        found += [f"  role: {seen.role.why}"] if seen.role.role is Role.UNKNOWN else []
        if seen.service:
            found.append(f"service: {seen.service.state}")
        if seen.peer:
            ago = span(seen.now_ns - seen.peer.at_ns)
            fact = seen.peer.fact
            found.append(f"peer {fact.site}: {fact.role}, epoch {fact.epoch}, asked {ago} ago")
        found.append(f"newest verified set: {self.newest.name.text if self.newest else 'none'}")
        found += self._proof()
        found += [_run_line(one, one.command in self.died) for one in (seen.runs or {}).values()]
        found += [f"ATTENTION: {text}" for text in (*self._attention(), *seen.problems)]
        return tuple(found)

    def _proof(self) -> list[str]:
        active = self.gathered.role.role is Role.ACTIVE
        which, where = ("this site", "the other site") if active else ("the active site", "here")
        if self.proven_age_ns is None:
            lost = (
                f"nothing is proved at {where} yet" if active else f"nothing is proved {where} yet"
            )
            said = f"{lost}: if {which} is lost now, all of its data may be lost with it"
        else:
            age = span(self.proven_age_ns)
            said = f"if {which} is lost now: data of the last {age} is lost with it"
        if active:
            return [said]
        found = []
        if Kind.DATABASE in self.ages_ns:
            found.append(f"restored and live: {self.live.name.text if self.live else 'not known'}")
        if Kind.APPLICATION in self.ages_ns:
            found.append(f"installed and live: {self._installed()}")
        found.append(said)
        if self.restore_s is not None:
            found.append(f"last proving restore took {self.restore_s:.1f} s")
        return found

    def _installed(self) -> str:
        set_id = self.gathered.installed
        if not set_id:
            return "no set; the trees are this host's own"
        here = (one.name.text for one in self.gathered.sets if one.id == set_id)
        return next(here, f"set {set_id}, which is here no more")

    def _attention(self) -> list[str]:
        found = [self.conflict] if self.conflict else []
        found += [f"{name} was killed" for name in self.died]
        found += [f"an unfinished {name}: hasync recover" for name in self.gathered.unfinished]
        if self.gathered.logins:
            found.append(f"no password yet: {', '.join(self.gathered.logins)}")
        found += [
            f"refused: {path}; remove it when you have looked" for path in self.gathered.quarantined
        ]
        return found

    def _count(self, state: State) -> int:
        return sum(one.state.state is state for one in self.gathered.sets)


def of(seen: Gathered) -> Status:
    """Return the status that the gathered facts amount to."""
    kinds = _kinds(seen)
    here = _of_kind(seen, kinds[0])
    proved = [one for one in here if one.proved]
    live = next((one for one in here if one.id == seen.live), None)
    died = (
        ()
        if seen.run_held
        else tuple(name for name, one in (seen.runs or {}).items() if one.running)
    )
    return Status(
        seen,
        proved[-1] if proved else None,
        live,
        _age_ns(seen, kinds[0]),
        next((s for one in reversed(here) if (s := measured(one, "restore_s")) is not None), None),
        tuple(_point(one) for one in proved[-TREND:]),
        conflict(seen.role, seen.peer.fact) if seen.peer else "",
        died,
        {kind: _age_ns(seen, kind) for kind in kinds},
    )


def _kinds(seen: Gathered) -> tuple[Kind, ...]:
    """Return the kinds that this host keeps in step: it has sets of them, or made them run."""
    runs = seen.runs or {}
    pairs = ((Kind.DATABASE, "pgsync"), (Kind.APPLICATION, "ngpsync"))
    found = tuple(kind for kind, command in pairs if command in runs or _of_kind(seen, kind))
    return found or (Kind.DATABASE,)


def _of_kind(seen: Gathered, kind: Kind) -> list[StoredSet]:
    """Return the sets of one kind, the oldest first."""
    found = [one for one in seen.sets if one.kind is kind]
    return sorted(found, key=lambda one: (*one.order, one.id))


def _age_ns(seen: Gathered, kind: Kind) -> int | None:
    """Return the age of the data that is proved to survive; None when none is.

    Of a database that the peer took a set is no proof: only its restore is. Files are proved by
    their sums, so they count once the other site has them.
    """
    here = _of_kind(seen, kind)
    at_ns = None
    match seen.role.role, kind:
        case Role.ACTIVE, Kind.DATABASE:
            restored = seen.peer.fact.restored if seen.peer else None
            at_ns = _snapshot_at_ns(here, restored) if restored else None
        case Role.ACTIVE, _:
            at_ns = _snapshot_of(one for one in here if measured(one, SENT) is not None)
        case _, Kind.DATABASE:
            at_ns = _snapshot_of(one for one in here if one.id == seen.live)
        case _:
            at_ns = _snapshot_of(one for one in here if one.proved)
    return None if at_ns is None else seen.now_ns - at_ns


def _snapshot_at_ns(here: Sequence[StoredSet], restored: Restored) -> int:
    """Return when the data was taken that the peer has restored: by our own word if we have it."""
    own = _snapshot_of(one for one in here if one.id == restored.set_id)
    return restored.snapshot_at_ns if own is None else own


def _snapshot_of(sets: Iterable[StoredSet]) -> int | None:
    """Return when the data of the last of *sets* was taken; None: there is none."""
    found = [one.manifest.snapshot_at_ns for one in sets if one.manifest is not None]
    return found[-1] if found else None


def measured(one: StoredSet, name: str) -> float | None:
    """Return a number that was measured of a set here; None when it was not."""
    value = one.state.measurements.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None


def rows_of(one: StoredSet) -> int | None:
    """Return all rows that the set's manifest counts; None when it counts none."""
    tables = one.manifest.facts.get("tables") if one.manifest else None
    if not isinstance(tables, Mapping):
        return None
    return sum(count for count in tables.values() if isinstance(count, int))


def span(duration_ns: int) -> str:
    """Return a duration in words; a negative one says that a clock is wrong.

    >>> span(11_520 * 10**9), span(-5 * 10**9)
    ('3 h 12 min', '-5 s (a clock is wrong)')
    """
    if duration_ns < 0:
        return f"-{span(-duration_ns)} (a clock is wrong)"
    words: list[str] = []
    left_s = duration_ns // 10**9
    for size_s, unit in _STEPS:
        if left_s >= size_s and len(words) < 2:  # noqa: PLR2004 - the two largest are enough
            words.append(f"{left_s // size_s} {unit}")
            left_s %= size_s
    if len(words) < 2 and (left_s or not words):  # noqa: PLR2004 - likewise
        words.append(f"{left_s} s")
    return " ".join(words)


def utc(at_ns: int) -> str:
    """Return wall time as text; "never" for 0.

    >>> utc(1_795_372_860 * 10**9)
    '2026-11-22T18:41:00Z'
    """
    if not at_ns:
        return "never"
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _point(one: StoredSet) -> Point:
    at_ns = one.manifest.snapshot_at_ns if one.manifest else 0
    return Point(one.name.text, at_ns, one.size_bytes, rows_of(one), measured(one, "restore_s"))


def _named(one: StoredSet | None) -> dict[str, Any] | None:
    if one is None:
        return None
    snapshot = one.manifest.snapshot_at_ns if one.manifest else None
    return {
        "id": one.id,
        "name": one.name.text,
        "kind": one.kind,
        "site": one.site,
        "state": one.state.state,
        "snapshot_at_ns": snapshot,
        "size_bytes": one.size_bytes,
        "rows": rows_of(one),
    }


def _shown(point: Point) -> dict[str, Any]:
    return {name: getattr(point, name) for name in Point.__slots__}


def _peer(peer: PeerSeen | None) -> dict[str, Any] | None:
    if peer is None:
        return None
    fact = peer.fact
    return {
        "site": fact.site,
        "role": fact.role,
        "epoch": fact.epoch,
        "restored": fact.restored.set_id if fact.restored else None,
        "exit_code": fact.exit_code,
        "failures": fact.failures,
        "asked_at_ns": peer.at_ns,
        "skew_s": round(peer.skew_ns / 1e9, 3),
    }


def _run(one: RunRecord) -> dict[str, Any]:
    return {name: getattr(one, name) for name in RunRecord.__slots__ if name != "facts"}


def _run_line(one: RunRecord, died: bool) -> str:
    if one.running:
        how = "was killed" if died else f"runs, pid {one.pid}"
        return f"{one.command}: {how} (begun {utc(one.began_at_ns)})"
    how = "ok" if one.ok else f"FAILED with exit code {one.exit_code}: {one.why}"
    times = f", {one.failures} in row, last success {utc(one.last_ok_at_ns)}"
    return f"{one.command}: {how} at {utc(one.ended_at_ns)}{'' if one.ok else times}"
