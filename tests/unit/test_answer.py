"""What the stub server sends for a query, with and without faults."""

from dataclasses import replace
from pathlib import Path

import pytest

from enumtest.dns.message import Answer, Edns, encode_query, parse_answer
from enumtest.dns.source_uri import SourceOption
from enumtest.naptr.naptr import NaptrRecord
from enumtest.stub.answer import Send, ServerState, Transport, answer
from enumtest.stub.faults import (
    Delay,
    Fault,
    Garbled,
    Instead,
    PortClosed,
    Rcode,
    Selector,
    Silence,
    Truncated,
    WrongId,
)
from enumtest.stub.policy import Action, parse_policy
from harness.errors import WireError
from harness.number import PhoneNumber

POLICY = parse_policy(
    (Path(__file__).parent.parent.parent / "fixtures/policies/three-actions.toml").read_text(
        "utf-8"
    )
)
SERVER = ServerState(POLICY)
CALLED = PhoneNumber("16505550112")
BLOCKED = PhoneNumber("16505550199")
ALLOW = r"!^(.*)$!sip:\1@sbc.example.net!"
TERMINATE = "!^.*$!sip:terminate@blocked.invalid;cause=603!"


def sends(
    data: bytes, *faults: Fault, transport: Transport = Transport.UDP, count: int = 1
) -> tuple[Send, ...]:
    server = replace(SERVER, faults=faults, count=count)
    return answer(data, transport=transport, server=server, now_ns=0)[0]


def only(found: tuple[Send, ...]) -> Answer:
    [send] = found
    return parse_answer(send.payload)


def query(number: PhoneNumber = CALLED, **parts: object) -> bytes:
    return encode_query(0x1234, number.enum_domain(), **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "regexp"),
    [
        (CALLED, ALLOW),
        (BLOCKED, TERMINATE),
        (PhoneNumber("16505550150"), "!^.*$!sip:+16505550100@sbc.example.net!"),
    ],
)
def test_the_policy_rules(number: PhoneNumber, regexp: str) -> None:
    """Allow, terminate and redirect reach the wire as their records."""
    found = only(sends(query(number)))

    assert found.naptr == (NaptrRecord(10, 100, "u", "E2U+sip", regexp),)
    assert (found.rcode, found.authoritative, found.truncated) == ("NOERROR", True, False)


def test_the_source_in_the_query_reaches_the_policy() -> None:
    """A blocked caller is terminated, with TTL 0; the note names caller, rule and action."""
    data = query(source=SourceOption("sip:+12125550166@a.example"))
    [send], note = answer(data, transport=Transport.UDP, server=SERVER, now_ns=7)

    [record] = parse_answer(send.payload).records
    assert (record.naptr.regexp, record.ttl_s) == (TERMINATE, 0)
    assert (note.rule, note.action, note.source, note.number, note.at_ns) == (
        "block-caller",
        "terminate",
        "+12125550166",
        CALLED,
        7,
    )


def test_a_source_that_cannot_be_read_is_remarked() -> None:
    """The call is ruled without a caller, and the note says why."""
    data = query(edns=Edns(1220, options=((4, b"\xff"),)))
    _, note = answer(data, transport=Transport.UDP, server=SERVER, now_ns=0)

    assert (note.source, note.action) == (None, "allow")
    assert "option 4 holds no calling URI" in note.remark


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (encode_query(1, "2.1.1.example.net"), "REFUSED"),
        (encode_query(1, "xe164.arpa"), "REFUSED"),
        (encode_query(1, "."), "REFUSED"),
        (query()[:-1] + b"\x03", "REFUSED"),
        (encode_query(1, "e164.arpa"), "NOERROR"),
        (encode_query(1, "a.1.e164.arpa"), "NXDOMAIN"),
        (encode_query(1, "1.0.e164.arpa"), "NXDOMAIN"),
        (encode_query(1, "1." * 16 + "e164.arpa"), "NXDOMAIN"),
        (query(qtype="A"), "NOERROR"),
        (query(qtype="TYPE65280"), "NOERROR"),
        (query(edns=Edns(1232, version=1)), "BADVERS"),
        (query()[:-1], "FORMERR"),
        (query()[:4] + b"\x00\x02" + query()[6:], "FORMERR"),
        (query()[:2] + b"\x20" + query()[3:], "NOTIMP"),
        (query()[:2] + b"\x7f" + query()[3:], "NOTIMP"),
    ],
)
def test_what_is_no_question_for_the_policy_has_its_return_code(data: bytes, rcode: str) -> None:
    """Another apex, no number, another type, another operation, or malformed."""
    found = only(sends(data))

    assert (found.rcode, found.naptr, found.id) == (rcode, (), int.from_bytes(data[:2]))


@pytest.mark.parametrize("data", [b"", b"\x12\x34", query()[:11], b"\x12\x34\x80" + query()[3:]])
def test_no_answer_to_what_has_no_header_or_is_an_answer(data: bytes) -> None:
    """Nothing to reply to, and two servers must not talk for ever."""
    assert sends(data) == ()


def test_any_type_gets_the_records() -> None:
    """ANY includes NAPTR."""
    assert only(sends(query(qtype="ANY"))).naptr != ()


