"""Ordered rules, the first that fits decides; the answer of each action is data."""

from pathlib import Path

import pytest

from enumtest.naptr.naptr import NaptrRecord
from enumtest.stub.policy import (
    Action,
    ActionAnswer,
    Party,
    Policy,
    Rule,
    default_answer,
    parse_policy,
    parse_rules,
)
from harness.errors import InputError
from harness.number import PhoneNumber

POLICIES = Path(__file__).parent.parent.parent / "fixtures" / "policies"
CALLED = PhoneNumber("16505550112")
BLOCKED = PhoneNumber("16505550199")
DESK = PhoneNumber("16505550100")
BLOCK = Rule("block", Action.TERMINATE, destination=Party(("+16505550112",)))
DIVERT = Rule("divert", Action.REDIRECT, to=DESK)


def policy(*rules: Rule, default: Action = Action.ALLOW) -> Policy:
    return Policy(rules, default, {action: default_answer(action) for action in Action})


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_policy_that_is_shipped_is_sound(path: Path) -> None:
    """Each file in fixtures/policies parses, and has an answer for a call."""
    found = parse_policy(path.read_text(encoding="utf-8"), str(path))

    assert found.decide(None, CALLED).rule


def test_the_first_rule_that_fits_decides() -> None:
    """Two rules fit: the upper one is asked, in either order."""
    assert policy(BLOCK, DIVERT).decide(None, CALLED).rule == "block"
    assert policy(DIVERT, BLOCK).decide(None, CALLED).rule == "divert"


def test_a_call_that_no_rule_fits_gets_the_default() -> None:
    """The ruling says that it is the default."""
    ruling = policy(BLOCK, default=Action.TERMINATE).decide(None, DESK)

    assert (ruling.rule, ruling.action) == ("default", Action.TERMINATE)


@pytest.mark.parametrize(
    ("action", "regexp"),
    [
        (Action.ALLOW, r"!^(.*)$!sip:\1@sbc.example.net!"),
        (Action.TERMINATE, "!^.*$!sip:terminate@blocked.invalid;cause=603!"),
        (Action.REDIRECT, "!^.*$!sip:+16505550100@sbc.example.net!"),
    ],
)
def test_each_action_has_its_idiom(action: Action, regexp: str) -> None:
    """The records of the shipped policy, as they go on the wire."""
    text = (POLICIES / "three-actions.toml").read_text(encoding="utf-8")
    ruling = parse_policy(text).ruling(action, "x", None, DESK)

    assert ruling.records == (NaptrRecord(10, 100, "u", "E2U+sip", regexp),)


def test_an_answer_for_one_caller_is_not_to_be_kept() -> None:
    """TTL 0 as soon as the query names a source, even an anonymous one."""
    found = policy()

    assert found.decide(None, CALLED).ttl_s == 60
    assert found.decide("+12125550166", CALLED).ttl_s == 0
    assert found.decide("anonymous", CALLED).ttl_s == 0


@pytest.mark.parametrize(
    ("patterns", "party", "fits"),
    [
        (("any",), None, True),
        (("any",), "anonymous", True),
        (("+16505550112",), "+16505550112", True),
        (("+16505550112",), "+165055501123", False),
        (("+16505550112",), "16505550112", False),
        (("16505550112",), "16505550112", True),
        (("+1650555*",), "+16505550112", True),
        (("+1650555*",), "+1650556", False),
        (("1001",), "1001", True),
        (("+44*", "+1650*"), "+16505550112", True),
        (("anonymous",), "anonymous", True),
        (("anonymous",), None, False),
        (("absent",), None, True),
        (("absent",), "anonymous", False),
        (("+*",), "+16505550112", True),
        (("+*",), "anonymous", False),
    ],
)
def test_a_party_fits_its_patterns_only(
    patterns: tuple[str, ...], party: str | None, fits: bool
) -> None:
    """Number, prefix, list, any, anonymous and absent; the plus sign counts."""
    assert Party(patterns).fits(party) is fits


@pytest.mark.parametrize(
    "pattern", ["", "x", "+1 650", "anonymus", "+1*5", "**", "1" * 16, "\u0661"]
)
def test_a_pattern_that_could_never_fit_is_refused(pattern: str) -> None:
    """Typing errors are found when the policy is read, not when a call is missed."""
    if pattern == "":
        with pytest.raises(InputError, match="no pattern"):
            Party(())
    else:
        with pytest.raises(InputError, match="not a pattern"):
            Party((pattern,))


def test_installed_rules_come_first() -> None:
    """A new rule is asked before those that were there, and the old policy stays as it was."""
    before = policy(BLOCK)
    after = before.with_rules([DIVERT])

    assert after.decide(None, CALLED).rule == "divert"
    assert before.decide(None, CALLED).rule == "block"


def test_a_rule_of_a_known_name_takes_the_old_ones_place() -> None:
    """Installing the same rules twice gives the same policy."""
    changed = Rule("block", Action.ALLOW)
    after = policy(BLOCK, DIVERT).with_rules([changed])

    assert after.rules == (changed, DIVERT)
    assert after.with_rules([changed]) == after


def test_a_rule_is_removed_by_name() -> None:
    """What is left decides."""
    assert policy(BLOCK, DIVERT).without(["block"]).rules == (DIVERT,)


