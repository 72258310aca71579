"""Which boxes a later change of a host makes suspect: what they say may hold no longer.

A change that the run made itself, by a planned stop of a service, restarts that host's processes
and makes nothing suspect.
"""

from collections.abc import Iterable, Sequence

from fst.boxes import Attempt, Boxes, Facts, Key

MAX_CLOCK_OFFSET_MS = 1000.0  # beyond it, packets of two machines can't be told in order
PROCESS = "process."  # names of facts that a planned stop changes; values are "pid@start"
START_TOLERANCE_S = 2  # of ps: the boot time and the start are both rounded
Known = tuple[str, int]  # the value of a fact, and the event that told it
SYSTEM, LAB = "system", "lab"  # a target, and the place of debts for a lab's own hosts


def suspect(
    boxes: Boxes,
    facts: Sequence[Facts],
    *,
    max_clock_offset_ms: float = MAX_CLOCK_OFFSET_MS,
) -> dict[Key, str]:
    """Return the boxes with a verdict that *facts* make suspect, each with the reason."""
    found: dict[Key, str] = {}
    hosts: dict[str, list[Facts]] = {}
    for fact in facts:
        hosts.setdefault(fact.target, []).append(fact)
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
    """Return what is not as it was at the attempt, or "".

    Each fact is compared by itself: one look at a host tells its processes, another its settings.
    """
    earlier, now = _as_at(attempt, facts), _newest(facts)
    for name, (was, seq) in _newest(earlier).items():
        value, now_seq = now[name]
        planned = any(seq < stop < now_seq for stop in stops)
        if not (name.startswith(PROCESS) and planned) and not _same(name, was, value):
            return f"{name} was {was} and is {value}"
    offset_ms = _offset_ms(facts)
    was_off = _is_off(_offset_ms(earlier), max_offset_ms)
    if earlier and _is_off(offset_ms, max_offset_ms) and not was_off:
        return f"its clock is {offset_ms:g} ms off"
    return ""


def _same(name: str, was: str, now: str) -> bool:
    """Say whether a fact is as it was; the start of a process is known to a few seconds."""
    if was == now or not name.startswith(PROCESS):
        return was == now
    (pid, _, began), (pid_now, _, began_now) = was.partition("@"), now.partition("@")
    known = began.isdecimal() and began_now.isdecimal()
    return known and pid == pid_now and abs(int(began) - int(began_now)) <= START_TOLERANCE_S


def _as_at(attempt: Attempt, facts: Sequence[Facts]) -> list[Facts]:
    """Return what tells how a host was at the attempt, in the order in which it counts, rising.

    What was told first within the attempt counts most; then what was told last before it.
    """
    end = attempt.ended.seq if attempt.ended else attempt.started.seq
    before = [one for one in facts if one.seq < attempt.started.seq]
    within = [one for one in facts if attempt.started.seq <= one.seq <= end]
    return [*before, *reversed(within)]


def _newest(facts: Iterable[Facts]) -> dict[str, Known]:
    """Return the last value of each fact, and the event that told it."""
    return {name: (value, one.seq) for one in facts for name, value in one.values.items()}


def _offset_ms(facts: Iterable[Facts]) -> float | None:
    """Return by how much the clock was off when that was told last; None: it never was."""
    known = [one.clock_offset_ms for one in facts if one.clock_offset_ms is not None]
    return known[-1] if known else None


def _is_off(offset_ms: float | None, max_offset_ms: float) -> bool:
    return offset_ms is not None and abs(offset_ms) > max_offset_ms
