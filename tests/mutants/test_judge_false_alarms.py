"""A sound SBC never fails: random days through a network that loses, doubles and reorders.

CI takes a part of the 200 days of each profile; ENUM_SOAK=1 takes them all, ENUM_SEED=7 others.
"""

import os

import pytest

from enumtest.judge.ruling import Vantage
from enumtest.profiles.profile_file import shipped_names, shipped_profile
from tests.judge_bench import failed, judged
from tests.judge_days import day

DAYS, SAMPLE, AT_ONCE = 200, 16, 4
SOAK = bool(os.environ.get("ENUM_SOAK"))
SEED = int(os.environ.get("ENUM_SEED", "0"))
TAKEN = range(DAYS) if SOAK else [(SEED * SAMPLE + at) % DAYS for at in range(SAMPLE)]
CASES = [
    (name, tuple(TAKEN[at : at + AT_ONCE]))
    for name in shipped_names()
    for at in range(0, len(TAKEN), AT_ONCE)
] + [("oracle-round-robin", (163,))]  # one id a call, another port a send: was taken for new ids


@pytest.mark.parametrize(
    ("name", "seeds"), CASES, ids=[f"{name}-{seeds[0]}" for name, seeds in CASES]
)
def test_sound_sbc_never_fails(name: str, seeds: tuple[int, ...]) -> None:
    """Whatever the network did, and in whatever way it does what its profile leaves open."""
    profile = shipped_profile(name)
    alarms = []
    for seed in seeds:
        made = day(profile, seed)
        wire = made.lived()
        for vantage in Vantage:
            found = failed(judged(wire, profile, vantage, clocks_told=made.clocks_told))
            alarms += [(seed, vantage.value, one.rule, one.observed) for one in found]

    assert alarms == []


@pytest.mark.parametrize("name", shipped_names())
def test_days_are_the_same_each_time(name: str) -> None:
    """A false alarm can be had again from its seed."""
    first, second = (day(shipped_profile(name), 3).lived() for _ in range(2))

    for vantage in Vantage:
        data = [[one.data.tobytes() for one in run.captures(vantage)] for run in (first, second)]
        assert data[0] == data[1]
