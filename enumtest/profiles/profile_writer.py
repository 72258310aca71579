"""What was inferred of an SBC as a profile, which a judge accepts and the simulated SBC runs.

Laws: a value that was seen has the frames and the interval as its source; every other one is listed
as unknown, and is then that of the nearest profile that fits what was seen; no profile is written
that no SBC could follow.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from enumtest.dns.source_uri import Framing
from enumtest.infer.inference import Inference
from enumtest.infer.inferred import Inferred, base, interval_s
from enumtest.profiles.profile_file import encode_profile, shipped_profile
from enumtest.profiles.profile_groups import (
    AllDown,
    Event,
    HoldDown,
    IdScope,
    Reaction,
    Readmission,
    ReadmitBy,
    Retransmission,
    Selection,
    SelectionRules,
    Share,
    Stage,
    Then,
)
from enumtest.profiles.profiles import Profile

BASE = "fixed-hold-down"
PLAN_HOLD_DOWN_NS = 30_000_000_000
MAX_NAME = 40
SHOWN = 4  # frames in a source


def profile_of(found: Inference, *, name: str = "inferred") -> Profile:
    """Return the profile that *found* amounts to."""
    base, values = shipped_profile(BASE), _Values(found)
    hold_down = _hold_down(base.hold_down, values)
    bare = replace(
        base,
        name=_name(name),
        title=f"inferred from the packets of {found.client}",
        selection=_selection(base.selection, values, hold_down),
        retransmission=_retransmission(base.retransmission, values),
        reactions=_reactions(base.reactions, values),
        hold_down=hold_down,
        readmission=_readmission(base.readmission, values),
        all_down=values.of("all_down", AllDown.FAIL_OPEN),
        cache=replace(base.cache, negative_ns=values.of("cache.negative_ns", 0)),
        edns=replace(
            base.edns,
            udp_payload_bytes=values.of("edns.udp_payload_bytes", 0),
            source_sent=values.of("edns.source_sent", default=False),
            source_code=values.of("edns.source_code", base.edns.source_code),
            source_framing=values.of("edns.source_framing", Framing.RAW),
        ),
        source=dict.fromkeys({one.path.split(".")[0] for one in base.fields()}, "inferred"),
        unknown=frozenset(),
    )
    return _sourced(bare, found)


def write_profile(found: Inference, *, name: str = "inferred") -> str:
    """Return the file of `profile_of`."""
    files = ", ".join(map(base, found.captures))
    head = [
        f"# Inferred from {files}: {found.calls} calls of {found.client}.",
        f"# Servers, in this order: {', '.join(found.servers)}.",
        '# What is listed in "unknown" was not seen; its values are only the nearest that fit.',
    ]
    return "\n".join([*head, encode_profile(profile_of(found, name=name))])


class _Values:
    """Values by their paths, with those of the base where nothing was seen."""

    def __init__(self, found: Inference) -> None:
        self._by_path: Mapping[str, Inferred] = found.by_path

    def of(self, path: str, default: Any) -> Any:  # noqa: ANN401 - as the profile has it
        one = self._by_path.get(path)
        if one is None:
            return default
        found = one.beside if one.value is None else one.value
        return default if found is None else found

    def known(self, path: str) -> bool:
        one = self._by_path.get(path)
        return one is not None and one.known

    def has(self, path: str) -> bool:
        return path in self._by_path


def _selection(base: SelectionRules, values: _Values, hold_down: HoldDown) -> SelectionRules:
    method = values.of("selection.method", base.method)
    if method is Selection.LIST_ORDER and hold_down.stages:
        method = Selection.HUNT
    first_live = any(stage.share is Share.FIRST_LIVE for stage in hold_down.stages)
    skipped = values.of("selection.skipped_takes_turn", base.skipped_takes_turn)
    return SelectionRules(
        method,
        values.of("selection.failover_takes_turn", base.failover_takes_turn),
        skipped or first_live,
        values.of("selection.weights", ()) if method is Selection.PROPORTIONAL else (),
        values.of("selection.rounds", 1),
    )


def _retransmission(base: Retransmission, values: _Values) -> Retransmission:
    times_ns: tuple[int, ...] = values.of("retransmission.schedule_ns", base.schedule_ns)
    expire_ns = values.of("retransmission.expire_ns", max(base.expire_ns, 2 * times_ns[-1]))
    return Retransmission(
        tuple(at_ns for at_ns in times_ns if at_ns < expire_ns),
        expire_ns,
        values.of("retransmission.id_per", IdScope.SERVER),
        values.of("retransmission.port_per", IdScope.ALWAYS),
    )


def _reactions(base: Mapping[Event, Reaction], values: _Values) -> dict[Event, Reaction]:
    found = {}
    for event in Event:
        path = f"reactions.{event}"
        then = values.of(f"{path}.then", base[event].then)
        counts = values.of(f"{path}.counts", base[event].counts)
        found[event] = Reaction(then, counts=counts and then is not Then.IGNORE)
    return found


def _hold_down(base: HoldDown, values: _Values) -> HoldDown:
    stages = []
    at = 0
    while values.has(f"hold_down.stages.{at}.failures"):
        stages.append(_stage(f"hold_down.stages.{at}", values))
        at += 1
    if not stages and values.of("hold_down.stages", None) is None:
        stages = [Stage(1, False, 0, PLAN_HOLD_DOWN_NS, Share.NEXT)]
    for place in range(1, len(stages)):
        least = stages[place - 1].failures + 1
        if stages[place].failures < least:
            stages[place] = replace(stages[place], failures=least)
    own = {
        name: values.of(f"hold_down.{name}", getattr(base, name))
        for name in ("answer_ends", "late_answer_ends", "end_resets", "runs_while_idle",
                     "in_flight")
    }  # fmt: skip
    return replace(base, stages=tuple(stages), **own)


def _stage(path: str, values: _Values) -> Stage:
    by_probes = values.of("readmission.by", ReadmitBy.TIME) is ReadmitBy.PROBES
    length_ns = values.of(f"{path}.length_ns", PLAN_HOLD_DOWN_NS)
    return Stage(
        values.of(f"{path}.failures", 1),
        values.of(f"{path}.consecutive", default=False),
        values.of(f"{path}.window_ns", 0),
        0 if by_probes else length_ns,
        values.of(f"{path}.share", Share.NEXT),
    )


def _readmission(base: Readmission, values: _Values) -> Readmission:
    if values.of("readmission.by", ReadmitBy.TIME) is ReadmitBy.TIME:
        return base
    return Readmission(
        ReadmitBy.PROBES,
        max(1, values.of("readmission.replies", 1)),
        values.of("readmission.interval_ns", 0),
        0,
        values.of("readmission.probe_name", ""),
        values.of("readmission.probe_type", "NAPTR") or "NAPTR",
    )


def _sourced(bare: Profile, found: Inference) -> Profile:
    """Return *bare* with a source for each value that was seen; the others are unknown."""
    known = {one.path: one for one in found.values if one.known}
    source: dict[str, str] = {}
    unknown: set[str] = set()
    for path, value in bare.leaves():
        one = known.get(path)
        if one is not None and _same(one.value, value):
            source[path] = _source(one, found)
        elif not path.startswith("naptr.") or value is not None:
            unknown.add(path)
    return replace(bare, source=source, unknown=frozenset(unknown))


def _same(one: object, two: object) -> bool:
    return one == two


def _source(one: Inferred, found: Inference) -> str:
    """Return where the value was seen, and its interval."""
    files = list(dict.fromkeys(cite.capture for cite in one.cites)) or list(found.captures)
    parts = []
    for file in files:
        frames = [str(cite.frame) for cite in one.cites if cite.capture == file]
        more = ", …" if len(frames) > SHOWN else ""
        frames_text = f" frames {', '.join(frames[:SHOWN])}{more}" if frames else ""
        parts.append(f"{base(file) or 'the capture'}{frames_text}")
    text = f"inferred from {'; '.join(parts)}"
    if one.is_time and one.high is not None:
        return f"{text}: {interval_s(one.low, one.high)}"
    return f"{text}: {one.seen}"


def _name(text: str) -> str:
    """Return *text* as a profile may be called."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MAX_NAME].strip("-")
    return plain or "inferred"
