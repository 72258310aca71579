"""The calling number in the name of a query, and callers as a dial plan reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enumtest.dns.message import Edns, encode_query, parse_answer
from enumtest.dns.source_name import NO_NAMING, SourceNaming, encode_name, parse_name
from enumtest.dns.source_uri import ANONYMOUS, Framing, SourceOption
from enumtest.sbc.caller import caller_text, pattern_text
from enumtest.stub.answer import ServerState, Transport, answer
from enumtest.stub.policy import Policy, parse_policy, parse_rules
from harness.dialplan import DialPlan
from harness.errors import InputError
from harness.number import PhoneNumber

APEX = "enum.example"
CALLED = PhoneNumber("16505550112")
OWNER = "2.1.1.0.5.5.5.0.5.6.1"
LABEL = SourceNaming(label="from")
ROOTS = SourceNaming((("+1212", "ny.enum.example"), ("+1", "us.example")))
PLAN = DialPlan(
    "main", "1", ("011",), "1", "650", (4,), (("1001", PhoneNumber("16505550101")),), ("911",)
)


@pytest.mark.parametrize(
    ("naming", "source", "name", "told"),
    [
        (NO_NAMING, "+12125550166", f"{OWNER}.{APEX}", None),
        (LABEL, "+4420", f"{OWNER}.from.0.2.4.4.{APEX}", "+4420"),
        (LABEL, ANONYMOUS, f"{OWNER}.from.anonymous.{APEX}", ANONYMOUS),
        (LABEL, "1001", f"{OWNER}.{APEX}", None),
        (LABEL, "", f"{OWNER}.{APEX}", None),
        (ROOTS, "+12125550166", f"{OWNER}.ny.enum.example", "+1212"),
        (ROOTS, "+16505550100", f"{OWNER}.us.example", "+1"),
        (ROOTS, "+442079460100", f"{OWNER}.{APEX}", None),
    ],
)
def test_a_name_tells_the_caller_as_far_as_it_goes(
    naming: SourceNaming, source: str, name: str, told: str | None
) -> None:
    """What is written is read back: the whole number, its prefix, or nobody."""
    assert encode_name(CALLED, source, APEX, naming) == name
    assert parse_name(name.upper() + ".", APEX, naming) == (CALLED, told)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (f"{OWNER}.other.example", "not under"),
        (f"{OWNER}.from.{APEX}", "calling number"),
        (f"{OWNER}.from.12.{APEX}", "not one digit"),
        (f"{OWNER}.from.x.{APEX}", "calling number"),
        (f"{OWNER}.from.0.{APEX}", "calling number"),
        (f"{OWNER}.from.1.from.1.{APEX}", "calling number"),
        (f"from.1.{APEX}", "label that is not one digit|E.164|not under"),
        (f"{OWNER}.from.{'1.' * 16}{APEX}", "calling number"),
    ],
)
def test_a_name_of_another_form_is_refused(name: str, why: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InputError, match=why):
        parse_name(name, APEX, LABEL)


@given(name=st.from_regex(r"([0-9a-z*]{1,3}\.){0,12}(from\.)?enum\.example", fullmatch=True))
def test_any_name_is_read_or_refused(name: str) -> None:
    """A value or an InputError, never else."""
    try:
        called, source = parse_name(name, APEX, LABEL)
    except InputError:
        return
    assert parse_name(encode_name(called, source or "", APEX, LABEL), APEX, LABEL) == (
        called,
        source,
    )


@pytest.mark.parametrize(
    ("roots", "label", "field"),
    [
        ((("+1", "a.example"),), "from", "label"),
        ((), "From", "label"),
        ((), "1", "label"),
        ((), "a-", "label"),
        ((("1212", "a.example"),), "", "roots"),
        ((("+1212", "A.example"),), "", "roots"),
        ((("+1212", "1.example"),), "", "roots"),
        ((("+1", "aa.example"), ("+1", "bb.example")), "", "roots"),
        ((("+1", "aa.example"), ("+44", "aa.example")), "", "roots"),
    ],
)
def test_a_naming_that_could_be_read_in_two_ways_is_refused(
    roots: tuple[tuple[str, str], ...], label: str, field: str
) -> None:
    """The field is named."""
    with pytest.raises(InputError) as caught:
        SourceNaming(roots, label)
    assert caught.value.field == field


POLICY = """
default = "allow"
[[rules]]
name = "block"
source = ["+12125550166", "+4420*"]
action = "terminate"
"""


@pytest.mark.parametrize(
    ("naming", "name", "options", "told"),
    [
        (
            LABEL,
            f"{OWNER}.from.6.6.1.0.5.5.5.2.1.2.1.{APEX}",
            None,
            ("block", "+12125550166", "name", 0),
        ),
        (LABEL, f"{OWNER}.from.1.0.2.4.4.{APEX}", None, ("block", "+44201", "name", 0)),
        (LABEL, f"{OWNER}.{APEX}", None, ("default", None, "", 60)),
        (ROOTS, f"{OWNER}.ny.enum.example", None, ("default", "+1212", "name", 0)),
        (
            ROOTS,
            f"{OWNER}.ny.enum.example",
            SourceOption("sip:+12125550166@x.example", Framing.UTF8, 65001),
            ("block", "+12125550166", "option 65001, utf8", 0),
        ),
        (
            NO_NAMING,
            f"{OWNER}.{APEX}",
            SourceOption("tel:+12125550166", Framing.VERSION_NUL),
            ("block", "+12125550166", "option 4, version-nul", 0),
        ),
    ],
)
def test_the_server_rules_by_the_caller_in_the_name(
    naming: SourceNaming,
    name: str,
    options: SourceOption | None,
    told: tuple[str, str | None, str, int],
) -> None:
    """The note says how the caller came; with a caller the TTL is 0; an option counts more."""
    server = ServerState(parse_policy(POLICY), APEX, naming)
    data = encode_query(1, name, source=options)
    [send], note = answer(data, transport=Transport.UDP, server=server, now_ns=0)

    [record] = parse_answer(send.payload).records
    assert (note.rule, note.source, note.carried, record.ttl_s) == told
    assert note.number == CALLED


def test_a_name_counts_where_the_option_cannot_be_read() -> None:
    """The remark says what is wrong with the option."""
    server = ServerState(parse_policy(POLICY), APEX, LABEL)
    name = f"{OWNER}.from.6.6.1.0.5.5.5.2.1.2.1.{APEX}"
    data = encode_query(1, name, edns=Edns(1220, options=((4, b"rubbish"),)))
    note = answer(data, transport=Transport.UDP, server=server, now_ns=0)[1]

    assert (note.rule, note.source, note.carried) == ("block", "+12125550166", "name")
    assert "holds no calling URI" in note.remark


def test_the_server_reads_a_caller_by_the_policys_plan() -> None:
    """A national number in the option is the party that the rule names."""
    option = SourceOption("sip:2125550166@x.example")
    data = encode_query(1, f"{OWNER}.{APEX}", source=option)
    server = ServerState(planned_policy(), APEX)
    note = answer(data, transport=Transport.UDP, server=server, now_ns=0)[1]

    assert (note.rule, note.source) == ("block", "+12125550166")


def test_a_name_outside_every_root_is_refused() -> None:
    """Another zone is not this server's."""
    server = ServerState(parse_policy(POLICY), APEX, ROOTS)
    data = encode_query(1, f"{OWNER}.uk.example")

    assert answer(data, transport=Transport.UDP, server=server, now_ns=0)[1].rcode == "REFUSED"


