"""Whatever a peer sent, an explanation is printable, fits, and can be written as JSON."""

import json
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.packets.blocks import Block, whole
from harness.packets.capture import parse
from harness.premises import Premises
from probetest.explain import explain
from probetest.explain_text import WIDTH, as_text, as_values
from tests.sip_wire import PHONE, SBC, Leg, Tape

hostile = st.binary(max_size=60).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b""))
address = st.sampled_from([b"<sip:+16505550112@h>", b"<tel:+12125550142;rn=1>", b'"a" <sip:x@y>'])
names = st.sampled_from(
    [b"P-Asserted-Identity", b"Diversion", b"History-Info", b"Privacy", b"Contact", b"Session-ID"]
)
headers = st.lists(st.tuples(names, hostile | address), max_size=4)
kinds = st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", 100, 180, 200, 302, 486])
Sent = tuple[str | int, list[tuple[bytes, bytes]], int]
messages = st.lists(st.tuples(kinds, headers, st.integers(0, 40)), min_size=1, max_size=6)


def wire(kind: str | int, extra: list[tuple[bytes, bytes]], turn: int) -> bytes:
    """Return a message of the call, with hostile headers put in and one byte flipped or not."""
    leg = Leg(to_tag="b" if turn % 3 == 0 else "", number=1 + turn % 2)
    data = leg.request(kind) if isinstance(kind, str) else leg.response(kind)
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in extra)
    head, gap, body = data.partition(b"Content-Length")
    whole_ = bytearray(head + lines + gap + body)
    if turn > 30:
        whole_[turn * 7 % len(whole_)] ^= 1 << turn % 8
    return bytes(whole_)


@settings(deadline=None, max_examples=60)
@given(messages)
def test_any_call_is_explained(
    given_: list[tuple[str | int, list[tuple[bytes, bytes]], int]],
) -> None:
    """A result or an `InputError`, never another error."""
    tape = Tape()
    for number, (kind, extra, turn) in enumerate(given_):
        tape.udp(number * 40, PHONE, SBC, wire(kind, extra, turn))

    def reading() -> Iterable[Block]:
        return (whole(parse(tape.data())),)

    try:
        found = explain(reading, "1@192", Premises())
    except InputError as error:
        assert "Call-ID" in str(error)  # noqa: PT017 - no error is right too
        return
    text = as_text(found, "UTC")
    assert max(map(len, text.split("\n"))) <= WIDTH
    assert all(line.isprintable() for line in text.split("\n"))
    json.dumps(as_values(found, "UTC")).encode()
