"""What options say of the place: dial plans of all devices, or of one."""

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.premises import NO_PLAN, Premises
from probetest.commands.place import of_devices, premises

PLANS = Path(__file__).parents[2] / "fixtures" / "dialplans"
US, GB = str(PLANS / "us-650.toml"), str(PLANS / "gb-london.toml")


@pytest.mark.parametrize(
    ("plans", "names"),
    [
        ((), ("no-plan", "no-plan")),
        ((US,), ("us-650", "us-650")),
        ((f"b={GB}",), ("no-plan", "gb-london")),
        ((f"b={GB}", US), ("us-650", "gb-london")),
        ((f"a={US}", f"b={GB}"), ("us-650", "gb-london")),
    ],
)
def test_a_device_has_its_own_plan(plans: tuple[str, ...], names: tuple[str, str]) -> None:
    """What names a device counts for it alone, whatever the order; short codes are then apart."""
    found = of_devices(Premises(), plans, ["a", "b"])

    assert (found["a"].plan.name, found["b"].plan.name) == names


@pytest.mark.parametrize("plans", [(f"c={US}",), (US, GB), (f"a={US}", f"a={GB}"), ("a=none",)])
def test_a_plan_of_nobody_is_refused(plans: tuple[str, ...]) -> None:
    """An unknown device, two plans of one, no file: a mistake, and named."""
    with pytest.raises(InputError, match=r"--dial-plan|none: cannot be read"):
        of_devices(Premises(), plans, ["a", "b"])


def test_options_come_together() -> None:
    """Networks of one's own, and trusted ones; without any all is as unknown as before."""
    found = premises(None, None, ["192.0.2.0/24"], ["198.51.100.0/24"])

    assert found.plan is NO_PLAN
    assert [str(one) for one in (*found.inside, *found.trusted)] == [
        "192.0.2.0/24",
        "198.51.100.0/24",
    ]
    assert premises(None, None) == Premises()