def test_a_rule_that_is_not_there_cannot_be_removed() -> None:
    """The error says which rules there are."""
    with pytest.raises(InputError, match="no such rule; installed: block"):
        policy(BLOCK).without(["blok"])


def test_two_rules_of_one_name_are_refused() -> None:
    """Else neither could be removed."""
    with pytest.raises(InputError, match="two rules have this name"):
        policy(BLOCK, BLOCK)
    with pytest.raises(InputError, match="two rules have this name"):
        policy().with_rules([BLOCK, BLOCK])


def test_a_policy_needs_an_answer_for_every_action() -> None:
    """A rule could ask for it at any time."""
    with pytest.raises(InputError, match="an action without an answer"):
        Policy((), Action.ALLOW, {Action.ALLOW: ActionAnswer(())})


def test_an_action_may_be_a_return_code() -> None:
    """NXDOMAIN has no records."""
    text = 'default = "terminate"\n[actions.terminate]\nrcode = "NXDOMAIN"\n'
    ruling = parse_policy(text).decide(None, CALLED)

    assert (ruling.rcode, ruling.records) == ("NXDOMAIN", ())


def test_an_empty_list_of_records_is_no_data() -> None:
    """NOERROR without records: the number exists and has no service."""
    text = 'default = "allow"\n[actions.allow]\nrecords = []\n'
    ruling = parse_policy(text).decide(None, CALLED)

    assert (ruling.rcode, ruling.records) == ("NOERROR", ())


def test_a_record_that_no_client_can_use_needs_a_word() -> None:
    """`unchecked` lets a test of clients emit it."""
    row = r"{ regexp = '!^(.*)$!sip:\2@x.example!' }"
    text = f'default = "allow"\n[actions.allow]\nrecords = [{row}]\n'
    with pytest.raises(InputError, match="back-reference 2"):
        parse_policy(text)

    unchecked = text.replace(" }", ", unchecked = true }")
    assert len(parse_policy(unchecked).decide(None, CALLED).records) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "default: Field required"),
        ("x", "not TOML"),
        ('default = "redirect"', "leads nowhere"),
        ('default = "deny"', "'allow', 'terminate' or 'redirect'"),
        ('default = "allow"\nextra = 1', "extra = 1: Extra inputs"),
        ('default = "allow"\n[actions.block]', "actions.block"),
        ('default = "allow"\n[actions.allow]\nhost = "a!b"', "actions.allow.host = 'a!b'"),
        ('default = "allow"\n[actions.allow]\nttl_s = -1', "actions.allow.ttl_s = -1"),
        ('default = "allow"\n[actions.allow]\nttl_s = "60"', "valid integer"),
        ('default = "allow"\n[actions.allow]\nrcode = "BADVERS"', "needs EDNS"),
        ('default = "allow"\n[actions.allow]\nrcode = "NXDOMAIN"\nflags = "u"', "without flags"),
        ('default = "allow"\n[actions.allow]\nrecords = []\nflags = "u"', "either records, or"),
        ('default = "allow"\n[actions.allow]\nregexp = "!^+1!{to}!"', "for a redirect only"),
        ('default = "allow"\n[actions.allow]\nreplacement = "a.b"', "not absolute"),
        ('default = "allow"\n[[rules]]\nname = "a"\naction = "redirect"', 'needs "to"'),
        (
            'default = "allow"\n[[rules]]\nname = "a"\naction = "allow"\nsource = []',
            "no pattern",
        ),
        (
            'default = "allow"\n[[rules]]\nname = "a"\naction = "redirect"\nto = "0"',
            "country code",
        ),
    ],
)
def test_a_wrong_policy_names_the_field(text: str, why: str) -> None:
    """File, field and reason are in one line."""
    with pytest.raises(InputError, match=r"p\.toml") as caught:
        parse_policy(text, "p.toml")

    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_everything_wrong_is_said_at_once() -> None:
    """Three errors in one policy are three parts of one message."""
    text = """
        default = "allow"
        [[rules]]
        name = ""
        action = "deny"
        [[rules]]
        name = "b"
        action = "allow"
        from = "+1"
    """
    with pytest.raises(InputError) as caught:
        parse_policy(text, "p.toml")

    assert caught.value.field == "3 fields"
    for part in ("rules.0.name", "rules.0.action", "rules.1.from"):
        assert part in str(caught.value)


def test_a_target_that_makes_the_record_too_long_is_found_when_it_is_read() -> None:
    """255 octets hold the longest number, or the policy is refused."""
    text = f"default = 'allow'\n[actions.redirect]\nregexp = '!^.*$!sip:{{to}}@{'h' * 229}!'\n"
    with pytest.raises(InputError, match="more than 255"):
        parse_policy(text)


def test_rules_arrive_at_run_time_in_the_shape_of_the_file() -> None:
    """The control protocol takes the same tables."""
    rows = [{"name": "r", "source": "+1 650*", "action": "redirect", "to": "+1 650 555 0100"}]

    assert parse_rules(rows) == (
        Rule("r", Action.REDIRECT, Party(("+1650*",)), Party(("any",)), DESK),
    )
    with pytest.raises(InputError, match="valid list"):
        parse_rules("x")
