"""What an SBC does with the URI that an ENUM answer yields."""

from dataclasses import replace

import pytest

from enumtest.naptr.search import resolve
from enumtest.sbc.decision import (
    DEFAULT_RULES,
    Decision,
    DecisionRule,
    Target,
    UserMatch,
    classify,
    decided_by,
    parse_target,
)
from harness.errors import InputError
from harness.number import PhoneNumber
from tests.enum_wire import ALLOW, TERMINATE, WholeNumber

DIALLED = PhoneNumber("16505550112")


def decision(uri: str) -> Decision:
    return classify(uri, DIALLED, DEFAULT_RULES)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:+16505550112@sbc.example.net",
        "sip:+16505550112@sbc.example.net:5060;user=phone",
        "SIP:+16505550112@SBC.Example.NET",
        "sips:+16505550112@sbc.example.net",
        "sip:16505550112@sbc.example.net",
        "sip:+1-650-555-0112@sbc.example.net",
        "sip:%2B16505550112@sbc.example.net",
        "sip:+16505550112;npdi;rn=+12125550110@sbc.example.net",
        "sip:+16505550112:secret@sbc.example.net",
        "sip:+16505550112@[2001:db8::1]:5060",
        "tel:+16505550112",
        "tel:+1-650-555-0112;npdi",
    ],
)
def test_same_number_is_allowed_however_it_is_written(uri: str) -> None:
    """Separators, escapes, case, parameters and port do not make it another number."""
    assert decision(uri) is Decision.ALLOW


@pytest.mark.parametrize(
    "uri",
    [
        "sip:+12125550150@sbc.example.net",
        "sip:operator@sbc.example.net",
        "sip:gateway.example.net",
        "tel:+12125550150",
        "tel:5550112;phone-context=+1650",
    ],
)
def test_other_party_is_a_redirection(uri: str) -> None:
    """Another number, a name, or a host alone: the call goes elsewhere."""
    assert decision(uri) is Decision.REDIRECT


@pytest.mark.parametrize(
    "uri",
    [
        "sip:no@blocked.invalid",
        "sip:+16505550112@blocked.invalid",
        "sip:+16505550112@BLOCKED.Invalid",
        "sip:+16505550112@blocked.invalid.",
        "sip:+16505550112@blocked.invalid:5061;transport=tls",
        "sip:+16505550112@blocked.invalid;cause=603",
        "sip:+16505550112@blocked.invalid?Reason=x",
        "sip:+16505550112;npdi@blocked.invalid",
        "sip:blocked.invalid",
    ],
)
def test_sentinel_host_terminates_even_with_the_dialled_number(uri: str) -> None:
    """A spelling of the sentinel that were not seen would let a forbidden call through."""
    assert decision(uri) is Decision.TERMINATE


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "sip:",
        "sip:@",
        "+16505550112",
        "sip+16505550112@sbc.example.net",
        "http://sbc.example.net/+16505550112",
        "mailto:+16505550112@sbc.example.net",
        "sip:+16505550112@one@blocked.invalid",
        "sip:+16505550112@ blocked.invalid",
        "sip:+16505550112@blocked.invalid\n",
        " sip:+16505550112@blocked.invalid",
        "sip:+16505550112@sbc.example.net;x=@blocked.invalid",
    ],
)
def test_what_nobody_agreed_on_is_loud(uri: str) -> None:
    """No URI, or one that readers take apart differently: never an allow."""
    assert decision(uri) is Decision.UNCLASSIFIED


def test_first_rule_that_fits_decides() -> None:
    """The order of the site file counts."""
    rules = (
        DecisionRule(Decision.TERMINATE, scheme="TEL"),
        DecisionRule(Decision.ALLOW, host="Gate.Example.net", user=UserMatch.ANY),
    )

    assert classify("tel:+16505550112", DIALLED, rules) is Decision.TERMINATE
    assert classify("sip:x@gate.example.net", DIALLED, rules) is Decision.ALLOW
    assert classify("sip:x@other.example.net", DIALLED, rules) is Decision.UNCLASSIFIED


def test_all_that_a_rule_sets_must_fit() -> None:
    """Host, scheme and user together."""
    rule = DecisionRule(Decision.ALLOW, "sip", "gate.example.net", UserMatch.SAME)

    assert classify("sip:+16505550112@gate.example.net", DIALLED, (rule,)) is Decision.ALLOW
    assert classify("sips:+16505550112@gate.example.net", DIALLED, (rule,)) is Decision.UNCLASSIFIED
    assert classify("sip:+12125550150@gate.example.net", DIALLED, (rule,)) is Decision.UNCLASSIFIED


def test_without_rules_nothing_is_decided() -> None:
    """No default hides behind an empty table."""
    assert classify("sip:+16505550112@h", DIALLED, ()) is Decision.UNCLASSIFIED


