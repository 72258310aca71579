"""Messages read in lock-step are the messages that the reader of one message reads."""

import dns.rdatatype
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from enumtest.dns.distinct_bytes import codes, distinct
from enumtest.dns.message import (
    Answer,
    Edns,
    Query,
    encode_answer,
    encode_query,
    parse_answer,
    parse_query,
    rcode_value,
)
from enumtest.dns.message_columns import FRAMINGS, ColumnReader, Contents, Texts, capitals
from enumtest.dns.source_uri import decode
from enumtest.naptr.naptr import NaptrRecord
from enumtest.sbc.events import event_of
from enumtest.traffic.hop_table import EVENTS
from harness.errors import InputError, WireError

RCODES = ("NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH", "BADVERS")
names = st.lists(
    st.text("abcXYZ0189-_.* ", min_size=1, max_size=12).map(lambda t: t.replace(".", "\\.")),
    min_size=0,
    max_size=9,
).map(lambda labels: ".".join((*labels, "e164.ARPA")))
options = st.lists(
    st.one_of(
        st.just((4, b"sip:+16505550100@192.0.2.1")),
        st.just((65001, b"\0\0tel:+16505550100\0")),
        st.tuples(st.integers(0, 9), st.binary(max_size=9)),
    ),
    max_size=2,
).map(tuple)
edns = st.none() | st.builds(
    Edns,
    st.integers(0, 0xFFFF),
    options=options,
    dnssec_ok=st.booleans(),
    version=st.integers(0, 1),
)
records = st.builds(
    NaptrRecord,
    st.integers(0, 0xFFFF),
    st.integers(0, 9),
    st.sampled_from(["u", "", "U"]),
    st.sampled_from(["E2U+sip", ""]),
    st.sampled_from([r"!^(.*)$!sip:\1@x!", ""]),
    st.sampled_from([".", "elsewhere.example."]),
)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bool, bytes]:
    """Draw a query or an answer, as it was encoded or with some octets changed."""
    name, qtype = draw(names), draw(st.sampled_from(["NAPTR", "NAPTR", "NS", "TYPE999"]))
    data = encode_query(draw(st.integers(0, 0xFFFF)), name, qtype=qtype, edns=draw(edns))
    asks = draw(st.booleans())
    if not asks:
        query = parse_query(data)
        rcode = draw(st.sampled_from(RCODES))
        rcode = rcode if query.edns is not None or rcode_value(rcode) < 16 else "SERVFAIL"
        found = tuple(draw(st.lists(records, max_size=3)))
        ttl_s = draw(st.sampled_from([0, 1, 300, 2**32 - 1]))
        data = encode_answer(query, rcode, found, truncated=draw(st.booleans()), ttl_s=ttl_s)
    if draw(st.booleans()):
        octets = bytearray(data)
        for _ in range(draw(st.integers(1, 3))):
            octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
        end = draw(st.sampled_from([len(octets), len(octets), draw(st.integers(0, len(octets)))]))
        data = bytes(octets[:end]) + draw(st.sampled_from([b"", b"", b"\0"]))
    return asks, data


def as_columns(found: Contents, names: Texts, sources: Texts, row: int) -> dict[str, object]:
    """Return one row in words."""
    return {
        "qname": tuple(names)[found.question[row]],
        "qtype": int(found.qtype[row]),
        "event": EVENTS[found.event[row]],
        "source": tuple(sources)[found.source[row]],
        "edns": int(found.edns_bytes[row]),
        "capitals": int(found.capitals[row]),
        "ttl": int(found.ttl_s[row]),
        "option": (int(found.source_code[row]), int(found.source_framing[row])),
    }


def as_read(data: bytes, *, asks: bool) -> dict[str, object] | None:
    """Return the same of the message as one reader of one message has it; None: it has not."""
    try:
        said = parse_query(data) if asks else parse_answer(data)
    except WireError:
        return None
    option = None
    if asks and said.edns is not None:
        try:
            option = decode(said.edns.options)
        except InputError:
            option = None
    place = (-1, -1) if option is None else (option.code, FRAMINGS.index(option.framing))
    return {
        "qname": said.qname,
        "qtype": int(dns.rdatatype.from_text(said.qtype)) if said.qtype else -1,
        "event": None if asks else event_of(said),  # type: ignore[arg-type]
        "source": "" if option is None else option.uri,
        "edns": said.edns.udp_payload_bytes if said.edns else -1,
        "capitals": capitals(said.labels) if isinstance(said, Query) else 0,
        "ttl": min((one.ttl_s for one in said.records), default=-1)
        if isinstance(said, Answer)
        else -1,
        "option": place,
    }


@given(st.lists(messages(), min_size=1, max_size=12))
def test_message_in_lock_step_is_the_message_read_alone(drawn: list[tuple[bool, bytes]]) -> None:
    """Or it is left to the other reader."""
    data = np.frombuffer(b"".join(octets for _, octets in drawn), np.uint8)
    size = np.array([len(octets) for _, octets in drawn], np.int64)
    end = np.cumsum(size)
    asks = np.array([one for one, _ in drawn])
    known, sources, found = Texts(), Texts(), Contents.of(len(drawn))
    sources.place("")
    usual = ColumnReader(data, end - size, end, asks, known, sources, found).read()

    for row in np.flatnonzero(usual).tolist():
        read = as_read(drawn[row][1], asks=drawn[row][0])
        assert as_columns(found, known, sources, row) == read


@given(names, st.booleans(), edns, st.lists(records, max_size=3))
def test_usual_message_is_read_in_lock_step(
    name: str, asks: bool, opt: Edns | None, found: list[NaptrRecord]
) -> None:
    """What an SBC and its servers usually say is not left to the slow reader."""
    plain = all(c.isalnum() or c in "-_." for c in name) and ".." not in name
    plain = plain and "\\" not in name
    data = encode_query(7, name, edns=opt) if plain else b""
    if plain and not asks:
        data = encode_answer(parse_query(data), records=tuple(found))
    octets = np.frombuffer(data, np.uint8)
    end = np.array([len(data)], np.int64)
    sources = Texts({"": 0})
    reader = ColumnReader(octets, end * 0, end, np.array([asks]), Texts(), sources, Contents.of(1))
    simple = len(opt.options) < 2 if asks and opt is not None else True
    simple = simple and (asks or all(one.replacement == "." for one in found))

    assert reader.read().tolist() == [bool(plain and simple)]


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 3)), max_size=40))
def test_groups_are_those_of_equal_strings(drawn: list[tuple[bytes, int]]) -> None:
    """Same kind and same octets: same group, and only then."""
    data = np.frombuffer(b"".join(octets for octets, _ in drawn) + b"\0" * 8, np.uint8)
    size = np.array([len(octets) for octets, _ in drawn], np.int64)
    kind = np.array([one for _, one in drawn], np.int64)
    found = distinct(data, np.cumsum(size) - size, size, kind)

    for one, (octets, number) in enumerate(drawn):
        assert drawn[found.first[found.group[one]]] == (octets, number)
    assert len(found.first) == len(set(drawn))


@given(st.lists(st.tuples(*(st.integers(0, 2**40) for _ in range(3))), max_size=20))
def test_codes_are_equal_where_all_columns_are(rows: list[tuple[int, int, int]]) -> None:
    """However large the numbers, the codes stay small."""
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    found = codes(*columns).tolist()

    assert len(set(found)) == len(set(rows)) == len(set(zip(found, rows, strict=True)))
    assert all(0 <= code < 2**62 // (len(rows) + 1) for code in found)
