"""SIP packets at an SBC become calls, and what became of them."""

from dataclasses import dataclass, field

import pytest

from harness.dialplan import DialPlan
from harness.packets.capture import parse
from harness.packets.frame import Endpoint, decode, encode_udp
from harness.records import CallOutcome, CallRecord, Direction
from probetest.calls.at_sbc import NIL_SESSION, read_calls
from probetest.sip.message import encode_request, encode_response
from tests.enum_wire import MS, capture_bytes

SBC = Endpoint("192.0.2.10", 5060)
CALLER = Endpoint("192.0.2.30", 5060)
CALLEE = Endpoint("192.0.2.20", 5060)
PLAN = DialPlan("main", "1", ("011",), "1")
DIALLED, ELSEWHERE, SOURCE = "+12125550110", "+12125550150", "+16505550100"
SESSION = "0123456789abcdef0123456789abcdef"


@dataclass
class Wire:
    """Packets in order, 10 ms apart."""

    packets: list[tuple[Endpoint, Endpoint, bytes]] = field(default_factory=list)

    def invite(  # noqa: PLR0913 - an INVITE has these parts
        self,
        source: Endpoint,
        to: Endpoint,
        user: str,
        call_id: str = "a",
        *,
        session: str = SESSION,
        cseq: int = 1,
        branch: str = "",
        to_tag: str = "",
        extra: tuple[tuple[str, str], ...] = (),
    ) -> "Wire":
        """Add an INVITE to *user*; return itself."""
        branch = branch or f"z9hG4bK-{call_id}-{cseq}"
        headers = _headers(source, user, call_id, branch, to_tag=to_tag)
        headers += [("CSeq", f"{cseq} INVITE"), *extra]
        if session:
            headers.append(("Session-ID", f"{session};remote={NIL_SESSION}"))
        message = encode_request("INVITE", f"sip:{user}@{to}", headers)
        self.packets.append((source, to, message))
        return self

    def status(  # noqa: PLR0913 - a response has these parts
        self,
        source: Endpoint,
        to: Endpoint,
        status: int,
        call_id: str = "a",
        *,
        cseq: int = 1,
        contact: str = "",
        method: str = "INVITE",
        branch: str = "",
    ) -> "Wire":
        """Add a response; return itself."""
        branch = branch or f"z9hG4bK-{call_id}-{cseq}"
        headers = _headers(to, DIALLED, call_id, branch, to_tag="t")
        headers.append(("CSeq", f"{cseq} {method}"))
        if contact:
            headers.append(("Contact", contact))
        self.packets.append((source, to, encode_response(status, "x", headers)))
        return self

    def call(self, user: str = DIALLED, call_id: str = "a", **parts: object) -> "Wire":
        """Add an INVITE from the caller."""
        return self.invite(CALLER, SBC, user, call_id, **parts)  # type: ignore[arg-type]

    def onward(self, user: str = DIALLED, call_id: str = "b", **parts: object) -> "Wire":
        """Add the INVITE that the SBC sends on."""
        return self.invite(SBC, CALLEE, user, call_id, **parts)  # type: ignore[arg-type]

    def answered(self, status: int = 200, call_id: str = "b", **parts: object) -> "Wire":
        """Add the callee's response to the SBC."""
        return self.status(CALLEE, SBC, status, call_id, **parts)  # type: ignore[arg-type]

    def told(self, status: int = 200, call_id: str = "a", **parts: object) -> "Wire":
        """Add the SBC's response to the caller."""
        return self.status(SBC, CALLER, status, call_id, **parts)  # type: ignore[arg-type]

    def calls(self) -> tuple[CallRecord, ...]:
        """Return what is read."""
        frames = [
            (at * 10 * MS, encode_udp(source, to, message))
            for at, (source, to, message) in enumerate(self.packets)
        ]
        return read_calls(decode(parse(capture_bytes(frames))), (SBC,), PLAN)

    def only(self) -> CallRecord:
        """Return the one call."""
        (found,) = self.calls()
        return found


