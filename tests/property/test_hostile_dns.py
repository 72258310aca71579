"""Any octets give a value or a WireError; any query gives an answer that a second reader takes."""

import json
from collections.abc import Callable
from pathlib import Path

import dns.exception
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enumtest.dns.message import (
    Edns,
    Query,
    encode_answer,
    encode_query,
    number_from_qname,
    parse_answer,
    parse_query,
)
from enumtest.dns.source_uri import Framing, SourceOption, decode, encode
from enumtest.naptr.naptr import NaptrRecord
from enumtest.stub.answer import ServerState, Transport, answer
from enumtest.stub.control import parse_request
from enumtest.stub.faults import (
    Delay,
    Garbled,
    Instead,
    PortClosed,
    Rcode,
    Selector,
    Silence,
    Truncated,
    WrongId,
    parse_faults,
)
from enumtest.stub.policy import Action, parse_policy
from harness.errors import InputError, WireError
from harness.number import PhoneNumber

POLICY = parse_policy(
    (Path(__file__).parent.parent.parent / "fixtures/policies/three-actions.toml").read_text(
        "utf-8"
    )
)
QUERY = encode_query(
    0x1234, "2.1.1.0.5.5.5.0.5.6.1.e164.arpa", source=SourceOption("sip:+12125550166@a.example")
)
ANSWER = encode_answer(
    parse_query(QUERY), "NOERROR", (NaptrRecord(1, 1, "u", "E2U+sip", "!^.*$!sip:x@y!"),) * 2
)

numbers = st.from_regex(r"[1-9][0-9]{0,14}", fullmatch=True).map(PhoneNumber)
selectors = st.builds(Selector, st.integers(1, 4), st.integers(0, 4))
faults = st.one_of(
    st.just(PortClosed()),
    st.builds(Silence, selectors),
    st.builds(Delay, st.integers(0, 1000), selectors),
    st.builds(Rcode, st.sampled_from(["SERVFAIL", "REFUSED", "FORMERR", "NXDOMAIN"]), selectors),
    st.builds(WrongId, selectors),
    st.builds(Truncated, selectors),
    st.builds(Garbled, st.integers(), selectors),
    st.just(Instead(Action.TERMINATE, Action.ALLOW)),
)
servers = st.builds(
    ServerState,
    st.just(POLICY),
    faults=st.lists(faults, max_size=4).map(tuple),
    count=st.integers(1, 10),
)
options = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=60)), max_size=4).map(tuple)


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return *whole* with some octets changed, and perhaps cut or with a tail."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) + draw(st.binary(max_size=8))


hostile = st.one_of(st.binary(max_size=300), mutated(QUERY), mutated(ANSWER))


def refusal(parse: Callable[[], object]) -> InputError | None:
    """Return the InputError of *parse*, or None when it gave a value; all else escapes."""
    try:
        parse()
    except InputError as error:
        return error
    return None


@given(data=hostile)
def test_a_query_is_a_value_or_a_wire_error(data: bytes) -> None:
    """Nothing else escapes, and the offset lies within the octets or at their end."""
    error = refusal(lambda: parse_query(data))

    assert isinstance(error, WireError | None)
    assert error is None or 0 <= error.offset_bytes <= len(data)


@given(data=hostile)
def test_an_answer_is_a_value_or_a_wire_error(data: bytes) -> None:
    """Nothing else escapes, and the offset lies within the octets or at their end."""
    error = refusal(lambda: parse_answer(data).naptr)

    assert isinstance(error, WireError | None)
    assert error is None or 0 <= error.offset_bytes <= len(data)


@given(data=hostile, transport=st.sampled_from(Transport), server=servers)
def test_the_server_has_an_answer_or_none_for_any_octets(
    data: bytes, transport: Transport, server: ServerState
) -> None:
    """Any octets, transport and faults: sends and a note, and never an answer to an answer."""
    sends, _ = answer(data, transport=transport, server=server, now_ns=0)

    assert len(sends) <= 1
    assert not sends or len(data) >= 12
    assert not sends or not data[2] & 0x80


