"""What is read of a site file for an analysis, and what is refused."""

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.premises import Premises

FIXTURES = Path(__file__).parents[2] / "fixtures"
SITE = (FIXTURES / "sites" / "loopback.toml").read_text()
PLAN = '[dial_plan]\nname = "x"\ncountry_code = "1"\n'


def test_a_site_gives_plan_and_own_numbers() -> None:
    """The test numbers but not the callers', and the destinations."""
    found = Premises.from_site(SITE)

    assert found.plan.name == "nanp"
    assert "+12125550120" in found.numbers
    assert "+12125550151" in found.numbers
    assert "+16505550100" not in found.numbers


def test_networks_come_from_the_site_and_from_the_command_line() -> None:
    """Both count; the command line adds."""
    text = PLAN + '[[sites]]\ninside = ["192.0.2.0/25", "2001:db8::/32"]\n'
    found = Premises.from_site(text).with_inside(["198.51.100.7"])

    assert [str(one) for one in found.inside] == [
        *("192.0.2.0/25", "2001:db8::/32", "198.51.100.7/32"),
    ]


def test_whom_to_trust_comes_from_the_site_and_from_the_command_line() -> None:
    """Without any everybody is trusted."""
    text = PLAN + '[[sites]]\ntrusted = ["192.0.2.0/25"]\n'
    found = Premises.from_site(text).with_trusted(["198.51.100.7"])

    assert [str(one) for one in found.trusted] == ["192.0.2.0/25", "198.51.100.7/32"]
    assert Premises.from_site(SITE).trusted == ()


def test_a_dial_plan_can_be_given_alone() -> None:
    """It replaces that of the site."""
    text = (FIXTURES / "dialplans" / "fr.toml").read_text()

    assert Premises.from_site(SITE).with_plan(text).plan.country_code == "33"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("= 1", "not TOML"),
        ("name = 'x'", "dial_plan"),
        (PLAN + "sites = [1]", "dial_plan"),
        (PLAN + '[[sites]]\ninside = "192.0.2.0/24"', "sites.0.inside"),
        (PLAN + '[[sites]]\ninside = ["192.0.2.1/24"]', "sites.0.inside"),
        (PLAN + "[[sites]]\ntrusted = [7]", "sites.0.trusted"),
        (PLAN + '[[sites]]\n[sites.numbers]\nplain = ["12"]', ""),
        (PLAN + '[[sites]]\n[sites.numbers]\nplain = ["x"]', "sites.0.numbers.plain"),
        (PLAN + "[[sites]]\n[sites.numbers]\nplain = [7]", "sites.0.numbers.plain"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, named: str) -> None:
    """File, field and value are in the message; a short number is a number."""
    if not named:
        assert Premises.from_site(text).numbers == ("+12",)
        return
    with pytest.raises(InputError, match=named):
        Premises.from_site(text, file="site.toml")
