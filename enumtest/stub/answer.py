"""What the stub ENUM server sends back: the policy's ruling, then the faults, as values.

    octets ─▶ header ─▶ query ─▶ ruling ─▶ response ─▶ faults in order ─▶ sends
              │none      │FORMERR
              ▼          ▼
            nothing    header only

Laws: any octets give sends and a note, never an exception; a response is never answered (two
servers would talk for ever); every answer over UDP fits what the client said it can take.

Sources: RFC 1035, RFC 6891 section 6 and 7 (EDNS), RFC 6116 (ENUM), RFC 7766 (TCP).
"""

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from enumtest.dns.message import (
    Query,
    encode_answer,
    encode_refusal,
    parse_query,
)
from enumtest.dns.source_name import NO_NAMING, SourceNaming, parse_name
from enumtest.dns.source_uri import decode
from enumtest.dns.wire import HEADER_BYTES, parse_header
from enumtest.stub.faults import (
    Delay,
    Fault,
    Garbled,
    Instead,
    PortClosed,
    Rcode,
    Silence,
    Truncated,
    WrongId,
    kind,
)
from enumtest.stub.policy import Policy, Ruling
from harness.errors import InputError, WireError
from harness.number import ENUM_APEX, PhoneNumber

PLAIN_UDP_BYTES = 512  # RFC 1035 section 4.2.1, for a client without EDNS
MAX_UDP_BYTES = 65_507  # what one IPv4 datagram holds
NS_PER_MS = 1_000_000
BAD_LABEL = 0x80  # a label type that RFC 1035 keeps for later: no name starts with it


class Transport(StrEnum):
    """How a message came."""

    UDP = "udp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a server is at one moment; `count` is the number of this query since its faults."""

    policy: Policy
    apex: str = ENUM_APEX
    naming: SourceNaming = NO_NAMING
    faults: tuple[Fault, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True)
class Send:
    """A message to send, *delay_ns* from now."""

    payload: bytes
    delay_ns: int = 0


@dataclass(frozen=True, slots=True)
class AnswerNote:
    """Why the server answered as it did, for the log and for people."""

    at_ns: int  # monotonic
    rcode: str  # as ruled, before faults; "" when nothing could be answered
    rule: str = ""  # "" when no rule was asked
    action: str = ""
    source: str | None = None  # None: the query names no caller
    number: PhoneNumber | None = None
    faults: tuple[str, ...] = ()  # the faults that this query met
    remark: str = ""
    carried: str = ""  # how the source came, such as "option 4, raw"


@dataclass(frozen=True, slots=True)
class _Response:
    """A response before it is octets."""

    rcode: str
    ruling: Ruling | None = None

    def encode(self, query: Query, *, truncated: bool = False) -> bytes:
        ruling = None if truncated else self.ruling
        return encode_answer(
            query,
            self.rcode,
            () if ruling is None else ruling.records,
            ttl_s=0 if ruling is None else ruling.ttl_s,
            truncated=truncated,
        )


def answer(
    data: bytes, *, transport: Transport, server: ServerState, now_ns: int
) -> tuple[tuple[Send, ...], AnswerNote]:
    """Return what to send for the message *data*, and why."""
    try:
        header = parse_header(data)
    except WireError as error:
        return (), AnswerNote(now_ns, "", remark=str(error))
    if header.is_response:
        return (), AnswerNote(now_ns, "", remark="a response; not answered")
    if header.opcode != "QUERY":
        refusal = (Send(encode_refusal(header, "NOTIMP")),)
        return refusal, AnswerNote(now_ns, "NOTIMP", remark=f"operation {header.opcode}")
    try:
        query = parse_query(data)
    except WireError as error:
        refusal = (Send(encode_refusal(header, "FORMERR")),)
        return refusal, AnswerNote(now_ns, "FORMERR", remark=str(error))
    response, note = _ruled(query, server, now_ns)
    met = tuple(fault for fault in server.faults if _picks(fault, server.count))
    kinds = tuple(kind(fault) for fault in met if not isinstance(fault, Instead))
    note = replace(note, faults=note.faults + kinds)
    return _sends(query, transport, response, met, server.count), note


def _picks(fault: Fault, count: int) -> bool:
    return isinstance(fault, PortClosed) or fault.when.picks(count)


