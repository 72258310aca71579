"""A child is ended before the reserve is used, and not because a look came late."""

from pathlib import Path

import pytest

from harness.clock import ManualClock
from hasync import durable
from hasync.database.watched import LOOK_S, Disk, Watch
from hasync.failure import Exit, Stop

MIB = 1 << 20
RESERVE = 1000 * MIB
LOOK_NS = round(LOOK_S * 1e9)


def looked(monkeypatch: pytest.MonkeyPatch, looks: list[tuple[float, float]]) -> Stop | None:
    """Return how a watch ends whose *looks* come after so many of its own steps, with MiB spare."""
    clock = ManualClock(10**18)
    watch = Watch(Disk(Path("/"), RESERVE), clock, clock.monotonic_ns() + 10**15)
    before = None
    for steps, spare in looks:
        clock.advance(round(steps * LOOK_NS))
        free = RESERVE + round(spare * MIB)
        monkeypatch.setattr(durable, "free_bytes", lambda _, free=free: free)
        try:
            before = watch._look(before)  # noqa: SLF001 - its one decision
        except Stop as stop:
            return stop
    return None


def test_a_late_look_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds without a look, 1 GiB written, 900 MiB left: it lasts for many looks more."""
    assert looked(monkeypatch, [(1, 1924), (100, 900), (100, 500), (1, 496)]) is None


def test_a_burst_between_two_early_looks_is_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that speaks wakes us at once: what was written in a thousandth is not the rate."""
    assert looked(monkeypatch, [(1, 100), (0.001, 92), (0.001, 92), (1, 92)]) is None


@pytest.mark.parametrize(
    "looks",
    [
        [(1, 40), (1, 30), (1, 19)],
        [
            (1, 40),
            (0.3, 37),
            (0.3, 34),
            (0.3, 31),
            (0.3, 28),
            *((0.3, at) for at in (25, 22, 19, 16)),
        ],
        [(1, 40), (100, -1)],
    ],
    ids=["in time", "early looks", "late"],
)
def test_it_stops_before_the_reserve_or_as_soon_as_it_is_seen(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[float, float]]
) -> None:
    """Ten MiB a look and less than two looks' worth left; or a look too late to foresee it."""
    stop = looked(monkeypatch, looks)

    assert stop is not None
    assert stop.code is Exit.NO_SPACE
