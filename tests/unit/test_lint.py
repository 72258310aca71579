"""What a lint predicts for a policy or a zone, client by client."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from enumtest.naptr.dialect_file import parse_client, shipped_client, shipped_clients
from enumtest.naptr.lint import Entry, Linted, Verdict, lint, policy_entries, policy_hosts, sample
from enumtest.naptr.naptr import NaptrRecord
from enumtest.naptr.naptr_dialect import STRICT, NaptrDialect, VoidMeaning
from enumtest.naptr.zone import EnumZone, number_of, parse_record, parse_zone, zone_entries
from enumtest.sbc.decision import DEFAULT_RULES, Decision, DecisionRule
from enumtest.stub.policy import parse_policy
from harness.errors import InputError
from harness.number import PhoneNumber
from harness.regex_worker import PosixRegex

ROOT = Path(__file__).parent.parent.parent
NUMBER = PhoneNumber("16505550112")
OWNER = "2.1.1.0.5.5.5.0.5.6.1"
STOP = "!^.*$!sip:terminate@blocked.invalid;cause=603!"
ALLOW = r"!^(.*)$!sip:\1@sbc.invalid!"
CLIENTS = {name: shipped_client(name).naptr for name in shipped_clients()}
THROUGH, STOPS, UNKNOWN = Verdict.LETS_THROUGH, Verdict.TERMINATES, Verdict.UNKNOWN


@pytest.fixture(scope="module")
def posix() -> Iterator[PosixRegex]:
    """Give the C library's engine."""
    with PosixRegex() as shared:
        yield shared


def naptr(regexp: str = STOP, order: int = 10, **fields: str) -> NaptrRecord:
    own = {"flags": "u", "services": "E2U+sip", "regexp": regexp}
    return NaptrRecord(order, 10, **(own | fields))


def verdicts(
    posix: PosixRegex, *records: NaptrRecord, clients: dict[str, NaptrDialect] | None = None
) -> dict[str, Verdict | None]:
    """Return what each client makes of a terminate that *records* express."""
    entry = Entry("x", NUMBER, records, Decision.TERMINATE)
    [found] = lint([entry], CLIENTS if clients is None else clients, posix)
    return {one.client: one.verdict for one in found.predictions}


def test_the_usual_terminate_is_let_through_by_the_client_without_e2u_first(
    posix: PosixRegex,
) -> None:
    """Only Cisco, which knows the obsolete form alone."""
    found = verdicts(posix, naptr())

    assert {name for name, verdict in found.items() if verdict is not STOPS} == {"cisco"}
    assert found["cisco"] is THROUGH


# Each idiom that differs in the field, with who lets it through and of whom nobody knows.
@pytest.mark.parametrize(
    ("record", "through", "unknown"),
    [
        (
            naptr("!^.*$!mailto:a@b.example!", services="E2U+void:mailto"),
            "asterisk cisco freeswitch kamailio oracle strict",
            "ribbon",
        ),
        (
            naptr(services="sip+E2U"),
            "freeswitch",
            "ribbon yate",
        ),
        (
            naptr(services="E2U+voice:sip+sip"),
            "asterisk cisco freeswitch kamailio",
            "oracle ribbon yate",
        ),
        (
            naptr(r"/^.*$/sip:no@blocked.invalid/"),
            "cisco freeswitch kamailio",
            "oracle ribbon yate",
        ),
        (
            naptr(r"!^.*$!sip:no@blocked.invalid!i"),
            "asterisk cisco",
            "oracle ribbon yate",
        ),
        (
            naptr(r"!^.*$!tel:+16505550199;cause=603!"),
            "asterisk cisco freeswitch kamailio oracle ribbon strict yate",
            "",
        ),
        (naptr("!^.*$!sip:no@blocked.invalid"), " ".join(CLIENTS), ""),
        (naptr("!^\\+44!sip:no@blocked.invalid!"), " ".join(CLIENTS), ""),
    ],
)
def test_each_idiom_is_predicted_per_client(
    posix: PosixRegex, record: NaptrRecord, through: str, unknown: str
) -> None:
    """The differences of the field, as data; what is not known is said to be so."""
    found = verdicts(posix, record)

    assert [name for name, verdict in found.items() if verdict is THROUGH] == through.split()
    assert [name for name, verdict in found.items() if verdict is UNKNOWN] == unknown.split()


