"""Each mutant of the simulated SBC is found by the rule that it breaks, from its packets alone.

CI takes every third of them; ENUM_SOAK=1 takes them all, ENUM_SEED=1 and 2 the other thirds.
"""

import os
from pathlib import Path

import pytest

from enumtest.judge.ruling import Vantage
from enumtest.profiles.profile_file import shipped_names, shipped_profile
from enumtest.profiles.profiles import Profile
from tests.judge_bench import failed, judged, wired_to
from tests.judge_traffic import drill
from tests.sbc_defects import SOUND
from tests.sbc_mutants import MADE, MUTANTS, SERVFAIL_COUNTS, WEIGHTED
from tests.sbc_mutants_blind import DECLARED, WITH_SOURCE
from tests.sbc_mutants_sip import SIP_MUTANTS, SipMutant
from tests.sbc_mutants_table import row_of

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
SOAK, SEED = bool(os.environ.get("ENUM_SOAK")), int(os.environ.get("ENUM_SEED", "0"))
TAKEN = list(BY_NAME) if SOAK else list(BY_NAME)[SEED % 3 :: 3]
SHIPPED = [shipped_profile(name) for name in shipped_names()]


@pytest.mark.parametrize("name", TAKEN)
def test_mutant_is_caught_by_the_rule_that_it_breaks(name: str) -> None:
    """At the SBC and at the servers; what is not found is listed, and nothing else is."""
    assert row_of(BY_NAME[name]).missed == BY_NAME[name].missed


@pytest.mark.parametrize("vantage", Vantage)
@pytest.mark.parametrize(
    "profile", [*SHIPPED, DECLARED, WITH_SOURCE, SERVFAIL_COUNTS, WEIGHTED], ids=str
)
def test_sound_sbc_fails_nothing_in_the_drill(profile: Profile, vantage: Vantage) -> None:
    """The control: what is found in a mutant is the mutant's."""
    wire = wired_to(SOUND, drill(profile))

    assert failed(judged(wire, profile, vantage)) == ()


def test_there_are_enough_mutants_and_each_has_its_words() -> None:
    """The blind ones were written before the judge was read."""
    assert len([mutant for mutant in MUTANTS if mutant.blind]) >= 14
    assert len(MUTANTS) >= 36
    assert sorted(MADE) == sorted(BY_NAME)


@pytest.mark.parametrize("mutant", SIP_MUTANTS, ids=[one.name for one in SIP_MUTANTS])
def test_what_shows_in_sip_only_never_passes_its_case(mutant: SipMutant) -> None:
    """FAIL, or OTHER where the packets leave an excuse; with frames."""
    found = mutant.found()

    assert (found.outcome, found.frames != ()) == (mutant.outcome, True)


def test_page_lists_every_mutant() -> None:
    """`tools/make-mutant-table` writes it."""
    page = (Path(__file__).parents[2] / "docs/mutant-table.md").read_text("utf-8")
    names = [*BY_NAME, *(mutant.name for mutant in SIP_MUTANTS)]

    assert [name for name in names if f"| {name} |" not in page] == []
