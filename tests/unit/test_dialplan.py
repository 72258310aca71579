"""Dial plans: who a text names, by which rule, and in which direction a call goes."""

import ipaddress
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.dialplan import (
    DialPlan,
    Global,
    Kind,
    Local,
    Opaque,
    Restricted,
    direction,
    is_inside,
    opaque,
)
from harness.errors import InputError
from harness.number import PhoneNumber
from harness.records import Direction

FOLDER = Path(__file__).parents[2] / "fixtures" / "dialplans"
PLANS = {
    path.stem: DialPlan.from_table(tomllib.loads(path.read_text()), file=path.name)
    for path in sorted(FOLDER.glob("*.toml"))
}
US = PLANS["us-650"]
OURS = ("+1650555",)


def test_every_fixture_names_itself() -> None:
    """A plan's file and name agree, so that "1001@us-650" leads to its file."""
    assert [plan.name for plan in PLANS.values()] == list(PLANS)


@pytest.mark.parametrize(
    ("plan", "text", "expected", "rule"),
    [
        ("us-650", "+1 (650) 555-0112", "+16505550112", "e164 plus"),
        ("us-650", "%2B16505550112", "+16505550112", "e164 plus"),
        ("us-650", "16505550112", "+16505550112", "national"),
        ("us-650", "6505550112", "+16505550112", "national, prefix left out"),
        ("us-650", "555-0123", "+16505550123", "local, area code 650"),
        ("us-650", "011442079460123", "+442079460123", "international-prefix 011"),
        ("us-650", "442079460123", "+442079460123", "e164, plus left out"),
        ("us-650", "0011442079460123", "0011442079460123", "opaque: more than 15 digits"),
        ("us-650", "1001", "+16505550112", "extension"),
        ("us-650", "1002", "1002@us-650", "extension"),
        ("us-650", "911", "911@us-650", "emergency"),
        ("us-650", "112", "112@us-650", "emergency"),
        ("us-650", "112;phone-context=+1", "112@us-650", "emergency"),
        ("us-650", "411", "411@us-650", "service code 411"),
        ("us-650", "*67", "*67@us-650", "service code *67"),
        (
            "us-650",
            "*67 650 555 0112",
            "+16505550112",
            "service code *67, national, prefix left out",
        ),
        ("us-650", "*67*67911", "*67*67911", "opaque: no rule of the plan fits"),
        ("us-650", "12345", "12345@us-650", "short number"),
        ("us-650", "1234567890", "1234567890", "opaque: no rule of the plan fits"),
        ("us-650", "1" * 16, "1" * 16, "opaque: more than 15 digits"),
        ("us-650", "+" + "1" * 16, "+" + "1" * 16, "opaque: no E.164 after the plus"),
        ("us-650", "7042;phone-context=Example.com", "7042@example.com", "phone-context, local"),
        ("us-650", "2079460123;phone-context=+44", "+442079460123", "phone-context +44"),
        (
            "us-650",
            "863-1234;phone-context=+1-914-555",
            "8631234@+1-914-555",
            "phone-context, local",
        ),
        ("us-650", "10.0.0.1", "10.0.0.1", "opaque: an IP address"),
        ("us-650", "1-800-FLOWERS", "1-800-FLOWERS", "opaque: letters"),
        ("us-650", "\u0661\u0662\u0663", "\u0661\u0662\u0663", "opaque: other characters"),
        ("us-650", "---", "---", "opaque: empty"),
        ("us-650", "null-%00-null", "null-%00-null", "opaque: letters"),
        ("us-650", "Anonymous", "restricted", "restricted"),
        ("dk", "voi18062", "voi18062", "opaque: letters"),
        ("dk", "97239287044", "+97239287044", "e164, plus left out"),
        ("dk", "0097239287044", "+97239287044", "international-prefix 00"),
        ("dk", "061963177-ikhuuep5bi123", "061963177-ikhuuep5bi123", "opaque: letters"),
        ("fr", "1001", "1001@fr", "short number"),
        ("fr", "112", "112@fr", "emergency"),
        ("fr", "*31#0123456789", "+33123456789", "service code *31#, national"),
        ("gb-london", "020 7946 0123", "+442079460123", "national"),
        ("gb-london", "7946 0123", "+442079460123", "local, area code 20"),
        ("gb-london", "2079460123", "+442079460123", "national, prefix left out"),
        ("gb-london", "00 1 650 555 0112", "+16505550112", "international-prefix 00"),
        ("it", "06 1234 5678", "+390612345678", "national"),
    ],
)
def test_reading_of_a_user_part(plan: str, text: str, expected: str, rule: str) -> None:
    """What was dialled under a plan is this party, by this rule."""
    found = PLANS[plan].reading(text, kind="user")

    assert (found.text, found.rule, found.raw) == (expected, rule, text)