def test_a_larger_order_that_allows_is_a_hole_where_it_is_tried_too(posix: PosixRegex) -> None:
    """Kamailio adds it as a branch; a strict client never looks at it."""
    records = naptr(order=10), naptr(ALLOW, order=20)
    clients = {"strict": STRICT, "kamailio": CLIENTS["kamailio"], "blank": NaptrDialect()}

    found = verdicts(posix, *records, clients=clients)
    assert found == {"strict": STOPS, "kamailio": THROUGH, "blank": UNKNOWN}


def test_a_terminate_without_records_is_let_through_by_all(posix: PosixRegex) -> None:
    """NXDOMAIN says nothing: the call goes on as dialled."""
    assert set(verdicts(posix).values()) == {THROUGH}


def test_a_client_that_reads_void_as_nobody_there_terminates(posix: PosixRegex) -> None:
    """The idiom of the void draft works where it is known."""
    void = naptr("!^.*$!mailto:a@b.example!", services="E2U+void:mailto")
    clients = {"yes": replace(STRICT, void=VoidMeaning.TERMINATE), "no": STRICT}

    assert verdicts(posix, void, clients=clients) == {"yes": STOPS, "no": THROUGH}


def test_a_client_that_gives_up_at_a_bad_record_lets_the_call_through(posix: PosixRegex) -> None:
    """The good record behind the bad one does not help."""
    clients = {"gives-up": replace(STRICT, bad_record_ends=True), "goes-on": STRICT}

    found = verdicts(posix, naptr("!x", order=1), naptr(), clients=clients)
    assert found == {"gives-up": THROUGH, "goes-on": STOPS}


def linted(text: str, posix: PosixRegex, *clients: str) -> dict[str, Linted]:
    policy = parse_policy(text)
    dialects = {name: CLIENTS[name] for name in clients or CLIENTS}
    entries = policy_entries(policy, posix)
    hosts = (DecisionRule(Decision.TERMINATE, host=h) for h in policy_hosts(policy, posix))
    found = lint(entries, dialects, posix, rules=(*hosts, *DEFAULT_RULES))
    return {one.entry.name: one for one in found}


def test_each_rule_of_a_policy_is_an_entry_with_a_number_that_it_fits(posix: PosixRegex) -> None:
    """Prefixes are filled up; a rule that no destination can fit has none."""
    found = linted(
        'default = "allow"\n'
        '[[rules]]\nname = "a"\naction = "terminate"\ndestination = ["+4420794601*", "anonymous"]\n'
        '[[rules]]\nname = "b"\naction = "terminate"\ndestination = "1001"\n'
        '[[rules]]\nname = "c"\naction = "redirect"\nto = "+16505550100"\n',
        posix,
        "strict",
    )
    assert {name: str(one.entry.number) for name, one in found.items()} == {
        "default": "+16505550112",
        "a": "+44207946011",
        "c": "+16505550112",
    }
    assert [one.entry.ordered for one in found.values()] == ["allow", "terminate", "redirect"]
    assert found["default"].predictions[0].decisions == (Decision.ALLOW,)
    assert found["c"].predictions[0].decisions == (Decision.REDIRECT,)


def test_a_policys_own_terminate_host_is_known_as_such(posix: PosixRegex) -> None:
    """What the policy says ends a call does so, and with a "!" behind it no more."""
    text = 'default = "terminate"\n[actions.terminate]\nregexp = "!^.*$!sip:no@bar.example!i"\n'
    found = linted(text, posix, "strict", "asterisk")["default"]

    assert found.with_verdict(STOPS) == ("strict",)
    assert found.with_verdict(THROUGH) == ("asterisk",)


def test_a_host_that_also_allows_is_no_sign_of_a_terminate(posix: PosixRegex) -> None:
    """Then only the very URI that the policy means ends the call."""
    text = (
        'default = "terminate"\n'
        '[actions.terminate]\nregexp = "!^.*$!sip:no@one.example!"\n'
        '[actions.allow]\nhost = "one.example"\n'
    )
    assert policy_hosts(parse_policy(text), posix) == ()
    assert linted(text, posix, "strict")["default"].with_verdict(STOPS) == ("strict",)


