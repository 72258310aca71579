"""A profile with some values set otherwise, as a site file or a command line says.

Laws: a value that is not given stays as it is; one that is given has its giver as its source, and
is unknown no longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from enumtest.dns.source_uri import Framing
from enumtest.profiles.oracle_timers import SOURCE, S, is_known, oracle_schedule
from enumtest.profiles.profile_groups import (
    AllDown,
    Event,
    HoldDown,
    Reaction,
    Readmission,
    ReadmitBy,
    Retransmission,
    Selection,
    Share,
    Stage,
    Then,
    Timers,
)
from enumtest.profiles.profiles import Profile
from harness.errors import InputError

COUNTABLE = (Event.SILENCE, Event.SERVFAIL, Event.REFUSED, Event.FORMERR, Event.NOTIMP)
_SCHEDULE = "retransmission.schedule_ns"
_PATHS: Mapping[str, tuple[str, ...]] = {
    "selection": ("selection.method",),
    "timeout_ns": ("retransmission.expire_ns",),
    "retransmissions": (_SCHEDULE,),
    "hold_down_ns": ("hold_down.stages", "hold_down.stages.0.length_ns", "readmission.by"),
    "failures": tuple(f"reactions.{one}.{do}" for one in COUNTABLE for do in ("then", "counts")),
    "all_down": ("all_down",),
    "source_code": ("edns.source_sent", "edns.source_code"),
    "source_framing": ("edns.source_framing",),
}
_NO_PROBES = Readmission(ReadmitBy.TIME, 0, 0, 0, "", "NAPTR")


@dataclass(frozen=True, slots=True)
class Overrides:
    """The values that people set; None leaves the profile's own."""

    selection: Selection | None = None
    timeout_ns: int | None = None  # for one server, retransmissions included
    retransmissions: int | None = None  # they share the timeout evenly
    hold_down_ns: int | None = None  # of the first stage; 0: none at all
    failures: frozenset[Event] | None = None  # that count; other errors are then final
    all_down: AllDown | None = None
    source_code: int | None = None  # EDNS option with the calling number; 0: none
    source_framing: Framing | None = None

    def paths(self) -> frozenset[str]:
        """Return the paths of the values that are given."""
        found = (
            path
            for name, paths in _PATHS.items()
            if getattr(self, name) is not None
            for path in paths
        )
        return frozenset(found)

    def __post_init__(self) -> None:
        """Refuse failures that no site file can list."""
        if odd := sorted((self.failures or frozenset()) - set(COUNTABLE)):
            fix = f"there are {', '.join(COUNTABLE)}"
            raise InputError("no failure of a server", field="failures", value=odd[0], fix=fix)


def laid_over(profile: Profile, given: Overrides, *, by: str = "the site file") -> Profile:
    """Return *profile* with what is *given*, of which *by* is the source.

    Raises:
        InputError: no SBC could follow that.
    """
    if not given.paths():
        return profile
    parts: dict[str, object] = {}
    if given.selection is not None:
        parts["selection"] = replace(profile.selection, method=given.selection, weights=())
    if given.timeout_ns is not None or given.retransmissions is not None:
        parts["retransmission"] = _retransmission(profile, given)
        parts["timers"] = profile.timers if _by_rule(profile, given) else Timers.DRAWN_OUT
    if given.hold_down_ns is not None:
        hold_down, length_ns = profile.hold_down, given.hold_down_ns
        parts["hold_down"] = replace(hold_down, stages=_stages(hold_down, length_ns))
        parts["readmission"] = _NO_PROBES
    if given.failures is not None:
        parts["reactions"] = _reactions(profile.reactions, given.failures)
    if given.all_down is not None:
        parts["all_down"] = given.all_down
    edns = profile.edns
    if given.source_code is not None:
        edns = replace(edns, source_sent=bool(given.source_code))
        edns = replace(edns, source_code=given.source_code or edns.source_code)
    if given.source_framing is not None:
        edns = replace(edns, source_framing=given.source_framing)
    return _sourced(profile, parts | {"edns": edns}, given, by)


def _by_rule(profile: Profile, given: Overrides) -> bool:
    """Say whether a maker's rule gives the sends for what is *given*."""
    expire_ns = profile.timeout_ns if given.timeout_ns is None else given.timeout_ns
    is_oracle = profile.timers is Timers.ORACLE and is_known(expire_ns)
    return is_oracle and given.retransmissions is None


def _retransmission(profile: Profile, given: Overrides) -> Retransmission:
    """Return the sends for another timeout: by the maker's rule, drawn out, or evenly spaced."""
    rules = profile.retransmission
    expire_ns = rules.expire_ns if given.timeout_ns is None else given.timeout_ns
    if _by_rule(profile, given):
        times_ns = oracle_schedule(expire_ns // S)
    elif given.retransmissions is None:
        times_ns = tuple(at_ns * expire_ns // rules.expire_ns for at_ns in rules.schedule_ns)
    else:
        sends = given.retransmissions + 1
        times_ns = tuple(at * (expire_ns // sends) for at in range(sends)) if sends > 0 else ()
    return replace(rules, schedule_ns=times_ns, expire_ns=expire_ns)


def _stages(rules: HoldDown, length_ns: int) -> tuple[Stage, ...]:
    """Return the stages with another first length; a profile without any gets one of one failure.

    Later stages that would be shorter than the first are as long as that.
    """
    if not length_ns:
        return ()
    if not rules.stages:
        return (Stage(1, consecutive=False, window_ns=0, length_ns=length_ns, share=Share.NEXT),)
    first, *later = rules.stages
    longer = (replace(stage, length_ns=max(stage.length_ns, length_ns)) for stage in later)
    return (replace(first, length_ns=length_ns), *longer)


def _reactions(
    reactions: Mapping[Event, Reaction], failures: frozenset[Event]
) -> dict[Event, Reaction]:
    """Return the reactions with *failures* counted; silence always fails over."""
    found = dict(reactions)
    for event in COUNTABLE:
        then = Then.NEXT_SERVER if event in (*failures, Event.SILENCE) else Then.FINAL
        found[event] = Reaction(then, counts=event in failures)
    return found


def _sourced(profile: Profile, parts: Mapping[str, object], given: Overrides, by: str) -> Profile:
    """Return *profile* with *parts*; each value that is given or changes comes from *by*."""
    before = {one.path: one for one in profile.fields()}
    # Sources are settled value by value: a path that stood for several may now do so no longer.
    everything = dict.fromkeys((path.split(".")[0] for path in before), by)
    bare = replace(profile, **parts, source=everything, unknown=frozenset())  # type: ignore[arg-type]
    source: dict[str, str] = {}
    unknown: set[str] = set()
    for path, value in bare.leaves():
        old, told = before.get(path), profile.source_of(path)
        drawn_out = (
            path == _SCHEDULE
            and path not in given.paths()
            and old is not None
            and old.value != value
        )
        if drawn_out and _by_rule(profile, given):
            source[path] = f"{SOURCE}; for the time-out of {by}"
        elif drawn_out and told is not None and bare.timeout_ns >= profile.timeout_ns:
            source[path] = f"{told}; drawn out to the time-out of {by}"
        elif drawn_out:  # makers have floors below which no interval goes
            unknown.add(path)
        elif old is None or old.value != value or path in given.paths():
            source[path] = by
        elif told is not None:
            source[path] = told
        elif value is not None:  # a dialect's None says itself that nothing is known
            unknown.add(path)
    return replace(bare, source=source, unknown=frozenset(unknown))