def test_target_has_the_parts_a_decision_looks_at() -> None:
    """An IPv6 address keeps its brackets, the port goes; parameters are those of user and URI."""
    parameters = (("b", "c"), ("d", ""))
    expected = Target("sip", "a", "[2001:db8::1]", parameters)
    assert parse_target("sip:a;b=c@[2001:DB8::1]:5060;d") == expected
    assert parse_target("tel:+1;a=b") == Target("tel", "+1", "", (("a", "b"),))


def test_target_without_a_number_has_none() -> None:
    """A name, and digits longer than E.164 allows, are no number."""
    assert Target("sip", "operator", "h").number() is None
    assert Target("sip", "1" * 16, "h").number() is None


@pytest.mark.parametrize(
    ("rule", "uri", "service", "fits"),
    [
        ({"service": "pstn:tel"}, "tel:+16505550112", "pstn:tel", True),
        ({"service": "PSTN"}, "tel:+16505550112", "pstn:tel", True),
        ({"service": "pstn"}, "tel:+16505550112", "voice:sip+pstn:tel", True),
        ({"service": "pstn"}, "tel:+16505550112", "pstnx:tel", False),
        ({"service": "pstn:sip"}, "tel:+16505550112", "pstn", False),
        ({"service": "sip"}, "sip:x@h", "", False),
        ({"user_text": "terminate"}, "sip:terminate@h", "sip", True),
        ({"user_text": "terminate"}, "sip:terminated@h", "sip", False),
        ({"user_text": "term*"}, "sip:terminated@h", "sip", True),
        ({"user_text": "+1650*"}, "tel:+16505550112;npdi", "", True),
        ({"parameters": (("cause", "603"),)}, "sip:x@h;cause=603", "", True),
        ({"parameters": (("Cause", "603"),)}, "sip:x;cause=603@h", "", True),
        ({"parameters": (("cause", "603"),)}, "sip:x@h;cause=6030", "", False),
        ({"parameters": (("cause", "603"),)}, "sip:x@h?cause=603", "", False),
        ({"parameters": (("cause", "603"),)}, "sip:x@h;cause=404;cause=603", "", False),
        ({"parameters": (("npdi", "*"),)}, "tel:+1;npdi", "", True),
        ({"parameters": (("npdi", ""),)}, "tel:+1;npdi=yes", "", False),
        ({"parameters": (("npdi", "*"), ("rn", "+1*"))}, "tel:+1;npdi;rn=+1", "", False),
        ({"host": "blocked.invalid."}, "sip:x@blocked.invalid", "", True),
        ({}, "sip:anybody@anywhere", "", True),
    ],
)
def test_each_part_that_a_rule_sets_must_fit(
    rule: dict[str, object], uri: str, service: str, fits: bool
) -> None:
    """Service, user part and parameters, without case but for the user part."""
    rules = (DecisionRule(Decision.TERMINATE, **rule),)  # type: ignore[arg-type]
    expected = Decision.TERMINATE if fits else Decision.UNCLASSIFIED

    services = tuple(service.split("+")) if service else ()
    assert classify(uri, DIALLED, rules, services) is expected


def test_a_sentinel_parameter_can_stand_before_the_allow() -> None:
    """The same user and host: only the order of the table tells a block from an allow."""
    rules = (
        DecisionRule(Decision.TERMINATE, parameters=(("cause", "*"),)),
        DecisionRule(Decision.ALLOW, user=UserMatch.SAME),
    )

    assert classify(f"sip:{DIALLED}@h;cause=404", DIALLED, rules) is Decision.TERMINATE
    assert classify(f"sip:{DIALLED}@h", DIALLED, rules) is Decision.ALLOW


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ({"decision": Decision.ALLOW}, "would allow every URI"),
        ({"decision": Decision.UNCLASSIFIED, "scheme": "sip"}, "no order"),
        ({"decision": Decision.NO_SERVER, "scheme": "sip"}, "no order"),
    ],
)
def test_rule_that_hides_the_unknown_is_refused(rule: dict[str, object], part: str) -> None:
    """An allow for everything would turn what nobody agreed on into a call let through."""
    with pytest.raises(InputError, match=part):
        DecisionRule(**rule)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("services", "decision"),
    [("E2U+pstn:tel", Decision.REDIRECT), ("E2U+sip", Decision.UNCLASSIFIED)],
)
def test_service_is_that_of_the_record_that_was_chosen(services: str, decision: Decision) -> None:
    """Not that of one that lost: both are in the answer."""
    chosen = replace(TERMINATE, order=1, services=services)
    other = replace(ALLOW, order=2, services="E2U+pstn:sip")
    accepted = ("sip", "pstn:tel", "pstn:sip")
    resolution = resolve((other, chosen), str(DIALLED), WholeNumber(), accepted)
    rules = (DecisionRule(Decision.REDIRECT, service="pstn"),)

    assert decided_by(resolution, DIALLED, rules)[0] is decision


def test_without_a_usable_record_there_is_no_instruction() -> None:
    """Whatever the rules say."""
    resolution = resolve((), str(DIALLED), WholeNumber(), ("sip",))

    assert decided_by(resolution, DIALLED, DEFAULT_RULES) == (Decision.NO_INSTRUCTION, "")
