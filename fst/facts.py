"""What a host was like at an attempt, as the fields of a `facts` event: see `fst.suspects`."""

import hashlib
from collections.abc import Mapping
from typing import Any

from fst.ea_profile import Profile, cat
from fst.host_history import HostHistory, snapshot
from fst.roles import RoleSpec
from harness.snapshot import HostSnapshot

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
        _fields(snapshot(look, spec, profile), spec, config, when)
        for look, when in zip(looks, ("start", "end"), strict=False)
    )


def _fields(
    seen: HostSnapshot, spec: RoleSpec, config: Mapping[str, str], when: str
) -> Mapping[str, Any]:
    values = dict(config)
    for process in spec.processes if seen.processes is not None else ():
        found = process.of(seen.processes or ())
        values[f"process.{process.name}"] = (
            f"{found[0].pid}@{found[0].start_s}" if found else "none"
        )
    offset_ms = None if seen.clock is None else round(seen.clock.offset_s * 1000, 3)
    return {"target": seen.host, "values": values, "clock_offset_ms": offset_ms, "when": when}