def _headers(
    source: Endpoint, user: str, call_id: str, branch: str, *, to_tag: str
) -> list[tuple[str, str]]:
    return [
        ("Via", f"SIP/2.0/UDP {source};branch={branch}"),
        ("From", f"<sip:{SOURCE}@{source.address}>;tag=f"),
        ("To", f"<sip:{user}@192.0.2.10>" + (f";tag={to_tag}" if to_tag else "")),
        ("Call-ID", call_id),
    ]


def ended(found: CallRecord) -> tuple[CallOutcome, str, int]:
    return found.outcome, found.target, found.status


def test_call_through_a_back_to_back_user_agent_is_joined_by_its_session() -> None:
    """Two Call-IDs, one Session-ID: offered, sent on, answered."""
    found = Wire().call().told(100).onward().answered(180).answered().told().only()

    assert ended(found) == (CallOutcome.ALLOWED, DIALLED, 200)
    assert (found.frames, found.frame, found.call_id) == ((1, 3, 6), 1, "a")
    assert (found.source, found.destination) == (SOURCE, DIALLED)
    assert found.direction is Direction.UNKNOWN


def test_call_through_a_proxy_is_joined_by_its_call_id() -> None:
    """No Session-ID, one Call-ID on both sides, another branch."""
    wire = Wire().call(session="").onward(call_id="a", session="", branch="z9hG4bK-p")
    found = wire.answered(call_id="a", branch="z9hG4bK-p").told().only()

    assert ended(found) == (CallOutcome.ALLOWED, DIALLED, 200)


@pytest.mark.parametrize("session", [SESSION.upper(), f"{SESSION} "])
def test_session_is_compared_by_its_first_part_without_case(session: str) -> None:
    """The remote half differs from leg to leg (RFC 7989)."""
    found = Wire().call().onward(session=session).answered().told().only()

    assert found.outcome is CallOutcome.ALLOWED


def test_unknown_session_joins_nothing() -> None:
    """The nil value is no identifier: two calls that have it are two calls."""
    wire = Wire().call(session=NIL_SESSION).call(ELSEWHERE, "c", session=NIL_SESSION)
    one, two = wire.onward(session=NIL_SESSION).answered().told().told(call_id="c").calls()

    assert (one.outcome, two.outcome) == (CallOutcome.NONE, CallOutcome.NONE)


def test_retransmitted_invite_is_one_call() -> None:
    """On both legs: the same branch again is no new leg."""
    wire = Wire().call().call().onward().onward().answered().told().told()
    found = wire.only()

    assert ended(found) == (CallOutcome.ALLOWED, DIALLED, 200)
    assert found.frames == (1, 3, 6)


def test_challenged_call_is_one_call_with_its_second_end() -> None:
    """407, then the INVITE with credentials: the challenge is not the end."""
    wire = Wire().call().told(407).call(cseq=2).onward().answered().told(cseq=2)

    assert ended(wire.only()) == (CallOutcome.ALLOWED, DIALLED, 200)


def test_challenge_alone_is_no_termination() -> None:
    """The caller did not come again: nobody knows what the policy would have done."""
    assert ended(Wire().call().told(401).only()) == (CallOutcome.NONE, "", 401)


@pytest.mark.parametrize("status", [403, 404, 480, 486, 503, 603])
def test_call_refused_and_never_sent_on_is_terminated(status: int) -> None:
    """Whatever the SBC says."""
    assert ended(Wire().call().told(status).only()) == (CallOutcome.TERMINATED, "", status)


@pytest.mark.parametrize("status", [403, 486, 487, 603])
def test_call_refused_after_it_was_sent_on_is_not_terminated(status: int) -> None:
    """It went to the dialled destination; who refused it is not known."""
    found = Wire().call().onward().answered(status).told(status).only()

    assert ended(found) == (CallOutcome.NONE, DIALLED, status)


@pytest.mark.parametrize("user", [DIALLED, "12125550110", "2125550110"])
def test_refused_call_is_not_terminated_when_an_unknown_leg_went_to_its_number(user: str) -> None:
    """An SBC without Session-ID: the call may well have reached the dialled party."""
    found = Wire().call(session="").onward(user, session="").answered(603).told(603).only()

    assert ended(found) == (CallOutcome.NONE, "", 603)


