"""The words between two sites, when the other one is hostile."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import InputError
from hasync.failure import Exit, Stop
from hasync.peer.hello import (
    MAX_REQUEST_BYTES,
    SENTINEL,
    Hello,
    PeerStop,
    Request,
    encode_committed,
    encode_hello,
    encode_refusal,
    parse_answer,
    readable,
)
from hasync.role import Role, SiteFact

ID = "0123456789abcdef" * 2
HELLO = Hello(
    site="west",
    role=Role.STANDBY,
    epoch=3,
    at_ns=1_800_000_000_000_000_000,
    free_bytes=10**12,
    inbox="/srv/hasync/inbox",
    base="/srv/hasync",
    sequences={"db/east": 41, "app/west": 2},
    ids=(ID,),
    parts={ID: 17},
    versions={"pg_restore": "pg_restore (PostgreSQL) 15.18"},
)


def test_hello_survives_the_wire() -> None:
    """Request and answer carry a hello unchanged."""
    assert Request.parse(Request("hello", HELLO).encode()).hello == HELLO
    found = parse_answer(encode_hello(HELLO), wanted="hello")
    assert Hello.from_json(found) == HELLO
    assert HELLO.fact == SiteFact("west", Role.STANDBY, 3)


def test_answer_is_found_in_noise() -> None:
    """A profile that prints around it, even half a line before it, does no harm."""
    raw = b"Welcome!\nlast login: never" + encode_committed(ID) + b"bye"

    assert parse_answer(raw, wanted="committed") == ID


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Welcome!\n",
        encode_committed(ID) * 2,
        encode_committed(ID).strip()[:-2],
        f"{SENTINEL} []\n".encode(),
        f"{SENTINEL} {{}}\n".encode(),
        f'{SENTINEL} {{"hasync":3,"committed":"{ID}"}}\n'.encode(),
        f'{SENTINEL} {{"hasync":2,"committed":"{ID}","more":1}}\n'.encode(),
        f'{SENTINEL} {{"hasync":2,"hasync":2,"committed":"{ID}"}}\n'.encode(),
        f'{SENTINEL} {{"hasync":2.0,"committed":"{ID}"}}\n'.encode(),
        f'{SENTINEL} {{"hasync":2,"committed":NaN}}\n'.encode(),
        f"{SENTINEL} {'[' * 200_000}\n".encode(),
        f"{SENTINEL} {'9' * 10_000}\n".encode(),
        f"{SENTINEL} ".encode() + b"\xff\xfe\n",
    ],
)
def test_anything_but_one_exact_answer_is_refused(raw: bytes) -> None:
    """No answer, two, a cut one, another protocol, a name twice: never a half understood one."""
    with pytest.raises(InputError):
        parse_answer(raw, wanted="committed")


def test_refusal_comes_with_the_peers_words_made_harmless() -> None:
    """Control characters and floods of a refusing peer do not reach the log as such."""
    raw = encode_refusal(Exit.NO_SPACE, "disk \x1b[2J full\n" + "x" * 5000, "a\rb", "buy one")

    with pytest.raises(PeerStop) as caught:
        parse_answer(raw, wanted="hello")

    assert caught.value.code is Exit.NO_SPACE
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("code", [0, -1, 1000, 128, 10**30])
def test_refusal_with_a_strange_code_is_a_failure(code: int) -> None:
    """A refusal is never a success, whatever its code says."""
    words = {"hasync": 2, "code": code, "why": "w", "fact": "", "fix": ""}
    raw = f"{SENTINEL} {json.dumps(words)}\n".encode()

    with pytest.raises(Stop) as caught:
        parse_answer(raw, wanted="hello")

    assert caught.value.code is Exit.FAILED


def changed(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return HELLO.to_json() | fields


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        {},
        changed(more=1),
        {name: value for name, value in HELLO.to_json().items() if name != "epoch"},
        changed(site=""),
        changed(site="../x"),
        changed(site="x" * 33),
        changed(site="wést"),
        changed(role="king"),
        changed(role=[]),
        changed(epoch=-1),
        changed(epoch=10**6),
        changed(epoch=True),
        changed(epoch="3"),
        changed(at_ns=10**30),
        changed(free_bytes=-5),
        changed(inbox="relative"),
        changed(inbox="/a/../b"),
        changed(inbox="/a b"),
        changed(inbox="/a:b"),
        changed(inbox="/a\n"),
        changed(inbox="/-e/$(id)"),
        changed(inbox="/" + "x" * 300),
        changed(sequences={"db/../x": 1}),
        changed(sequences={"db/east": "1"}),
        changed(sequences={"xx/east": 1}),
        changed(sequences=[]),
        changed(ids=["0" * 31]),
        changed(ids=[ID.upper()]),
        changed(ids=[1]),
        changed(ids=[ID + "\n"]),
        changed(ids=[ID] * 5000),
        changed(parts={"x": 1}),
        changed(parts={ID: -1}),
        changed(parts={f"{n:032x}": 1 for n in range(65)}),
        changed(versions={"a b": "1"}),
        changed(versions={"a": "x" * 200}),
        changed(versions={"a": "\x1b[2J"}),
        changed(versions={"a": 1}),
    ],
)
def test_hello_out_of_its_grammar_is_refused(found: object) -> None:
    """Each field has a form and a bound; one that is out makes the hello none."""
    with pytest.raises(InputError):
        Hello.from_json(found)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"id\n",
        b'{"hasync":2,"verb":"rm","id":"' + ID.encode() + b'"}\n',
        b'{"hasync":2,"verb":"commit","id":"../../etc"}\n',
        b'{"hasync":2,"verb":"commit","id":7}\n',
        b'{"hasync":2,"verb":["commit"],"id":"' + ID.encode() + b'"}\n',
        b'{"hasync":2,"verb":"commit"}\n',
        b'{"hasync":2,"verb":"hello","hello":{}}\n',
        b'{"hasync":3,"verb":"commit","id":"' + ID.encode() + b'"}\n',
        b" " * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_request_out_of_its_grammar_is_refused(raw: bytes) -> None:
    """There are two verbs, each with its own argument."""
    with pytest.raises(InputError):
        Request.parse(raw)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Request("hello"),
        lambda: Request("commit", HELLO, ID),
        lambda: Request("commit", None, "x"),
        lambda: Request("rm", None, ID),
    ],
)
def test_request_that_cannot_be_is_not_made(make: Callable[[], Request]) -> None:
    """What could not be parsed cannot be made either."""
    with pytest.raises(InputError):
        make()


def test_readable_is_one_bounded_line() -> None:
    """Hostile text becomes one printable line of bounded length."""
    shown = readable("\x00\u202e" * 10_000, 50)

    assert shown.isprintable()
    assert len(shown) <= 51
