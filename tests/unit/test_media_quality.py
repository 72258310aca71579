"""MOS by G.107: published values, what it assumes, and what it does not claim."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probetest.media.mos import PLAIN_G711, burst_ratio, impairment, mos, quality, r_factor


@pytest.mark.parametrize(
    ("codec", "loss_percent", "delay_ms", "r", "score"),
    [("PCMU", 1, 50, 88.36, 4.297), ("G729", 2, 100, 71.80, 3.680), ("PCMA", 0, 0, 93.2, 4.409)],
)
def test_r_and_mos_are_those_of_the_recommendation(
    codec: str, loss_percent: float, delay_ms: float, r: float, score: float
) -> None:
    """Values worked out from the formulas of G.107 and the factors of G.113."""
    factors = impairment(codec)
    assert factors is not None
    found = r_factor(factors, loss_percent=loss_percent, delay_ms=delay_ms)

    assert (round(found, 2), round(mos(found), 3)) == (r, score)


def test_without_concealment_one_percent_costs_much() -> None:
    """G.711 without it: R 74.08 at 1 % and 50 ms."""
    found = r_factor(PLAIN_G711, loss_percent=1, delay_ms=50)

    assert (round(found, 2), round(mos(found), 3)) == (74.08, 3.782)


@given(st.floats(-50, 150), st.floats(-50, 150))
def test_mos_never_falls_where_r_rises(one: float, other: float) -> None:
    """The formula of G.107 does so below R = 6.5; the score does not, and stays in 1 to 4.5."""
    low, high = sorted((one, other))

    assert 1 <= mos(low) <= mos(high) <= 4.5


def test_loss_in_bursts_is_worse() -> None:
    """Ten lost in one run, against ten alone."""
    alone, together = (quality("PCMA", expected=1000, missing=10, runs=n).mos for n in (10, 1))

    assert alone is not None
    assert together is not None
    assert together < alone


def test_random_loss_has_a_burst_ratio_of_1() -> None:
    """Runs of random loss are 1 / (1 - p) long; shorter ones count as random."""
    assert burst_ratio(100, 80, 0.2) == pytest.approx(1.0)
    assert burst_ratio(10, 10, 0.01) == 1.0
    assert burst_ratio(0, 0, 0.0) == 1.0


def test_what_is_assumed_is_told() -> None:
    """Codec, concealment and delay; and that there is no figure for a codec that G.113 lacks."""
    assert quality("PCMA", expected=10, missing=0, runs=0, delay_ms=80).rule == (
        "G.107: G.711 with loss concealment, burst ratio 1.00, 80 ms one way assumed"
    )
    assert quality("opus", expected=10, missing=0, runs=0).mos is None
    assert quality("PCMA", expected=0, missing=0, runs=0).rule == "no MOS: no packets"