def _ruled(query: Query, server: ServerState, now_ns: int) -> tuple[_Response, AnswerNote]:
    """Return the answer that the policy gives, with any `Instead` among the faults in force."""
    if query.edns is not None and query.edns.version != 0:
        return _plain("BADVERS", now_ns, f"EDNS version {query.edns.version}")
    apex = server.naming.root_of(query.qname, server.apex)
    if query.qclass != "IN" or not f".{query.qname}".endswith(f".{apex}"):
        return _plain("REFUSED", now_ns, f"not under {apex}")
    if query.qname == apex:
        return _plain("NOERROR", now_ns, "the apex itself")
    try:
        number, named = parse_name(query.qname, server.apex, server.naming)
    except InputError as error:
        return _plain("NXDOMAIN", now_ns, str(error))
    source, carried, remark = _source(query, named, server.policy)
    meant = server.policy.decide(source, number)
    ruling = _instead(meant, source, server)
    action, met = ruling.action.value, () if ruling is meant else ("instead",)
    note = AnswerNote(
        now_ns, ruling.rcode, ruling.rule, action, source, number, met, remark, carried
    )
    if query.qtype not in ("NAPTR", "ANY"):
        rcode = "NXDOMAIN" if ruling.rcode == "NXDOMAIN" else "NOERROR"
        return _Response(rcode), replace(note, rcode=rcode, remark=f"no {query.qtype} here")
    return _Response(ruling.rcode, ruling), note


def _plain(rcode: str, now_ns: int, remark: str) -> tuple[_Response, AnswerNote]:
    return _Response(rcode), AnswerNote(now_ns, rcode, remark=remark)


def _source(query: Query, named: str | None, policy: Policy) -> tuple[str | None, str, str]:
    """Return the calling party of *query*, how it came, and a remark when it cannot be read.

    *named* is what the name says; an option says more, and so it counts.
    """
    from_name = (named, "" if named is None else "name")
    if query.edns is None:
        return *from_name, ""
    try:
        option = decode(query.edns.options)
    except InputError as error:
        return *from_name, str(error)
    if option is None:
        return *from_name, ""
    return policy.caller(option.uri), option.how, ""


def _instead(ruling: Ruling, source: str | None, server: ServerState) -> Ruling:
    """Return *ruling* as the first policy defect among the faults turns it."""
    for fault in server.faults:
        if (
            isinstance(fault, Instead)
            and fault.action is ruling.action
            and fault.when.picks(server.count)
        ):
            return server.policy.ruling(fault.instead, ruling.rule, source, fault.to)
    return ruling


def _sends(
    query: Query, transport: Transport, response: _Response, faults: tuple[Fault, ...], count: int
) -> tuple[Send, ...]:
    """Return the response as octets, after each fault in its order."""
    send = Send(_fitted(query, transport, response))
    for fault in faults:
        match fault:
            case PortClosed() | Silence():
                return ()
            case Delay():
                send = replace(send, delay_ns=send.delay_ns + fault.delay_ms * NS_PER_MS)
            case Rcode():
                send = replace(send, payload=_Response(fault.name).encode(query))
            case WrongId():
                other = bytes(octet ^ 0xFF for octet in send.payload[:2])
                send = replace(send, payload=other + send.payload[2:])
            case Truncated():
                if transport is Transport.UDP:
                    send = replace(send, payload=response.encode(query, truncated=True))
            case Garbled():
                send = replace(send, payload=_garbled(send.payload, fault.seed, count))
            case Instead():
                pass  # it has changed the ruling already
            case _:
                assert_never(fault)
    return (send,)


def _fitted(query: Query, transport: Transport, response: _Response) -> bytes:
    """Return *response*, or a truncated one when the client cannot take all of it over UDP."""
    payload = response.encode(query)
    if transport is Transport.TCP:
        return payload
    offered = PLAIN_UDP_BYTES if query.edns is None else query.edns.udp_payload_bytes
    # RFC 6891 section 6.2.3: less than 512 is to be treated as 512.
    if len(payload) <= min(max(offered, PLAIN_UDP_BYTES), MAX_UDP_BYTES):
        return payload
    return response.encode(query, truncated=True)


def _garbled(payload: bytes, seed: int, count: int) -> bytes:
    """Return *payload* with noise after its header; no reader can take it for a message."""
    size = max(len(payload) - HEADER_BYTES, 2)
    noise = hashlib.shake_128(f"{seed} {count}".encode()).digest(size)
    return payload[:HEADER_BYTES] + bytes([BAD_LABEL | noise[0] & 0x3F]) + noise[1:]