@pytest.mark.parametrize(
    ("text", "expected", "rule"),
    [
        ("sip:+16505550112@192.0.2.1", "+16505550112", "e164 plus"),
        ('"A <1>" <sips:1002:pw@h;user=phone?x=y>;tag=1', "1002@us-650", "extension"),
        ("sip:+16505550112;npdi;rn=+12025550134@192.0.2.1", "+16505550112", "e164 plus"),
        ("tel:+1-650-555-0112;rn=+1-202-555-0134;npdi=yes", "+16505550112", "e164 plus"),
        ("TEL:7042;phone-context=example.com", "7042@example.com", "phone-context, local"),
        ("tel:7042;phone-context=example.com;a=b", "7042@example.com", "phone-context, local"),
        ("<sip:192.0.2.7:55061;user=phone>", "sip:192.0.2.7:55061", "opaque: no user"),
        ("sip:anonymous@anonymous.invalid", "restricted", "restricted"),
        ("sip:bob@anonymous.invalid", "restricted", "restricted"),
        ("sip:unavailable@192.0.2.1", "restricted", "restricted"),
        ("anonymous", "restricted", "restricted"),
        ("sip:bob@192.0.2.1", "bob", "opaque: letters"),
        ("sip:bob%40home@192.0.2.1", "bob%40home", "opaque: letters"),
        ("urn:service:sos", "urn:service:sos", "emergency, service URN"),
        ("+16505550112", "+16505550112", "opaque: no sip, sips or tel URI"),
        ("", "", "opaque: no sip, sips or tel URI"),
        (
            '"never closed <sip:1002@h>',
            '"never closed <sip:1002%40h>',
            "opaque: no sip, sips or tel URI",
        ),
    ],
)
def test_reading_of_a_uri(text: str, expected: str, rule: str) -> None:
    """Display name, brackets, scheme, parameters and escapes come off in that order."""
    found = US.reading(text, kind="uri")

    assert (found.text, found.rule) == (expected, rule)


def test_a_written_number_has_no_escapes() -> None:
    """In a site file "%" is a mistake, not an escape; two spellings are one number."""
    assert US.reading("+1 650 555 0112", kind="number").party == Global(PhoneNumber("16505550112"))
    assert US.reading("%2B16505550112", kind="number").rule == "opaque: letters"


@pytest.mark.parametrize(
    ("text", "kind", "party"),
    [
        ("1002", "user", Local("1002", "us-650")),
        ("private", "user", Restricted()),
        ("bob", "number", Opaque("bob")),
    ],
)
def test_parties_are_values(text: str, kind: Kind, party: object) -> None:
    """A party can be compared and matched."""
    assert US.reading(text, kind=kind).party == party


def test_long_texts_stay_apart() -> None:
    """Two names that begin alike are two parties, in 64 characters each."""
    found = {opaque("a" * size).text for size in (64, 65, 66, 60_000)}

    assert len(found) == 4
    assert max(map(len, found)) == 64


def test_an_opaque_text_is_no_local_one() -> None:
    """A user called "1002%40us-650" is not extension 1002."""
    assert US.reading("1002%40us-650", kind="user").text == "1002%40us-650"


def test_an_opaque_party_is_checked() -> None:
    """Text that would break a table is refused at construction."""
    with pytest.raises(InputError):
        Opaque("a\x00")


def test_a_read_text_is_remembered() -> None:
    """Captures repeat themselves: the second reading is the same object."""
    assert US.reading("6505550199", kind="user") is US.reading("6505550199", kind="user")