def test_a_terminate_answered_with_a_return_code_is_remarked(posix: PosixRegex) -> None:
    """There is no record to obey."""
    text = 'default = "terminate"\n[actions.terminate]\nrcode = "NXDOMAIN"\n'
    found = linted(text, posix)["default"]

    assert found.entry.remark == "answered with NXDOMAIN and no record"
    assert found.with_verdict(THROUGH) == tuple(CLIENTS)


ZONE = rf"""
$ORIGIN e164.arpa.
$TTL 60
@ SOA ns.example. admin.example. 1 1 1 1 1
{OWNER} NAPTR 10 10 "u" "E2U+sip" "!^.*$!sip:no@blocked.invalid!" .
9.9.1.0.5.5.5.0.5.6.1 NAPTR 10 10 "u" "E2U+sip" "/^.*$/sip:no@blocked.invalid" .
8.9.1.0.5.5.5.0.5.6.1 NAPTR 10 10 "u" "E2U+sip" "!^(.*)$!sip:\\1@sbc.example!" .
7.9.1.0.5.5.5.0.5.6.1 CNAME {OWNER}
6.9.1.0.5.5.5.0.5.6.1 NAPTR 10 10 "" "" "" stop.e164.arpa.
stop NAPTR 10 10 "u" "E2U+sip" "!^.*$!sip:no@blocked.invalid!" .
5.9.1.0.5.5.5.0.5.6.1 NAPTR 10 10 "" "" "" elsewhere.example.
*.0.2.4.4 NAPTR 10 10 "u" "E2U+sip" "!^.*$!sip:no@blocked.invalid!" .
"""


def zone_linted(text: str, posix: PosixRegex, *clients: str) -> dict[str, Linted]:
    zone = parse_zone(text)
    dialects = {name: CLIENTS[name] for name in clients}
    found = lint(zone_entries(zone, posix), dialects, posix, zone.lookup)
    return {str(one.entry.number): one for one in found}


def test_a_zone_is_read_as_a_strict_client_would(posix: PosixRegex) -> None:
    """Aliases and referrals are followed; a broken sentinel is still meant as a terminate."""
    found = zone_linted(ZONE, posix, "strict")

    assert {number: one.entry.ordered for number, one in found.items()} == {
        "+16505550112": "terminate",
        "+16505550199": "terminate",
        "+16505550198": "allow",
        "+16505550197": "terminate",
        "+16505550196": "terminate",
        "+16505550195": "no-instruction",
        "+44201234567": "terminate",
    }
    assert found["+16505550197"].entry.remark == f"alias of {OWNER}.e164.arpa"
    through = [number for number, one in found.items() if one.with_verdict(THROUGH)]
    assert through == ["+16505550199"]


def test_a_referral_lets_through_where_it_is_not_followed(posix: PosixRegex) -> None:
    """Kamailio ignores a record with empty flags."""
    found = zone_linted(ZONE, posix, "strict", "kamailio")["+16505550196"]

    assert found.with_verdict(STOPS) == ("strict",)
    assert found.with_verdict(THROUGH) == ("kamailio",)


def test_a_referral_out_of_the_zone_is_not_guessed(posix: PosixRegex) -> None:
    """What another zone holds, this file does not say."""
    found = zone_linted(ZONE, posix, "strict")["+16505550195"]

    assert Decision.UNCLASSIFIED in found.predictions[0].decisions


def test_the_order_of_a_zones_referrals_ends(posix: PosixRegex) -> None:
    """A loop in the zone is walked once."""
    text = '$ORIGIN 1.e164.arpa.\n$TTL 1\n@ NAPTR 1 1 "" "" "" a\na NAPTR 1 1 "" "" "" a\n'
    found = zone_linted(text, posix, "strict")["+1"]

    assert found.predictions[0].decisions == (Decision.NO_INSTRUCTION,)