def test_another_apex_serves_as_well() -> None:
    """The apex is the server's own, in any letter case."""
    server = replace(SERVER, apex="Private.Example.")
    data = encode_query(1, CALLED.enum_domain("private.example"))
    found, note = answer(data, transport=Transport.UDP, server=server, now_ns=0)

    assert only(found).rcode == "NOERROR"
    assert note.number == CALLED


def long_policy(records: int) -> ServerState:
    rows = [{"preference": n, "regexp": f"!^.*$!sip:{n:0>150}@h.example!"} for n in range(records)]
    text = 'default = "allow"\n[actions.allow]\nrecords = ['
    for row in rows:
        text += f'{{ preference = {row["preference"]}, regexp = "{row["regexp"]}" }},'
    return ServerState(parse_policy(text + "]\n"))


@pytest.mark.parametrize(
    ("records", "edns", "transport", "whole"),
    [
        (2, None, Transport.UDP, True),
        (3, None, Transport.UDP, False),
        (3, None, Transport.TCP, True),
        (3, Edns(100), Transport.UDP, False),
        (3, Edns(1220), Transport.UDP, True),
        (32, Edns(1220), Transport.UDP, False),
        (32, Edns(65535), Transport.UDP, True),
    ],
)
def test_an_answer_fits_what_the_client_takes(
    records: int, edns: Edns | None, transport: Transport, whole: bool
) -> None:
    """512 octets without EDNS, else the size offered (512 at least), no limit over TCP."""
    data = query(edns=edns)
    [send], _ = answer(data, transport=transport, server=long_policy(records), now_ns=0)
    found = parse_answer(send.payload)

    assert (not found.truncated, len(found.naptr)) == (whole, records if whole else 0)


def test_silence_is_no_answer() -> None:
    """Neither is a datagram that was under way when the port closed."""
    assert sends(query(), Silence()) == ()
    assert sends(query(), PortClosed()) == ()


def test_delays_add_up() -> None:
    """Two delays, in ns."""
    [send] = sends(query(), Delay(400), Delay(1))

    assert send.delay_ns == 401_000_000
    assert parse_answer(send.payload).naptr != ()


def test_a_return_code_replaces_the_answer() -> None:
    """SERVFAIL repeats the question and has no record."""
    found = only(sends(query(), Rcode("SERVFAIL")))

    assert (found.rcode, found.naptr, found.id) == ("SERVFAIL", (), 0x1234)


def test_a_wrong_id_leaves_the_rest() -> None:
    """Only the id differs, so that only a client that checks it will notice."""
    [right], [wrong] = sends(query()), sends(query(), WrongId())

    assert right.payload[:2] != wrong.payload[:2]
    assert right.payload[2:] == wrong.payload[2:]


def test_truncation_is_for_udp() -> None:
    """TC without records over UDP, everything over TCP."""
    short = only(sends(query(), Truncated()))
    whole = only(sends(query(), Truncated(), transport=Transport.TCP))

    assert (short.truncated, short.naptr) == (True, ())
    assert (whole.truncated, len(whole.naptr)) == (False, 1)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_never_a_message_and_always_the_same(seed: int) -> None:
    """The header is kept, so that the client sees its id; the rest cannot be read."""
    [first], [again] = sends(query(), Garbled(seed)), sends(query(), Garbled(seed))

    assert first == again
    assert first.payload[:2] == b"\x12\x34"
    with pytest.raises(WireError):
        parse_answer(first.payload)


def test_noise_differs_from_query_to_query() -> None:
    """Retransmissions are garbled anew."""
    assert sends(query(), Garbled(1), count=1) != sends(query(), Garbled(1), count=2)


def test_a_defect_of_the_policy_answers_one_action_as_another() -> None:
    """A terminated call is answered as allowed; other calls are as they should be."""
    fault = Instead(Action.TERMINATE, Action.ALLOW)

    assert only(sends(query(BLOCKED), fault)).naptr[0].regexp == ALLOW
    assert only(sends(query(CALLED), fault)).naptr[0].regexp == ALLOW
    [_], note = answer(
        query(BLOCKED),
        transport=Transport.UDP,
        server=replace(SERVER, faults=(fault,)),
        now_ns=0,
    )
    assert (note.rule, note.action, note.faults) == ("block-called", "allow", ("instead",))


def test_a_defect_may_lead_calls_astray() -> None:
    """Allowed calls are redirected to the number of the fault."""
    fault = Instead(Action.ALLOW, Action.REDIRECT, PhoneNumber("16505550188"))

    assert "+16505550188" in only(sends(query(), fault)).naptr[0].regexp


def test_faults_apply_in_their_order() -> None:
    """A return code after a wrong id has the right id again."""
    late = only(sends(query(), WrongId(), Rcode("REFUSED")))
    early = only(sends(query(), Rcode("REFUSED"), WrongId()))

    assert (late.id, late.rcode) == (0x1234, "REFUSED")
    assert (early.id, early.rcode) == (0x1234 ^ 0xFFFF, "REFUSED")


def test_a_selector_spares_the_other_queries() -> None:
    """Every third query is not answered."""
    fault = Silence(Selector(every=3))

    assert [bool(sends(query(), fault, count=n)) for n in range(1, 7)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_the_note_names_the_faults_that_were_met() -> None:
    """Those whose selector picked this query, in the words of the fault file."""
    server = replace(SERVER, faults=(Delay(1), WrongId(Selector(every=2))), count=1)
    _, note = answer(query(), transport=Transport.UDP, server=server, now_ns=0)

    assert note.faults == ("delay",)
