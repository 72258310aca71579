"""Who calls and who is called: which header decides, and what is not shown."""

import pytest

from harness.dialplan import DialPlan
from harness.errors import InputError
from harness.premises import Premises
from probetest.calls.parties import PartyReader, decide
from probetest.calls.party_decision import Decision
from probetest.calls.way import way
from probetest.sip.message import SipMessage, parse
from tests.sip_wire import ALICE, BOB, CAROL, Leg

PLAN = DialPlan("main", "1", ("011",), "1", extension_digits=(4,), emergency=("911",))

SITE, UNKNOWN = Premises(PLAN), Premises()


def source(message: SipMessage, site: Premises, *, show_restricted: bool = False) -> Decision:
    """Return who calls."""
    return decide(message, site, show_restricted=show_restricted).source


def destination(message: SipMessage, site: Premises) -> Decision:
    """Return who was dialled."""
    return decide(message, site).destination


def invite(*extra: tuple[str, str], caller: str = "", called: str = "") -> SipMessage:
    """Return an INVITE with more headers."""
    leg = Leg(extra=extra)
    leg = Leg(caller=caller or leg.caller, called=called or leg.called, extra=extra)
    return parse(leg.request())


ASSERTED = ("P-Asserted-Identity", f'"Carol" <sip:{CAROL}@192.0.2.1>')
REMOTE = ("Remote-Party-ID", f"<sip:{BOB}@192.0.2.1>;party=calling;screen=yes;privacy=off")


@pytest.mark.parametrize(
    ("extra", "party", "rule"),
    [
        ((), ALICE, "From: e164 plus"),
        ((REMOTE,), BOB, "Remote-Party-ID: e164 plus"),
        ((REMOTE, ASSERTED), CAROL, "P-Asserted-Identity (no trust list): e164 plus"),
        ((("P-Asserted-Identity", "sip:gateway@192.0.2.1"),), ALICE, "From: e164 plus"),
        (
            (("P-Asserted-Identity", f"<sip:{BOB}@x.example>, <tel:{CAROL}>"),),
            CAROL,
            "P-Asserted-Identity (no trust list): e164 plus",
        ),
        (
            (("Remote-Party-ID", f"<sip:{BOB}@192.0.2.1>;party=called"),),
            ALICE,
            "From: e164 plus",
        ),
    ],
)
def test_the_most_trusted_number_is_the_source(
    extra: tuple[tuple[str, str], ...], party: str, rule: str
) -> None:
    """Asserted before remote before From; the tel URI of two; never the called party's."""
    found = source(invite(*extra), SITE)

    assert (found.text, found.rule) == (party, rule)


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        (
            (ASSERTED, ("Privacy", "critical;id")),
            "P-Asserted-Identity (no trust list): restricted, Privacy: id",
        ),
        (
            (("Remote-Party-ID", f"<sip:{BOB}@192.0.2.1>;privacy=full"),),
            "Remote-Party-ID: restricted, Remote-Party-ID privacy=full",
        ),
    ],
)
def test_who_asked_not_to_be_shown_is_restricted(
    extra: tuple[tuple[str, str], ...], rule: str
) -> None:
    """One row "restricted" for all of them, unless they are asked for."""
    message = invite(*extra)

    assert (source(message, SITE).text, source(message, SITE).rule) == ("restricted", rule)
    assert source(message, SITE, show_restricted=True).text in (BOB, CAROL)


def test_an_anonymous_caller_is_restricted_by_from_alone() -> None:
    """RFC 3323 section 4.1.1.3; Privacy: none changes nothing."""
    anonymous = '"Anonymous" <sip:anonymous@anonymous.invalid>'
    found = source(invite(("Privacy", "none"), caller=anonymous), SITE)

    assert (found.text, found.rule) == ("restricted", "From: restricted")


def test_without_any_number_the_from_is_shown_as_it_is() -> None:
    """Letters do not become digits."""
    found = source(invite(caller="<sip:voi18062@192.0.2.1>"), SITE)

    assert (found.text, found.rule) == ("voi18062", "From: opaque: letters")


def test_the_request_uri_is_dialled_and_to_helps_out() -> None:
    """A binding in the Request-URI is no number: then To has it."""
    assert destination(invite(), SITE).rule == "Request-URI: e164 plus"
    raw = Leg().request().replace(f"sip:{BOB}@192.0.2.20 SIP".encode(), b"sip:x1y@192.0.2.20 SIP")
    found = destination(parse(raw), SITE)

    assert (found.text, found.rule) == (BOB, "To: e164 plus")
    other = destination(invite(called="sip:reception@192.0.2.20"), SITE)
    assert (other.text, other.rule) == ("reception", "Request-URI: opaque: letters")


@pytest.mark.parametrize(
    ("dialled", "text"),
    [(ALICE, ALICE), ("6505550112", "6505550112"), ("1001", "1001"), ("%2B16505550112", ALICE)],
)
def test_without_a_dial_plan_nothing_is_completed(dialled: str, text: str) -> None:
    """National digits and extensions stay as they were dialled."""
    found = destination(invite(called=f"sip:{dialled}@192.0.2.20"), UNKNOWN)

    assert found.text == text


def test_extensions_count_as_the_customers_own() -> None:
    """An extension that calls out is outbound by the numbers, networks or not."""
    message = invite(caller="<sip:1001@192.0.2.1>")
    site = Premises(PLAN, numbers=(CAROL,))
    found, why = way(("192.0.2.10", "192.0.2.20"), decide(message, site), site)

    assert found.value == "outbound"
    assert why == "source is the customer's, destination is not the customer's"


def test_a_response_names_no_caller() -> None:
    """The identity asserted there is that of who was reached (RFC 3325 section 9.1)."""
    response = parse(Leg().response(200, extra=(ASSERTED,)))

    with pytest.raises(InputError, match="a response names no caller"):
        decide(response, SITE)


def test_digits_of_overlap_dialling_come_from_the_longest() -> None:
    """The caller is that of the first INVITE."""
    reader = PartyReader(SITE)
    first, longest = invite(called="sip:+1212@192.0.2.20"), invite(caller=f"<sip:{BOB}@h>")
    found = reader.decide(first, "", longest)

    assert (found.source.text, found.destination.text) == (ALICE, BOB)


def test_what_is_remembered_is_bounded() -> None:
    """Headers that are too long are read each time, and alike."""
    long = invite(("Diversion", f"<sip:{'x' * 3000}@192.0.2.1>"))
    reader = PartyReader(SITE)
    found = reader.decide(long)

    assert found == reader.decide(long)
    assert found is not reader.decide(long)
    assert reader.decide(invite()) is reader.decide(invite())