def test_refused_call_is_not_terminated_when_an_unknown_leg_left_meanwhile() -> None:
    """To another number, such as voice mail: it may be this call's, and nobody can say."""
    found = Wire().call(session="").onward(ELSEWHERE, session="").told(603).only()

    assert ended(found) == (CallOutcome.NONE, "", 603)


def test_leg_of_another_call_is_no_suspicion() -> None:
    """It is joined to the call that it belongs to."""
    wire = Wire().call().call(ELSEWHERE, "c", session="9" * 32)
    one, _ = wire.onward(ELSEWHERE, "d", session="9" * 32).told(603).calls()

    assert one.outcome is CallOutcome.TERMINATED


def test_place_and_parties_of_the_onward_legs_are_kept() -> None:
    """Where the call went, whom it rang, whether anybody took it, and when."""
    wire = Wire().call().onward().onward(ELSEWHERE, "d").answered(200, "d").told()
    found = wire.only()

    assert (found.target, found.target_endpoint) == (ELSEWHERE, str(CALLEE))
    assert (found.rang, found.taken) == ((DIALLED, ELSEWHERE), True)
    assert found.routed_ns == found.at_ns + 10 * MS
    assert found.final_ns == found.at_ns + 40 * MS


def test_call_that_went_nowhere_has_no_place() -> None:
    """Refused at once: routed when it was refused."""
    found = Wire().call().told(603).only()

    assert (found.target_endpoint, found.rang, found.taken) == ("", (), False)
    assert found.routed_ns == found.final_ns == found.at_ns + 10 * MS


def test_unknown_leg_before_the_call_or_after_its_end_is_no_suspicion() -> None:
    """It can't be this call's."""
    wire = Wire().onward(call_id="x", session="").call(session="").told(603)
    found = wire.onward(call_id="y", session="", branch="z9hG4bK-y").only()

    assert found.outcome is CallOutcome.TERMINATED


def test_answered_call_without_a_known_leg_has_no_outcome() -> None:
    """Never guessed from time and number: who answered is not known."""
    found = Wire().call(session="").onward(session="").answered().told().only()

    assert ended(found) == (CallOutcome.NONE, "", 200)


@pytest.mark.parametrize("user", [ELSEWHERE, f"{ELSEWHERE};npdi", "2125550150"])
def test_call_answered_at_another_number_is_redirected(user: str) -> None:
    """The onward INVITE names where it went, in any spelling."""
    found = Wire().call().onward(user).answered().told().only()

    assert ended(found) == (CallOutcome.REDIRECTED, ELSEWHERE, 200)


@pytest.mark.parametrize("user", ["12125550110", "2125550110", f"{DIALLED};npdi", "%2B12125550110"])
def test_dialled_number_in_another_spelling_is_the_same_party(user: str) -> None:
    """National form, parameters and escapes do not make a redirection."""
    assert Wire().call().onward(user).answered().told().only().outcome is CallOutcome.ALLOWED


def test_call_that_rolled_over_is_where_it_was_answered() -> None:
    """Sent to the dialled party, refused there, answered at another number."""
    wire = Wire().call().onward().answered(503)
    wire.onward(ELSEWHERE, "d").answered(200, "d").told()

    assert ended(wire.only()) == (CallOutcome.REDIRECTED, ELSEWHERE, 200)


def test_forked_call_is_where_it_was_answered() -> None:
    """Two legs at once; the 2xx says which one counts, not the order of sending."""
    wire = Wire().call().onward().onward(ELSEWHERE, "d").answered(200, "b").told()

    assert ended(wire.only()) == (CallOutcome.ALLOWED, DIALLED, 200)


@pytest.mark.parametrize(
    ("contact", "outcome", "target"),
    [
        (f"<sip:{ELSEWHERE}@192.0.2.99>;q=1", CallOutcome.REDIRECTED, ELSEWHERE),
        (f'"Desk, front" <sip:{ELSEWHERE}@192.0.2.99>', CallOutcome.REDIRECTED, ELSEWHERE),
        (f"sip:{DIALLED}@192.0.2.99", CallOutcome.ALLOWED, DIALLED),
        ("", CallOutcome.NONE, ""),
    ],
)
def test_redirecting_response_names_the_new_party(
    contact: str, outcome: CallOutcome, target: str
) -> None:
    """302 with Contact; without one it says nothing."""
    assert ended(Wire().call().told(302, contact=contact).only()) == (outcome, target, 302)


