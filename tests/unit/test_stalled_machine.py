"""A machine that stalls wakes a timer late: how late is still as declared, for every rule alike."""

import pytest

from enumtest.checks.hold_down import Group
from enumtest.checks.routing import timeouts, waits_longer
from harness.finding import Outcome
from tests.enum_wire import MS, NAMES, SECOND, lookup

FIRST = frozenset({"enum1"})


@pytest.mark.parametrize(
    ("timeout_ms", "waited_ms", "late"),
    [
        (200, 200, False),
        (200, 349, False),  # a fifth would be 40 ms: less than any busy machine is late
        (200, 351, True),
        (2000, 2399, False),  # a fifth of it
        (2000, 2401, True),
    ],
)
def test_sends_are_doubted_only_where_the_time_out_does_not_hold(
    timeout_ms: int, waited_ms: int, late: bool
) -> None:
    """What passes as the declared time-out leaves no doubt about which call a question is of."""
    group = Group(NAMES[:3], timeout_ms * MS, 30 * SECOND, 2 * SECOND)
    asked = lookup((0, "enum1", None), (waited_ms / 1000, "enum2", waited_ms / 1000 + 0.01))
    (found,) = timeouts([asked], group, FIRST)

    assert found.outcome is (Outcome.OTHER if late else Outcome.PASS)
    assert waits_longer([asked], group, FIRST) is late
