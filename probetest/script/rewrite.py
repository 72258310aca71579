"""A script told otherwise: over IPv6, over TCP, with repetitions, in a loop.

Laws: pure; the calls, their parties and their media stay who and what they are.
"""

import re
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import Any

from harness.errors import InputError
from probetest.script.model import Script, Sip, SipPacket, parse_values
from probetest.script.payload import sip_message

T1_NS = 500_000_000  # RFC 3261 section 17.1.1.2
RESEND_NS = 200_000_000  # the least that TCP of Linux waits
SOON_NS = 1_000_000
_MICROSECOND_NS = 1_000
LOOPS, LOOP_NS = 3, 60 * 10**9
_IPV4 = re.compile(r"\b(\d{1,3}\.){3}(\d{1,3})\b")
_FRONT = "2001:db8::"
_SIP_FIELDS = set(Sip.model_fields)


def over_ipv6(script: Script) -> Script:
    """Return *script* with the addresses 2001:db8::N where it has IPv4 addresses that end in N.

    Raises:
        InputError: hosts that would get one address.
    """
    hosts = {one.address for one in script.participants.values() if ":" not in one.address}
    if len({host.rpartition(".")[2] for host in hosts}) < len(hosts):
        why = "two addresses that end in the same number"
        raise InputError(why, field="participants", value=sorted(hosts))
    values = _values(script)
    bodies = {
        name: _IPV4.sub(rf"{_FRONT}\2", text.replace("IN IP4", "IN IP6"))
        for name, text in values.pop("bodies", {}).items()
    }
    places = {
        name: one | {"address": _IPV4.sub(rf"{_FRONT}\2", one["address"])}
        for name, one in values.pop("participants").items()
    }
    told: dict[str, Any] = _uris(values)
    return parse_values(told | {"bodies": bodies, "participants": places})


def _uris(value: Any) -> Any:  # noqa: ANN401 - whatever a script may hold
    """Return *value* with other addresses in its URIs, which put brackets around them."""
    match value:
        case dict():
            return {key: value[key] if key == "call_id" else _uris(value[key]) for key in value}
        case list() | tuple():
            return [_uris(one) for one in value]
        case str() if "sip" in value:
            return _IPV4.sub(rf"[{_FRONT}\2]", value)
        case _:
            return value


def over_tcp(script: Script) -> Script:
    """Return *script* with its SIP over one TCP connection for each pair of hosts."""
    return tcp_cut(None)(script)


def tcp_cut(every_bytes: int | None, first: int | None = None) -> Callable[[Script], Script]:
    """Return what puts SIP on TCP and cuts messages after so many bytes (None: not at all).

    With *first* only so many messages are cut.
    """

    def change(script: Script) -> Script:
        packets, left = [], first
        for packet, values in _pairs(script):
            if isinstance(packet, SipPacket):
                size = len(sip_message(script, packet, packet, "TCP"))
                step = size if every_bytes is None or left == 0 else every_bytes
                cuts = list(range(step, size, step))
                left = None if left is None else max(0, left - 1)
                packets.append(_on_tcp(values, [values], cuts))
            else:
                packets.append(values)
        return _with(script, [*_handshakes(script), *packets])

    return change


def tcp_joined(script: Script) -> Script:
    """Return *script* with the messages that one side sends in a row in one TCP segment."""
    packets: list[dict[str, Any]] = []
    pairs = list(_pairs(script))
    sip = [values for packet, values in pairs if isinstance(packet, SipPacket)]
    for _, run in groupby(sip, key=lambda values: (values["from"], values["to"])):
        messages = list(run)
        packets.append(_on_tcp(messages[-1], messages, []))
    packets += [values for packet, values in pairs if not isinstance(packet, SipPacket)]
    return _with(script, [*_handshakes(script), *packets])


def tcp_again(script: Script) -> Script:
    """Return *script* over TCP, with every segment of SIP sent again."""
    told = over_tcp(script)
    packets = [
        values | {"again_ns": [RESEND_NS]} if values.get("messages") else values
        for _, values in _pairs(told)
    ]
    return _with(told, packets)


def response_first(script: Script) -> Script:
    """Return *script* with each request and its response, a millisecond away, swapped in time."""
    packets = [values for _, values in _pairs(script)]
    for at in range(len(packets) - 1):
        one, other = packets[at : at + 2]
        if not (one.get("request") and other.get("response")):
            continue
        if other["at_ns"] - one["at_ns"] <= SOON_NS:
            packets[at] = one | {"at_ns": other["at_ns"]}
            packets[at + 1] = other | {"at_ns": one["at_ns"]}
    return _with(script, packets)


def sent_again(script: Script) -> Script:
    """Return *script* with every SIP message sent once more, before the next one or after T1.

    Once an INVITE is answered nobody repeats it (RFC 3261 section 17.1.1.2).
    """
    pairs = _pairs(script)
    times = sorted(values["at_ns"] for packet, values in pairs if isinstance(packet, SipPacket))
    following = dict(pairwise(times))
    packets = []
    for packet, values in pairs:
        if isinstance(packet, SipPacket):
            gap_ns = following.get(values["at_ns"], values["at_ns"] + 2 * T1_NS) - values["at_ns"]
            after_ns = min(T1_NS, gap_ns // 2 // _MICROSECOND_NS * _MICROSECOND_NS)
            packets.append(values | {"again_ns": [after_ns]})
        else:
            packets.append(values)
    return _with(script, packets)


def looped(script: Script) -> Script:
    """Return *script* played three times, a minute apart, as a replayer loops a file."""
    packets = [
        values | {"at_ns": values["at_ns"] + turn * LOOP_NS}
        for turn in range(LOOPS)
        for _, values in _pairs(script)
    ]
    return _with(script, packets)


def _pairs(script: Script) -> list[tuple[Any, dict[str, Any]]]:
    return list(zip(script.packets, _values(script)["packets"], strict=True))


def _values(script: Script) -> dict[str, Any]:
    """Return the script as TOML would have it."""
    values: dict[str, Any] = script.model_dump(by_alias=True, exclude_unset=True)
    return values


def _with(script: Script, packets: list[dict[str, Any]]) -> Script:
    """Return *script* with other packets, the rest as it is."""
    return parse_values(_values(script) | {"packets": packets})


def _on_tcp(place: dict[str, Any], messages: list[dict[str, Any]], cuts: list[int]) -> Any:  # noqa: ANN401
    """Return the segments that carry *messages*, sent when and where *place* says."""
    told = [{key: one[key] for key in one if key in _SIP_FIELDS} for one in messages]
    rest = {key: place[key] for key in place if key not in _SIP_FIELDS}
    return rest | {"kind": "tcp", "messages": told, "cut_bytes": cuts}


def _handshakes(script: Script) -> list[dict[str, Any]]:
    """Return the segments that open a connection between each two hosts with SIP."""
    found: list[dict[str, Any]] = []
    known: set[frozenset[str]] = set()
    for packet in script.packets:
        ends = frozenset((getattr(packet, "source", ""), getattr(packet, "destination", "")))
        if not isinstance(packet, SipPacket) or ends in known:
            continue
        known.add(ends)
        here, there = packet.source, packet.destination
        steps = (("S", here, there), ("SA", there, here), ("A", here, there))
        found += [
            {"kind": "tcp", "at_ns": packet.at_ns, "from": one, "to": other, "flags": flags}
            for flags, one, other in steps
        ]
    return found