def test_redirecting_response_counts_also_after_the_call_was_sent_on() -> None:
    """The dialled party moved: it never answered."""
    contact = f"<sip:{ELSEWHERE}@192.0.2.99>"
    found = Wire().call().onward().answered(302).told(302, contact=contact).only()

    assert ended(found) == (CallOutcome.REDIRECTED, ELSEWHERE, 302)


@pytest.mark.parametrize("status", [100, 180, 183, 199])
def test_provisional_response_is_no_end(status: int) -> None:
    """Ringing is not answered."""
    assert ended(Wire().call().told(status).only()) == (CallOutcome.NONE, "", 0)


def test_first_final_response_counts() -> None:
    """A second one is a retransmission, or an error of the SBC."""
    found = Wire().call().told(603).told(200).only()

    assert (found.status, found.frames) == (603, (1, 2))


def test_response_to_another_request_is_no_end() -> None:
    """BYE has its own 200."""
    assert Wire().call().told(200, method="BYE").only().status == 0


def test_response_may_go_to_another_port_of_the_caller() -> None:
    """The Via says where, which need not be where the INVITE came from."""
    other = Endpoint(CALLER.address, 5070)
    found = Wire().call().onward().answered().status(SBC, other, 200).only()

    assert found.outcome is CallOutcome.ALLOWED


def test_response_to_somebody_else_is_not_the_callers() -> None:
    """The same Call-ID towards another host."""
    assert Wire().call().status(SBC, CALLEE, 603).only().status == 0


def test_invite_inside_a_dialog_is_no_call() -> None:
    """A To tag: hold, or a session refresh."""
    assert Wire().call(to_tag="t").calls() == ()


def test_calls_of_other_hosts_are_not_looked_at() -> None:
    """Only what the SBC receives and sends."""
    assert Wire().invite(CALLER, CALLEE, DIALLED).status(CALLEE, CALLER, 200).calls() == ()


def test_calls_are_in_order_of_time_and_kept_apart() -> None:
    """Three at once, ended in another order."""
    wire = Wire()
    for at, name in enumerate("abc"):
        wire.call(f"+1212555011{at}", name, session=str(at) * 32)
    found = wire.told(603, "c").told(486, "a").told(480, "b").calls()

    assert [one.status for one in found] == [486, 480, 603]
    assert [one.destination[-1] for one in found] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("extra", "source", "rule"),
    [
        ((), SOURCE, "From"),
        ((("P-Asserted-Identity", "<sip:+442079460123@x>"),), "+442079460123", "P-Asserted"),
        ((("P-Asserted-Identity", '"x, y" <tel:+442079460123>, <sip:a@b>'),), "+442079460123", "P"),
    ],
)
def test_caller_is_the_asserted_one(
    extra: tuple[tuple[str, str], ...], source: str, rule: str
) -> None:
    """The network's word before the caller's own."""
    found = Wire().call(extra=extra).only()

    assert found.source == source
    assert found.source_rule.startswith(rule)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"INVITE",
        b"INVITE sip:x SIP/2.0\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"SIP/2.0 999 x\r\n\r\n",
        b"\x00\xff" * 700,
        Wire().call().packets[0][2].replace(b"Call-ID: a", b"Call-ID: a\r\nCall-ID: b"),
    ],
)
def test_hostile_packet_is_no_call_and_harms_none(payload: bytes) -> None:
    """What does not parse is passed over; the calls beside it stay."""
    wire = Wire().call()
    wire.packets += [(CALLER, SBC, payload), (SBC, CALLER, payload)]

    assert ended(wire.told(603).only()) == (CallOutcome.TERMINATED, "", 603)


@pytest.mark.parametrize("user", ["anonymous", "1001", "911", "%00%0a", "x" * 300])
def test_odd_dialled_party_is_kept_as_text_that_fits_a_table(user: str) -> None:
    """An extension, an emergency call, a hostile name."""
    found = Wire().call(user).told(603).only()

    assert found.outcome is CallOutcome.TERMINATED
    assert found.destination.isprintable()
    assert len(found.destination) <= 80