@pytest.mark.parametrize(
    ("uri", "bare", "planned"),
    [
        ("sip:+12125550166@a.example", "+12125550166", "+12125550166"),
        ("sip:12125550166@a.example", "12125550166", "+12125550166"),
        ("sip:5550199@a.example", "5550199", "+16505550199"),
        ("sip:011442079460100@a.example", "011442079460100", "+442079460100"),
        ("sip:1001@a.example", "1001", "+16505550101"),
        ("sip:1002@a.example", "1002", "1002"),
        ("sip:911@a.example", "911", "911"),
        ("sip:alice@a.example", "alice", "alice"),
        ("sip:anonymous@anonymous.invalid", ANONYMOUS, ANONYMOUS),
        ("sip:a.example", ANONYMOUS, ANONYMOUS),
        ("tel:+1-212-555-0166", "+12125550166", "+12125550166"),
    ],
)
def test_a_caller_is_read_as_the_dial_plan_says(uri: str, bare: str, planned: str) -> None:
    """Without a plan nothing is completed; with one, two spellings of a party are one."""
    assert (caller_text(uri, None), caller_text(uri, PLAN)) == (bare, planned)


@pytest.mark.parametrize(
    ("pattern", "planned"),
    [
        ("2125550166", "+12125550166"),
        ("+12125550166", "+12125550166"),
        ("1001", "+16505550101"),
        ("1002", "1002"),
        ("212555*", "212555*"),
        ("any", "any"),
        (ANONYMOUS, ANONYMOUS),
    ],
)
def test_a_pattern_is_read_as_the_dial_plan_says(pattern: str, planned: str) -> None:
    """Whole numbers are; prefixes and words stay."""
    assert (pattern_text(pattern, None), pattern_text(pattern, PLAN)) == (pattern, planned)


def planned_policy() -> Policy:
    return parse_policy(
        POLICY.replace('"+12125550166"', '"212 555 0166"')
        + '[dial_plan]\nname = "main"\ncountry_code = "1"\nnational_prefix = "1"\n'
    )


@pytest.mark.parametrize("uri", ["sip:2125550166@a", "sip:+12125550166@b", "tel:1-212-555-0166"])
def test_rules_match_parties_and_not_spellings(uri: str) -> None:
    """A rule in national form fits every way in which an SBC writes the caller."""
    policy = planned_policy()

    assert policy.decide(policy.caller(uri), CALLED).rule == "block"
    assert policy.decide(policy.caller("sip:2125550167@a"), CALLED).rule == "default"


def test_rules_that_are_installed_later_are_read_by_the_plan_too() -> None:
    """The control port's rules are no exception."""
    rows = [{"name": "late", "action": "terminate", "source": "6505550100", "destination": "any"}]
    policy = planned_policy().with_rules(parse_rules(rows))

    assert policy.decide(policy.caller("sip:+16505550100@a"), CALLED).rule == "late"
    assert policy.with_rules(parse_rules(rows)) == policy


def test_a_wrong_dial_plan_is_named_in_the_policy() -> None:
    """Field and reason, in one line."""
    with pytest.raises(InputError, match=r"dial_plan.*country_code"):
        parse_policy(POLICY + '[dial_plan]\nname = "x"\n', "p.toml")