@given(data=hostile, transport=st.sampled_from(Transport))
def test_what_a_sound_server_sends_is_sound(data: bytes, transport: Transport) -> None:
    """A second reader, dnspython, takes every answer of a server without faults."""
    sends, _ = answer(data, transport=transport, server=ServerState(POLICY), now_ns=0)

    for send in sends:
        theirs = dns.message.from_wire(send.payload)
        assert theirs.id == int.from_bytes(data[:2])
        assert transport is Transport.TCP or len(send.payload) <= 65_507


@given(data=hostile)
def test_we_read_every_answer_that_dnspython_reads(data: bytes) -> None:
    """For NAPTR answers with one question, ours is not the stricter reader of the two."""
    response = data[:2] + bytes([data[2] | 0x80]) + data[3:] if len(data) > 2 else data
    try:
        theirs = dns.message.from_wire(response)
    except (dns.exception.DNSException, ValueError):
        return
    if len(theirs.question) != 1 or theirs.opcode() != 0:
        return
    ours = parse_answer(response)

    assert ours.id == theirs.id
    assert ours.rcode == dns.rcode.to_text(theirs.rcode()) or ours.rcode.startswith("RCODE")


@given(
    number=numbers,
    size=st.integers(0, 0xFFFF),
    version=st.integers(0, 255),
    sent=options,
    dnssec_ok=st.booleans(),
)
def test_a_query_reads_back_as_it_was_encoded(
    number: PhoneNumber,
    size: int,
    version: int,
    sent: tuple[tuple[int, bytes], ...],
    dnssec_ok: bool,
) -> None:
    """Number, size, version and options survive the wire."""
    edns = Edns(size, version, sent, dnssec_ok)
    found: Query = parse_query(encode_query(7, number.enum_domain(), edns=edns))

    assert (found.edns, found.trailing_bytes) == (edns, 0)
    assert number_from_qname(found.qname, "e164.arpa") == number


@given(
    records=st.lists(
        st.builds(
            NaptrRecord,
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFF),
            *(st.text(st.characters(max_codepoint=255), max_size=255) for _ in range(3)),
        ),
        max_size=6,
    ).map(tuple)
)
def test_records_of_any_octets_survive_the_wire(records: tuple[NaptrRecord, ...]) -> None:
    """However hostile a string is, it comes back octet for octet."""
    found = parse_answer(encode_answer(parse_query(QUERY), "NOERROR", records, ttl_s=9))

    assert found.naptr == records


@given(found=options)
def test_options_give_a_caller_or_none_or_an_input_error(
    found: tuple[tuple[int, bytes], ...],
) -> None:
    """Nothing else escapes; what is found is written back the same."""
    try:
        option = decode(found)
    except InputError:
        assert any(code == 4 for code, _ in found)
    else:
        assert option is None or (option.code, encode(option)) in found


@given(
    text=st.from_regex(r"(sip|tel):[!-~]{1,40}", fullmatch=True), framing=st.sampled_from(Framing)
)
def test_a_caller_survives_each_framing(text: str, framing: Framing) -> None:
    """Encoded and decoded, the URI is the same (a raw option keeps its own framing)."""
    code = 4 if framing is Framing.RAW else 65001
    option = SourceOption(text, framing, code)

    assert decode([(code, encode(option))]) == option


@pytest.mark.parametrize("parse", [parse_policy, parse_faults])
@given(text=st.text(max_size=200))
def test_a_file_of_any_text_is_read_or_refused(parse: Callable[[str], object], text: str) -> None:
    """A policy or fault file gives a value or an InputError, never else."""
    error = refusal(lambda: parse(text))

    assert "\n" not in str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=8,
)
verbs = st.sampled_from(["set_faults", "install", "uninstall", "status", "x"])


@given(
    line=st.binary(max_size=100)
    | st.builds(lambda v, c: json.dumps({v: c}).encode(), verbs, json_values)
)
def test_a_request_of_any_octets_is_read_or_refused(line: bytes) -> None:
    """The control protocol gives a request or an InputError, never else."""
    error = refusal(lambda: parse_request(line))

    assert str(error)
