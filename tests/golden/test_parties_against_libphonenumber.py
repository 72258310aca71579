"""Where libphonenumber reads a number rightly we agree with it, and where it does not we do not.

The inputs are those that a SIP tap meets; what the library makes of each was measured with version
9.0.43, and is in the table to show why it is not asked to parse.
"""

import tomllib
from pathlib import Path

import phonenumbers
import pytest

from harness.dialplan import DialPlan
from harness.party import Global

FIXTURES = Path(__file__).parents[2] / "fixtures"
PLANS = {
    path.stem: DialPlan.from_table(tomllib.loads(path.read_text()), file=path.name)
    for path in sorted((FIXTURES / "dialplans").glob("*.toml"))
}
REGIONS = {"dk": "DK", "fr": "FR", "gb-london": "GB", "it": "IT", "us-650": "US"}
BARE = DialPlan("bare", "1", ("011",), "1")  # a North American place without an area code


@pytest.mark.parametrize(
    ("plan", "user"),
    [
        ("us-650", "+16505550112"),
        ("us-650", "(650) 555-0112"),
        ("us-650", "1-650-555-0112"),
        ("us-650", "011442079460123"),
        ("us-650", "+442079460123"),
        ("us-650", "+1 212 555 0142"),
        ("gb-london", "02079460123"),
        ("gb-london", "020 7946 0123"),
        ("gb-london", "0016505550112"),
        ("fr", "0123456789"),
        ("fr", "0016505550112"),
        ("it", "0612345678"),
        ("it", "06 1234 5678"),
        ("dk", "0097239287044"),
    ],
)
def test_plain_numbers_are_read_alike(plan: str, user: str) -> None:
    """Global, national and international numbers, with separators and without."""
    theirs = phonenumbers.parse(user, REGIONS[plan])
    form = phonenumbers.format_number(theirs, phonenumbers.PhoneNumberFormat.E164)

    assert PLANS[plan].reading(user, kind="user").text == form


@pytest.mark.parametrize(
    ("plan", "uri", "ours", "rule"),
    [  # what libphonenumber makes of it
        ("dk", "sip:97239287044@h", "+97239287044", "e164, plus left out"),  # +4597239287044
        ("dk", "sip:voi18062@h", "voi18062", "opaque: letters"),  # +4518062
        ("fr", "sip:1001@h", "1001@fr", "short number"),  # +331001
        ("fr", "sip:112@h", "112@fr", "emergency"),  # +33112
        ("us-650", "sip:911@h", "911@us-650", "emergency"),  # +1911
        ("bare", "sip:5551234@h", "5551234@bare", "local only"),  # possible, and not valid
        ("us-650", "tel:+1-800-555-0123;rn=+1-202-555-0134;npdi=yes", "+18005550123", "e164 plus"),
        (
            "us-650",
            "tel:7042;phone-context=example.com",
            "7042@example.com",
            "phone-context, local",
        ),
        ("fr", "sip:%2B33123456789@h", "+33123456789", "e164 plus"),  # no number at all
        ("fr", "sip:*31#0123456789@h", "+33123456789", "service code *31#, national"),  # none
        ("us-650", "sip:1-800-FLOWERS@h", "1-800-FLOWERS", "opaque: letters"),  # +18003569377
        ("us-650", "sip:0033123456789@h", "0033123456789", "opaque: no rule of the plan fits"),
        ("us-650", "tel:+358-555-1234567;isub=1411", "+3585551234567", "e164 plus"),
        ("us-650", "sip:+18121550112@h", "+18121550112", "e164 plus"),  # not valid: nobody's
    ],
)
def test_what_it_would_misread_is_read(plan: str, uri: str, ours: str, rule: str) -> None:
    """Letters, escapes, short codes, contexts, parameters, service codes, a plus left out."""
    found = (BARE if plan == "bare" else PLANS[plan]).reading(uri, kind="uri")

    assert (found.text, found.rule) == (ours, rule)


def test_no_plan_makes_a_number_that_cannot_be() -> None:
    """What is global by a plan is possible by the library too."""
    for plan in PLANS.values():
        for user in ("0612345678", "2079460123", "5550123", "12125550142", "97239287044"):
            found = plan.reading(user, kind="user").party
            if isinstance(found, Global):
                theirs = phonenumbers.parse(found.text, None)
                assert phonenumbers.is_possible_number(theirs)
