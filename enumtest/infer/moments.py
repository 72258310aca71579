"""What happened to each server of an unknown SBC, moment by moment: what hold-downs are read from.

    asked ─▶ good | failed ─▶ passed over … ─▶ asked again

Laws: a moment is in a capture, or follows from one that is; what came before the first good answer
of a server is a story of its own, because nobody knows what was counted before it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from enumtest.infer.turns import Choosing
from enumtest.infer.view import Ask, Hop, View
from enumtest.profiles.profile_groups import Event
from enumtest.sbc.events import ANSWERS

NEAR_NS = 5_000_000  # which of two moments came first cannot be told, if they are this near


class What(IntEnum):
    """What a moment is; of one time, the smaller number comes first."""

    GOOD = 0
    LATE = 1  # a good answer to a question that was given up
    FAILED = 2
    REPLY = 3  # to a probe
    NO_REPLY = 4
    PASSED = 5
    ASKED = 6


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened to one server."""

    at_ns: int
    what: What
    row: int  # of the table: the question that shows it
    asked_ns: int = 0  # GOOD, LATE, FAILED: when the question was put
    event: Event | None = None  # FAILED
    next_call_ns: int = 0  # FAILED: when the next call came, to whomever
    ended: bool = False  # FAILED: an answer that ended the call, as a good one does
    forced: bool = False  # ASKED: no other server was known to be in service
    unsure_ns: int = 0
    watch: int = -1  # capture by whose clock the time is; -1: by several


@dataclass(frozen=True, slots=True)
class Story:
    """Moments of one server, one after the other."""

    server: int
    moments: tuple[Moment, ...]
    from_good: bool  # it begins with the server in service


def stories(
    seen: View, found: Sequence[Ask], chosen: Choosing, expire_ns: int
) -> tuple[Story, ...]:
    """Return what happened to each server."""
    told: list[list[Moment]] = [[] for _ in seen.servers]
    starts = [call[0].asked_ns for call in seen.calls]
    for ask in found:
        told[ask.server] += _of(ask, expire_ns, starts)
    for at, server in chosen.passed:
        hop = found[at].hops[0]
        moment = Moment(
            hop.asked_ns, What.PASSED, hop.row, unsure_ns=hop.unsure_ns, watch=hop.watch
        )
        told[server].append(moment)
    for probe in seen.probes:
        told[probe.server].append(_of_probe(probe))
    ordered = [sorted(own, key=lambda one: (one.at_ns, one.what)) for own in told]
    forced = enumerate(_forced(ordered))
    return tuple(part for server, own in forced for part in _parts(server, _compressed(own)))


def _of(ask: Ask, expire_ns: int, starts: Sequence[int]) -> list[Moment]:
    hop, end = ask.hops[0], ask.hops[-1]
    unsure_ns, watch = hop.unsure_ns, hop.watch
    asked = Moment(ask.at_ns, What.ASKED, hop.row, ask.at_ns, unsure_ns=unsure_ns, watch=watch)
    found = [asked]
    over_ns = ask.over_ns(expire_ns)
    if ask.served:
        at_ns = over_ns if end.answered_ns is None else end.answered_ns
        found.append(Moment(at_ns, What.GOOD, hop.row, ask.at_ns))
    else:
        later = bisect_left(starts, over_ns)
        next_ns = starts[later] if later < len(starts) else over_ns
        found.append(
            Moment(
                over_ns,
                What.FAILED,
                hop.row,
                ask.at_ns,
                ask.event,
                next_ns,
                ended=ask.left_ns is None and end.answered_ns is not None,
                unsure_ns=unsure_ns,
                watch=watch if ask.left_ns is None else -1,
            )
        )
    if end.late_ns is not None and end.late_event in ANSWERS and not ask.served:
        found.append(Moment(end.late_ns, What.LATE, hop.row, ask.at_ns))
    return found


def _of_probe(probe: Hop) -> Moment:
    if probe.event in ANSWERS and probe.answered_ns is not None:
        return Moment(probe.answered_ns, What.REPLY, probe.row, probe.asked_ns)
    # A row of replies ends with the probe that got none, whenever that is noticed.
    return Moment(probe.asked_ns, What.NO_REPLY, probe.row, probe.asked_ns)


def _forced(told: Sequence[list[Moment]]) -> list[list[Moment]]:
    """Return the moments, with each ask marked that came while no other server was in service."""
    times: list[list[tuple[int, bool]]] = []
    for own in told:  # when a server went out of service as far as is known, and came back
        states = [
            (one.at_ns, one.what is What.FAILED)
            for one in own
            if one.what in (What.FAILED, What.GOOD)
        ]
        times.append(states)

    def is_away(server: int, at_ns: int) -> bool:
        behind = bisect_left(times[server], (at_ns, False))
        return behind > 0 and times[server][behind - 1][1]

    found = []
    for server, own in enumerate(told):
        marked = []
        for one in own:
            others = [at for at in range(len(told)) if at != server]
            if one.what is What.ASKED and all(is_away(at, one.at_ns) for at in others):
                marked.append(replace(one, forced=True))
            else:
                marked.append(one)
        found.append(marked)
    return found


def _compressed(own: Sequence[Moment]) -> list[Moment]:
    """Return the moments without those that a healthy server has again and again."""
    kept: list[Moment] = []
    failed_ns: int | None = None
    asked_new = regular = passed = False
    for one in own:
        match one.what:
            case What.FAILED:
                failed_ns, asked_new, regular = one.at_ns, False, False
            case What.PASSED:
                if passed:
                    kept.pop()  # of a run of them, the first and the last
                passed = bool(kept) and kept[-1].what is What.PASSED
                asked_new = False
            case What.ASKED:
                if asked_new:
                    continue
                # One that is as old as a failure may have been before it: the next one counts.
                asked_new = failed_ns is None or one.at_ns > failed_ns + NEAR_NS
            case What.GOOD:
                in_flight = failed_ns is not None and one.asked_ns < failed_ns
                if regular or (in_flight and kept and kept[-1].what is What.GOOD):
                    continue
                regular = not in_flight
            case _:
                pass
        if one.what is not What.PASSED:
            passed = False
        kept.append(one)
    return kept


def _parts(server: int, own: Sequence[Moment]) -> list[Story]:
    """Return what came before the first good answer, if a question did, and all from then on."""
    kinds = [one.what for one in own]
    good = kinds.index(What.GOOD) if What.GOOD in kinds else len(own)
    seen = min((at for at, what in enumerate(kinds) if what in _BEGINS), default=len(own))
    parts = [Story(server, tuple(own[seen:good]), from_good=False)]
    parts.append(Story(server, tuple(own[good:]), from_good=True))
    return [part for part in parts if part.moments]


_BEGINS = (What.ASKED, What.FAILED)
