"""What holds for every calling number on the wire, whatever a peer put there."""

from hypothesis import example, given
from hypothesis import strategies as st

from enumtest.dns.message import Edns, encode_query, parse_query
from enumtest.dns.source_uri import Framing, SourceOption, decode, encode, source_uri
from enumtest.sbc.caller import caller_text
from harness.dialplan import DialPlan
from harness.errors import InputError

URI = b"sip:+12125550166@a.example"
PLAN = DialPlan("main", "1", ("011",), "1", "650", (4,))
# Dense in what has a meaning: versions, NULs, schemes, and pieces of the owner option.
octets = st.lists(
    st.sampled_from([b"\x00", b"\x00\x00", b"\x01", URI, b"sip:", b"tel:+1", b"\xff", b" ", b"<"]),
    max_size=5,
).map(b"".join) | st.binary(max_size=24)
options = st.lists(st.tuples(st.sampled_from([4, 3, 10, 65001, 65535]), octets), max_size=4)
users = st.text(st.characters(min_codepoint=0x21, exclude_characters="\x7f"), max_size=20)
framings = st.sampled_from([(Framing.RAW, 4), (Framing.VERSION_NUL, 4), (Framing.UTF8, 65001)])


@given(found=options)
def test_any_options_are_one_caller_or_none_or_refused(found: list[tuple[int, bytes]]) -> None:
    """A value or an InputError, never else; what is found is written in the same octets."""
    try:
        option = decode(found)
    except InputError:
        return
    assert option is None or (option.code, encode(option)) in found


@example(user="\ud800", framed=(Framing.RAW, 4))  # half a character: it cannot be sent
@given(user=users, framed=framings)
def test_every_uri_is_the_same_behind_every_framing(user: str, framed: tuple[Framing, int]) -> None:
    """Written into a query and read again, over a whole message."""
    try:
        option = SourceOption(f"sip:{user}@a.example", *framed)
        query = parse_query(encode_query(1, "1.e164.arpa", source=option))
    except InputError:
        return
    assert source_uri(query) == option.uri
    assert query.edns is not None
    assert decode(query.edns.options) == option


@given(found=options)
def test_any_options_survive_the_wire(found: list[tuple[int, bytes]]) -> None:
    """The octets of every option, in their order, are what the reader of callers gets."""
    query = parse_query(encode_query(1, "1.e164.arpa", edns=Edns(1220, options=tuple(found))))

    assert query.edns is not None
    assert query.edns.options == tuple(found)


@given(text=st.text(max_size=40))
def test_any_uri_names_some_party(text: str) -> None:
    """With a dial plan and without, nothing raises and nothing is empty but an empty user."""
    assert caller_text(text, None)
    assert caller_text(text, PLAN)