@pytest.mark.parametrize(("hops", "verdict"), [(5, STOPS), (6, THROUGH)])
def test_a_lint_follows_as_many_referrals_as_the_client(
    posix: PosixRegex, hops: int, verdict: Verdict
) -> None:
    """Five at most, where the client's own number is not known too."""
    last = "no@blocked.invalid"
    rows = [f'n{at} NAPTR 1 1 "" "" "" n{at + 1}' for at in range(1, hops)]
    text = "\n".join(
        [
            "$ORIGIN e164.arpa.\n$TTL 1",
            f'{OWNER} NAPTR 1 1 "" "" "" n1',
            *rows,
            f'n{hops} NAPTR 1 1 "u" "E2U+sip" "!^.*$!sip:{last}!" .',
        ]
    )
    zone = parse_zone(text)
    [entry] = zone_entries(zone, posix)
    clients = {"strict": STRICT, "unsaid": replace(STRICT, max_hops=None)}
    [found] = lint([replace(entry, ordered=Decision.TERMINATE)], clients, posix, zone.lookup)

    assert found.predictions[0].verdict is verdict
    assert found.predictions[1].verdict is (UNKNOWN if verdict is STOPS else THROUGH)


def test_a_zone_means_a_terminate_where_it_says_void_and_nothing_else(posix: PosixRegex) -> None:
    """A record that allows beside it, or before a sentinel, is what the owner orders."""
    void = 'NAPTR 10 10 "u" "E2U+void:mailto" "!^.*$!mailto:a@b.example!" .'
    stop = 'NAPTR 30 10 "u" "E2U+sip" "!^.*$!sip:no@blocked.invalid!" .'
    allow = 'NAPTR 20 10 "u" "E2U+sip" "!^(.*)$!sip:\\\\1@x!" .'
    rows = {"1": [void], "2": [void, allow], "3": [allow, stop]}
    lines = [f"{owner} {row}" for owner, listed in rows.items() for row in listed]
    zone = parse_zone("\n".join(["$ORIGIN e164.arpa.\n$TTL 1", *lines]))

    assert [one.ordered for one in zone_entries(zone, posix)] == ["terminate", "allow", "allow"]


def test_a_zone_is_looked_up_as_a_server_does() -> None:
    """DNAME, CNAME, wildcards below the closest name that is there, and what is elsewhere."""
    record = 'NAPTR 1 1 "u" "E2U+sip" "!^.*$!sip:a!" .'
    text = (
        f"$ORIGIN x.example.\n$TTL 1\na {record}\n*.wild {record}\nb.wild TXT t\n"
        "c CNAME a\nround CNAME again\nagain CNAME round\nout CNAME other.example.\n"
        "tree DNAME x.example.\ndeep.er TXT t\n"
    )
    zone = parse_zone(text)
    held = zone.lookup("a.x.example")

    assert held is not None
    assert len(held) == 1
    found = {"a", "C", "1.wild", "1.2.wild", "a.tree", "c.tree", "1.wild.tree"}
    none = {"b.wild", "1.b.wild", "tree", "round", "er", "1.er", "nothing", "wild"}
    assert {name: zone.lookup(f"{name}.x.example.") for name in found} == dict.fromkeys(found, held)
    assert {name: zone.lookup(f"{name}.x.example") for name in none} == dict.fromkeys(none, ())
    assert zone.lookup("out.x.example") is None
    assert zone.lookup("x.example.net") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 60 NAPTR 1 1", "neither \\$ORIGIN nor --origin"),
        ("$ORIGIN a.\n1 60 NAPTR 1", "not a zone file: .*:2:"),
        ("$ORIGIN a.\n$INCLUDE /etc/passwd\n", "not a zone file"),
        ("\x00", "neither|not a zone file"),
    ],
)
def test_what_is_no_zone_is_refused_with_its_line(text: str, why: str) -> None:
    """One error; nothing is read from other files."""
    with pytest.raises(InputError, match=why):
        parse_zone(text, "zone")


