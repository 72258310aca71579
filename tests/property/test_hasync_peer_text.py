"""What comes from a command line or from the other site: a value or an InputError, never else."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from hasync.failure import Stop
from hasync.peer.address import PeerAddress
from hasync.peer.agent import check_receiver, is_request
from hasync.peer.hello import SENTINEL, Hello, Request, parse_answer, readable
from hasync.role import MAX_EPOCH, Role, RoleFact, parse

SITES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", fullmatch=True)
IDS = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
COUNTS = st.integers(0, 1 << 62)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)
HELLOS = st.builds(
    Hello,
    site=SITES,
    role=st.sampled_from(Role),
    epoch=st.integers(0, MAX_EPOCH),
    at_ns=COUNTS,
    free_bytes=COUNTS,
    sequences=st.dictionaries(SITES.map(lambda site: f"db/{site}"), COUNTS, max_size=4),
    ids=st.lists(IDS, max_size=4).map(tuple),
    parts=st.dictionaries(IDS, COUNTS, max_size=4),
)


@given(st.text() | st.from_regex(r"[\w@:/\[\].%-]{0,40}", fullmatch=True))
def test_address_is_a_value_or_refused(text: str) -> None:
    """An address that is taken reads back the same, and is no option."""
    with suppress(InputError):
        address = PeerAddress.parse(text)

        assert PeerAddress.parse(address.encode()) == address
        assert not address.ssh_destination.startswith("-")
        assert address.ssh_destination.isprintable()


@given(HELLOS)
def test_hello_reads_back(hello: Hello) -> None:
    """Every hello that can be made survives the wire."""
    assert Request.parse(Request("hello", hello).encode()).hello == hello


@given(st.binary())
def test_request_is_a_value_or_refused(raw: bytes) -> None:
    """No bytes make the agent stumble."""
    with suppress(InputError):
        Request.parse(raw)


@given(st.sampled_from(sorted(Hello("x", Role.ACTIVE, 1, 1).to_json())), JSON)
def test_hello_with_any_json_in_a_field_is_a_value_or_refused(name: str, value: object) -> None:
    """Any JSON value in any field is either in its range or refused."""
    with suppress(InputError):
        Hello.from_json(Hello("x", Role.ACTIVE, 1, 1).to_json() | {name: value})


@given(st.binary())
def test_answer_is_a_value_or_refused(raw: bytes) -> None:
    """No bytes behind the sentinel make the asking side stumble."""
    with suppress(InputError, Stop):
        parse_answer(SENTINEL.encode() + b" " + raw, wanted="hello")


@given(st.text())
def test_shown_text_is_one_printable_line(text: str) -> None:
    """Whatever the peer says, a terminal and a log are safe from it."""
    assert readable(text, 40).isprintable()


@given(st.binary())
def test_role_file_is_a_value_or_refused(raw: bytes) -> None:
    """No bytes in role.json give anything but a role or a reason."""
    with suppress(InputError):
        assert parse(raw).epoch > 0


@given(st.builds(RoleFact, st.just(Role.STANDBY), st.integers(1, MAX_EPOCH), COUNTS, st.text()))
def test_role_reads_back(fact: RoleFact) -> None:
    """Every role that can be declared reads back the same."""
    assert parse(fact.encode()) == fact


@given(st.text())
def test_clients_words_choose_nothing_but_two_things(text: str) -> None:
    """Any text is the agent's request, the one rsync, or refused."""
    with suppress(Stop):
        if not is_request(text):
            check_receiver(text)
            assert text.startswith("rsync")
