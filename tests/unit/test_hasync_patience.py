"""How long a failing peer is tried again."""

import pytest

from hasync.peer.patience import Patience

SECOND_NS = 10**9


def run_of(attempts_s: list[float], stall_s: float = 60.0) -> tuple[int, float]:
    """Return how many attempts there are, and the seconds till the end; the last one repeats."""
    patience, now_ns, count = Patience(0), 0, 0
    while True:
        begun_ns = now_ns
        now_ns += round(attempts_s[min(count, len(attempts_s) - 1)] * SECOND_NS)
        count += 1
        patience = patience.after(begun_ns, now_ns, stall_s)
        if patience.is_over(now_ns):
            return count, now_ns / SECOND_NS
        now_ns += round(patience.wait_s * SECOND_NS)


@pytest.mark.parametrize(
    "attempts_s",
    [[0.1], [15.0], [60.0, 15.0], [60.0], [3.0]],
    ids=["refused", "no answer", "stalled, then no answer", "stalling", "no route"],
)
def test_peer_without_progress_is_given_up_within_three_minutes(attempts_s: list[float]) -> None:
    """Whatever way it fails, it costs less than 3 minutes (F13), and more than one try."""
    count, seconds = run_of(attempts_s)

    assert seconds <= 180
    assert count >= 2


def test_link_that_is_up_after_a_minute_is_met() -> None:
    """A peer that refuses for a minute is still being tried after it (F11)."""
    _, seconds = run_of([0.1])

    assert seconds > 75


def test_progress_starts_the_patience_anew() -> None:
    """A link that drops once an hour is no reason to give up (H33)."""
    _, seconds = run_of([3600.0, 0.1, 3600.0, 3600.0, 0.1])

    assert seconds > 3 * 3600
