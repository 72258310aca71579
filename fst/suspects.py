"""Which boxes a later change of a host makes suspect: what they say may hold no longer.

A change that the run made itself, by a planned stop of a service, restarts that host's processes
and makes nothing suspect.
"""

from collections.abc import Sequence

from fst.boxes import Attempt, Boxes, Facts, Key

MAX_CLOCK_OFFSET_MS = 1000.0  # beyond it, packets of two machines can't be told in order
PROCESS = "process."  # names of facts that a planned stop changes; values are "pid@start"
START_TOLERANCE_S = 2  # of ps: the boot time and the start are both rounded
SYSTEM, LAB = "system", "lab"  # a target, and the place of debts for a lab's own hosts


def suspect(
    boxes: Boxes,
    facts: Sequence[Facts],
    *,
    max_clock_offset_ms: float = MAX_CLOCK_OFFSET_MS,
) -> dict[Key, str]:
    """Return the boxes with a verdict that *facts* make suspect, each with the reason."""
    found: dict[Key, str] = {}
    hosts = {fact.target: [one for one in facts if one.target == fact.target] for fact in facts}
    for key in boxes.attempts:
        latest = boxes.latest(key)
        if latest is None or latest.verdict is None:
            continue
        for host, known in hosts.items():
            if not _concerns(host, key[1]):
                continue
            stops = [seq for seq, target in boxes.stops if target in {host, LAB}]
            why = _change(latest, known, stops, max_clock_offset_ms)
            if why:
                found[key] = f"{host}: {why}"
                break
    return found


def _concerns(host: str, target: str) -> bool:
    return target in {host, SYSTEM} or host.startswith(f"{target}/")


def _change(
    attempt: Attempt, facts: Sequence[Facts], stops: Sequence[int], max_offset_ms: float
) -> str:
    """Return what is not as it was at the attempt, or ""."""
    before, now = _baseline(attempt, facts), facts[-1]
    if before is None or before is now:
        return ""
    planned = any(before.seq < seq < now.seq for seq in stops)
    for name, was in before.values.items():
        if name.startswith(PROCESS) and planned:
            continue
        if name in now.values and not _same(name, was, now.values[name]):
            return f"{name} was {was} and is {now.values[name]}"
    if _is_off(now, max_offset_ms) and not _is_off(before, max_offset_ms):
        return f"its clock is {now.clock_offset_ms:g} ms off"
    return ""


def _same(name: str, was: str, now: str) -> bool:
    """Say whether a fact is as it was; the start of a process is known to a few seconds."""
    if was == now or not name.startswith(PROCESS):
        return was == now
    (pid, _, began), (pid_now, _, began_now) = was.partition("@"), now.partition("@")
    known = began.isdecimal() and began_now.isdecimal()
    return known and pid == pid_now and abs(int(began) - int(began_now)) <= START_TOLERANCE_S


def _baseline(attempt: Attempt, facts: Sequence[Facts]) -> Facts | None:
    """Return the first facts taken within the attempt, or else the last before it."""
    end = attempt.ended.seq if attempt.ended else attempt.started.seq
    earlier = [one for one in facts if one.seq <= end]
    within = [one for one in earlier if one.seq >= attempt.started.seq]
    return within[0] if within else earlier[-1] if earlier else None


def _is_off(facts: Facts, max_offset_ms: float) -> bool:
    return facts.clock_offset_ms is not None and abs(facts.clock_offset_ms) > max_offset_ms
