"""What a host was like at an attempt, as the fields of a `facts` event: see `fst.suspects`."""

import hashlib
from collections.abc import Mapping
from typing import Any

from fst.ea_profile import Profile, cat
from fst.fact_book import END, START, Facts
from fst.host_history import HostHistory, Sample, snapshot
from fst.roles import RoleSpec

_CAT = cat("")[:-1]


def facts_of(
    history: HostHistory, target: str, spec: RoleSpec, profile: Profile
) -> tuple[Mapping[str, Any], ...]:
    """Return the fields of two events, for the first and the last look at a host; fewer if none.

    A fact that could not be read is left out: no change can be told by it.
    """
    samples = history.of(target)
    looks = samples[:1] + samples[-1:] if len(samples) > 1 else samples
    config = {
        f"config.{out.argv[-1]}": hashlib.sha256(out.stdout).hexdigest()
        for out in history.outputs(target)
        if out.argv[:-1] == _CAT and out.whole and out.exit_code == 0
    }
    return tuple(
        _fields(target, Facts(config) | facts_at(look, spec, profile), when)
        for look, when in zip(looks, (START, END), strict=False)
    )


def _fields(target: str, known: Facts, when: str) -> Mapping[str, Any]:
    told = {"values": dict(known.values), "clock_offset_ms": known.clock_offset_ms}
    return {"target": target, **told, "when": when}


def facts_at(look: Sample, spec: RoleSpec, profile: Profile) -> Facts:
    """Return what one look at a host says of it."""
    seen, values = snapshot(look, spec, profile), dict[str, str]()
    for process in spec.processes if seen.processes is not None else ():
        found = process.of(seen.processes or ())
        values[f"process.{process.name}"] = (
            f"{found[0].pid}@{found[0].start_s}" if found else "none"
        )
    offset_ms = None if seen.clock is None else round(seen.clock.offset_s * 1000, 3)
    return Facts(values, offset_ms)