def test_plans_of_one_name_do_not_share_readings() -> None:
    """The memory tells plans apart by all of their fields."""
    other = DialPlan("us-650", "1", short_max_digits=3)

    assert US.reading("1002", kind="user").rule == "extension"
    assert other.reading("1002", kind="user").rule == "opaque: no rule of the plan fits"


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({}, ["name: missing", "country_code: missing"]),
        (
            {"name": "X", "country_code": 44, "colour": "red"},
            ["name = 'X'", "country_code = 44", "colour = 'red': no such field"],
        ),
        ({"country_code": "999"}, ["name: missing", "country_code = '999'"]),
        ({"international_prefixes": "00"}, ["international_prefixes = '00'"]),
        ({"extension_digits": [True, "4"]}, ["extension_digits = "]),
        ({"extensions": {"1001": "16505550112"}}, ["extensions = "]),
        ({"extensions": {"1001": "+x"}}, ["extensions = "]),
        ({"extensions": ["1001"]}, ["extensions = "]),
        ({"emergency": ["1 1 2"]}, ["emergency = "]),
        ({"service_codes": ["*6a"]}, ["service_codes = "]),
        ({"short_max_digits": -1}, ["short_max_digits = -1"]),
        ({"national_prefix": "\u0660"}, ["national_prefix = "]),
    ],
)
def test_every_bad_field_is_named_at_once(table: dict[str, Any], named: list[str]) -> None:
    """One error has file, table and all that is wrong."""
    with pytest.raises(InputError) as caught:
        DialPlan.from_table(table, file="site.toml", field="dial_plan")
    assert str(caught.value).startswith("site.toml: dial_plan: ")
    assert [part for part in named if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"extensions": {"1001": "+16505550112"}, "extension_digits": [3]},
        {"extensions": {"112": "+16505550112"}, "emergency": ["112"]},
        {"emergency": ["112"], "service_codes": ["112"]},
        {"national_prefix": "0", "international_prefixes": ["0"]},
    ],
)
def test_a_plan_with_two_meanings_is_refused(fields: dict[str, Any]) -> None:
    """No text may be read in two ways by the same plan."""
    with pytest.raises(InputError):
        DialPlan.from_table({"name": "a", "country_code": "44", **fields})


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.9", True),
        ("::ffff:192.0.2.9", True),
        ("2001:db8::1", True),
        ("198.51.100.1", False),
        ("2001:db9::1", False),
    ],
)
def test_is_inside(address: str, expected: bool) -> None:
    """An IPv4 address counts the same written as IPv6."""
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))

    assert is_inside(address, networks) is expected


def test_is_inside_refuses_names() -> None:
    """A host name is no address."""
    with pytest.raises(InputError):
        is_inside("sbc.example.com", ())


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("+442079460123", "+16505550112", Direction.INBOUND),
        ("+442079460123", "1002", Direction.INBOUND),
        ("anonymous", "+16505550112", Direction.INBOUND),
        ("+16505550112", "+442079460123", Direction.OUTBOUND),
        ("1002", "911", Direction.OUTBOUND),
        ("1002", "1001", Direction.INTERNAL),
        ("+442079460123", "+442079460124", Direction.UNKNOWN),
        ("bob", "+16505550112", Direction.UNKNOWN),
    ],
)
def test_direction_by_numbers(source: str, destination: str, expected: Direction) -> None:
    """Numbers under the customer's prefixes and its extensions are the customer's."""
    found, rule = direction(
        US.reading(source, kind="user"),
        US.reading(destination, kind="user"),
        customer_numbers=OURS,
    )

    assert found is expected
    assert rule


@pytest.mark.parametrize(
    ("inside", "expected"),
    [(True, Direction.INTERNAL), (False, Direction.INBOUND), (None, Direction.UNKNOWN)],
)
def test_direction_without_a_source(inside: bool | None, expected: Direction) -> None:
    """A query that carries no caller is placed by its network, or not at all."""
    destination = US.reading("+16505550112", kind="user")

    found, _ = direction(None, destination, customer_numbers=OURS, source_inside=inside)
    assert found is expected


def test_an_extension_with_a_number_elsewhere_is_ours() -> None:
    """Extension 1001 is the customer's even when its number has another prefix."""
    found, _ = direction(
        US.reading("1001", kind="user"),
        US.reading("+442079460123", kind="user"),
        customer_numbers=("+1202",),
    )

    assert found is Direction.OUTBOUND


@pytest.mark.parametrize("prefix", ["", "+", "+44a"])
def test_direction_refuses_a_prefix_that_is_none(prefix: str) -> None:
    """An empty prefix would make the whole world the customer's."""
    with pytest.raises(InputError):
        direction(None, US.reading("1002", kind="user"), customer_numbers=(prefix,))
