"""What both sites of a real pair say of themselves is what the functional test judges by."""

from collections.abc import Mapping

import pytest

from fst.baseline import judge_host
from fst.ea_profile import profile
from fst.host_history import NS
from fst.roles import default_roles
from harness.finding import Outcome, worst
from tests.fake_hosts import fake_hosts, record
from tests.fault.standby_pair import Pair

pytestmark = pytest.mark.lab

HASYNC = profile("hasync")
Verdicts = Mapping[str, Outcome]


def verdicts(pair: Pair, step: str) -> Verdicts:
    """Return the verdicts of both database servers' boxes."""
    hosts = fake_hosts(HASYNC)
    for target, site in (("site1/db", pair.a), ("site2/db", pair.b)):
        told = pair.hasync(site, "status", "--json")
        assert told.code == 0, told.err
        hosts[target].status = told.out.encode()
    seen = record(hosts=hosts, rounds=2, profile=HASYNC, sync_every_ns=NS // 4)
    return {
        target: worst(
            one.outcome for one in judge_host(step, seen, target, default_roles(), HASYNC).findings
        )
        for target in ("site1/db", "site2/db")
    }


def test_a_day_of_a_real_pair_is_judged(pair: Pair) -> None:
    """Before the first day nothing passes; after it all does; a set not restored fails both."""
    first = verdicts(pair, "A.2.2")
    for result, site in zip(pair.both(), (pair.a, pair.b), strict=True):
        assert result.code == 0, pair.told(site, result)
    in_step, roles = verdicts(pair, "A.2.2"), verdicts(pair, "A.2.1")
    pair.scribble(pair.a, "a", 5)
    sent = pair.pgsync(pair.a)

    assert sent.code == 0, pair.told(pair.a, sent)
    assert set(first.values()) == {Outcome.FAIL}
    assert set(in_step.values()) == set(roles.values()) == {Outcome.PASS}
    assert set(verdicts(pair, "A.2.2").values()) == {Outcome.FAIL}