@pytest.mark.parametrize(
    ("owner", "number"),
    [
        (f"{OWNER}.e164.arpa", "16505550112"),
        ("*.0.2.4.4.x", "44201234567"),
        ("*.e164.arpa", None),
        ("0.0.e164.arpa", None),
        ("stop.e164.arpa", None),
        (".".join("1" * 16), None),
    ],
)
def test_an_owner_name_is_a_number_or_none(owner: str, number: str | None) -> None:
    """Single digits up to the apex, whatever that is; a wildcard is filled up."""
    found = number_of(owner)
    assert (None if found is None else found.digits) == number


@pytest.mark.parametrize(
    ("pattern", "number"),
    [
        ("any", "16505550112"),
        ("+*", "16505550112"),
        ("+1650*", "16501234567"),
        ("+442079460*", "44207946012"),
        ("+123456789012345*", "123456789012345"),
        ("+16505550199", "16505550199"),
        ("+0*", None),
        ("anonymous", None),
        ("absent", None),
        ("1001", None),
    ],
)
def test_a_pattern_has_a_number_that_it_fits(pattern: str, number: str | None) -> None:
    """Never more than 15 digits, and none for patterns of callers."""
    found = sample(pattern)
    assert (None if found is None else found.digits) == number


def test_a_record_is_read_from_a_zones_text_or_as_a_bare_expression() -> None:
    """Two backslashes in the one, one in the other."""
    assert parse_record(rf'10 100 "u" "E2U+sip" "{ALLOW}" .'.replace("\\1", "\\\\1")).regexp == (
        parse_record(ALLOW).regexp
    )
    for wrong in ("", "10", "10 100 u", "99999 1 u x y ."):
        with pytest.raises(InputError, match="no NAPTR record"):
            parse_record(wrong)


@pytest.mark.parametrize("name", shipped_clients())
def test_every_value_of_a_shipped_client_has_a_source(name: str) -> None:
    """The file is the client's own, and strict is what the RFCs say."""
    client = shipped_client(name)

    assert client.name == name
    assert set(client.source).isdisjoint(client.naptr.unknown)
    assert all(text.strip() for text in client.source.values())
    assert (client.naptr == STRICT) == (name == "strict")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name = 1", "name"),
        ('name = "a"\ntitle = "b"\n[naptr]\nnew_form = true', "no source for new_form"),
        ('name = "a"\ntitle = "b"\n[source]\nnew_form = "x"', "which \\[naptr\\] does not have"),
        ('name = "a"\ntitle = "b"\n[naptr]\nregex = "perl"', "naptr.regex = 'perl'"),
        ('name = "a"\ntitle = "b"\n[naptr]\nmax_hops = 999', "naptr.max_hops = 999: not 0 to"),
        ('name = "a"\ntitle = "b"\n[naptr]\nmax_hops = "2"', "naptr.max_hops"),
        ('name = "a"\ntitle = "b"\nmore = 1', "more"),
    ],
)
def test_a_client_file_with_a_mistake_is_refused(text: str, why: str) -> None:
    """File, field and value are named."""
    with pytest.raises(InputError, match=why) as caught:
        parse_client(text, "c.toml")
    assert str(caught.value).startswith("c.toml")


def test_no_such_client_names_those_that_are_there() -> None:
    """A misspelt name is easily mended."""
    with pytest.raises(InputError, match="there are asterisk, cisco"):
        shipped_client("asterix")


@pytest.mark.parametrize(
    ("name", "not_obeyed"),
    [
        ("allow-all", []),
        ("three-actions", []),
        ("closed-hours", ["default", "hidden"]),  # answered with NXDOMAIN
        ("two-records", ["unused"]),  # E2U+unused, which no RFC knows
    ],
)
def test_a_strict_client_obeys_the_shipped_policies_but_here(
    posix: PosixRegex, name: str, not_obeyed: list[str]
) -> None:
    """Each entry is decided as the policy orders it, except where no record says so."""
    path = ROOT / "fixtures" / "policies" / f"{name}.toml"
    found = linted(path.read_text(encoding="utf-8"), posix, "strict")

    assert not_obeyed == [
        one.entry.name
        for one in found.values()
        if one.predictions[0].decisions != (one.entry.ordered,)
    ]


def test_an_empty_zone_has_no_entry(posix: PosixRegex) -> None:
    """No number, nothing to say."""
    assert zone_entries(EnumZone({}, {}, {}, frozenset(), ""), posix) == ()
