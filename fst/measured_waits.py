"""How long this SBC really waits, as earlier captures of the run show it, beside the site file.

Laws: what the packets show is never shorter for it: of the two times the longer one is waited for;
nothing is changed by what was not seen; every difference is said in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from enumtest.checks.routing import STALL_NS
from enumtest.infer.inference import Inference, infer
from enumtest.infer.inferred import Inferred
from enumtest.infer.reading import read_unknown
from enumtest.profiles.profile_groups import MAX_FAILURES, ReadmitBy
from enumtest.profiles.profiles import Profile
from fst.observation import MarkKind, Observation
from harness.errors import InputError

NS = 1_000_000_000
TIMEOUT_SHARE = 5  # one part in so many is no difference, as where time-outs are judged
STAGE = "hold_down.stages"


@dataclass(frozen=True, slots=True)
class MeasuredWaits:
    """What differs from the site file; times of 0 are as declared."""

    timeout_ns: int = 0
    hold_downs_ns: tuple[int, ...] = ()  # one a stage that is declared
    notes: tuple[str, ...] = ()

    def stage_ns(self, at: int, declared_ns: int) -> int:
        """Return how long stage *at* is to be waited for."""
        measured_ns = self.hold_downs_ns[at] if at < len(self.hold_downs_ns) else 0
        return max(declared_ns, measured_ns)


AS_DECLARED = MeasuredWaits()


def measured_waits(recorded: Sequence[Observation]) -> MeasuredWaits:
    """Return what the captures of one SBC show of its times; only outages show any."""
    found = [
        one
        for seen in recorded
        if any(mark.kind is MarkKind.DOWN for mark in seen.marks)
        for one in _inferred(seen)
    ]
    if not found:
        return AS_DECLARED
    profile = recorded[-1].sbc.behaviour
    share = recorded[-1].judging.hold_down_tolerance_percent / 100
    notes: list[str] = []
    timeouts = [one.value("retransmission.expire_ns") for one in found]
    room_ns = max(profile.timeout_ns // TIMEOUT_SHARE, STALL_NS)
    timeout_ns = _longer("time-out", timeouts, profile.timeout_ns, room_ns, notes)
    holds = []
    by_time = profile.readmission.by is ReadmitBy.TIME
    for at, stage in enumerate(profile.hold_down.stages if by_time else ()):
        seen_of = [length for one in found if (length := _length(one, profile, at)) is not None]
        room_ns = round(stage.length_ns * share)
        holds.append(_longer("hold-down", seen_of, stage.length_ns, room_ns, notes))
    return MeasuredWaits(timeout_ns, tuple(holds), tuple(notes))


def _inferred(seen: Observation) -> tuple[Inference, ...]:
    """Return what the capture shows of the SBC; nothing when it asked nobody."""
    table = read_unknown([seen.capture], seen.servers)
    try:
        return infer(table, client=seen.sbc.address)
    except InputError:
        return ()


def _length(found: Inference, profile: Profile, at: int) -> Inferred | None:
    """Return the measured length that is the one of the declared stage *at*, if it is one's."""
    for place, _ in enumerate(profile.hold_down.stages):
        failures = found.value(f"{STAGE}.{place}.failures")
        if failures.low is None:
            continue
        high = MAX_FAILURES if failures.high is None else failures.high
        meant = [
            declared
            for declared, stage in enumerate(profile.hold_down.stages)
            if failures.low <= stage.failures <= high
        ]
        if meant == [at]:
            return found.value(f"{STAGE}.{place}.length_ns")
    return None


def _longer(
    what: str, seen: Sequence[Inferred], declared_ns: int, room_ns: int, notes: list[str]
) -> int:
    """Return a time longer than declared, or 0; a difference of more than *room_ns* is noted."""
    lows = [one.low for one in seen if one.low is not None]
    highs = [one.high for one in seen if one.high is not None]
    declared = f"site file says {declared_ns / NS:g} s"
    if lows and max(lows) > declared_ns + room_ns:
        own_ns = max((high for high in highs if high >= max(lows)), default=max(lows))
        notes.append(f"{what}: measured {own_ns / NS:.1f} s in this run, {declared}")
        return own_ns
    if highs and min(highs) < declared_ns - room_ns:
        notes.append(
            f"{what}: measured {min(highs) / NS:.1f} s in this run, {declared}; waited as declared"
        )
    return 0
