"""The desk with real sockets: first answer wins, the second is told, nothing is left open."""

import asyncio
import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import IO, Any

import pytest

from fst.prompt import Answer, Kind, Prompt
from fst.prompt_desk import PromptDesk
from fst.prompt_socket import PromptSocket
from fst.prompt_wire import NAME
from harness.clock import SystemClock
from harness.errors import ToolError
from tests.prompts_seen import LIMIT_S, ROOT, a_prompt, an_answer


class Client:
    """One end of a connection to the desk."""

    def __init__(self, folder: Path) -> None:
        """Connect."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(LIMIT_S)
        self._socket.connect(str(folder / NAME))
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, **fields: object) -> None:
        self._socket.sendall(json.dumps(fields).encode() + b"\n")

    def wait_for(self, *kinds: str) -> dict[str, Any]:
        """Return the next line of one of *kinds*."""
        for line in self._lines:
            found: dict[str, Any] = json.loads(line)
            if found["type"] in kinds:
                return found
        raise AssertionError("the desk has closed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a run's folder whose path is short enough for a test's plain connect."""
    return tmp_path


@pytest.fixture
def desk(folder: Path) -> Iterator[PromptDesk]:
    """Return a desk with a socket in *folder*."""
    with PromptDesk([PromptSocket(folder, SystemClock())]) as made:
        yield made


def test_answer_on_the_socket_counts(desk: PromptDesk, folder: Path) -> None:
    """Who gave it is what the kernel knows beside what the client says; words are trimmed."""
    client = Client(folder)
    hello = client.wait_for("hello")
    future = desk.ask(a_prompt())
    asked = client.wait_for("asked")
    client.send(type="answer", prompt=asked["prompt"], key="f", words=" rang ", who="Ana", where="")
    answer = future.result(LIMIT_S)
    closed = client.wait_for("closed")
    accepted = client.wait_for("accepted")
    client.close()

    assert (hello["schema"], hello["run"], hello["open"]) == (1, folder.name, 0)
    assert asked["does"].startswith("Install a rule")
    assert [one["key"] for one in asked["keys"]] == ["p", "f", "o", "n", "r"]
    assert (answer.key, answer.words, answer.who) == ("f", "rang", "Ana")
    assert answer.where.startswith("socket, login ")
    assert closed["answer"]["who"] == "Ana"
    assert accepted["prompt"] == asked["prompt"]


def test_client_that_never_reads_does_not_keep_the_desk_open(folder: Path) -> None:
    """`fst answer` stopped by Ctrl-Z, or a page's dead connection: the run ends all the same."""
    desk = PromptDesk([PromptSocket(folder, SystemClock())])
    with desk, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.settimeout(0.2)
        deaf.connect(str(folder / NAME))
        with suppress(TimeoutError):  # until the desk takes no more: its answers are not read
            while True:
                deaf.sendall(b'{"type":"x"}\n' * 500)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(desk.close).result(LIMIT_S)

    assert not (folder / NAME).exists()


def test_late_answer_that_differs_is_told(folder: Path) -> None:
    """It changes nothing, and who keeps the journal hears of it; the same again says nothing."""
    late: list[tuple[str, str, str]] = []

    def on_late(prompt: Prompt, other: Answer, first: Answer) -> None:
        late.append((prompt.step, f"{other.key} {other.words}", first.key))

    with PromptDesk([PromptSocket(folder, SystemClock())], on_late=on_late) as desk:
        client = Client(folder)
        future = desk.ask(a_prompt())
        prompt_id = client.wait_for("asked")["prompt"]
        client.send(type="answer", prompt=prompt_id, key="p")
        client.wait_for("accepted")
        client.send(type="answer", prompt=prompt_id, key="p")
        client.wait_for("refused")
        client.send(type="answer", prompt=prompt_id, key="f", words="it rang")
        refused = client.wait_for("refused")
        client.close()

    assert future.result(LIMIT_S).key == "p"
    assert refused["answer"]["key"] == "p"
    assert late == [("B.2.2", "f it rang", "p")]


def test_of_two_answers_at_once_the_first_wins(desk: PromptDesk, folder: Path) -> None:
    """Whatever the order, one of the two counts, and the other is told whose was first."""
    pair = {"ana": Client(folder), "bo": Client(folder)}
    told = []
    with ThreadPoolExecutor(2) as pool:
        for count in range(20):
            prompt_id = f"B.2.2@site1#1.{count}"
            future = desk.ask(a_prompt(prompt_id=prompt_id))
            both = Barrier(2)

            def answer(name: str, prompt_id: str = prompt_id, both: Barrier = both) -> str:
                client = pair[name]
                client.wait_for("asked")
                both.wait(LIMIT_S)
                client.send(type="answer", prompt=prompt_id, key="p", who=name)
                reply = client.wait_for("accepted", "refused")
                return str(reply["answer"]["who"] if reply["type"] == "refused" else "")

            replies = dict(zip(pair, pool.map(answer, pair), strict=True))
            told.append((future.result(LIMIT_S).who, replies))
    for client in pair.values():
        client.close()

    for winner, replies in told:
        loser = "bo" if winner == "ana" else "ana"
        assert replies == {winner: "", loser: winner}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"key": "x"}, "no key of this prompt"),
        ({"key": "f"}, "FAIL needs words"),
        ({"key": "f", "words": " ... "}, "FAIL needs words"),
        ({"key": "o", "words": "x" * 2001}, "more than 2000 characters"),
        ({"key": "p", "prompt": "B.9.9@site1#1.1"}, "nobody asks that now"),
        ({"key": 5}, "not a text"),
        ({"key": "p", "who": "a\nb"}, "not a name"),
        ({"type": "verdict"}, "not an answer"),
    ],
)
def test_wrong_answer_is_refused_and_the_question_stays(
    desk: PromptDesk, folder: Path, fields: dict[str, object], why: str
) -> None:
    """The reason is told; the question is still open for a right answer."""
    client = Client(folder)
    prompt = a_prompt()
    future = desk.ask(prompt)
    client.wait_for("asked")
    client.send(**({"type": "answer", "prompt": prompt.id} | fields))
    refused = client.wait_for("refused")
    client.send(type="answer", prompt=prompt.id, key="p")
    answer = future.result(LIMIT_S)
    client.close()

    assert why in refused["why"]
    assert answer.key == "p"


@pytest.mark.parametrize(
    "line", [b"not json\n", b"[1]\n", b"{}\n", b"\xff\xfe\n", b"[" * 9000 + b"\n"]
)
def test_line_that_is_no_object_is_refused(desk: PromptDesk, folder: Path, line: bytes) -> None:
    """It hurts nobody: the connection goes on."""
    client = Client(folder)
    client._socket.sendall(line)  # noqa: SLF001 - below the client's own lines
    refused = client.wait_for("refused")
    prompt = a_prompt()
    future = desk.ask(prompt)
    client.wait_for("asked")
    client.send(type="answer", prompt=prompt.id, key="p")
    client.close()

    assert refused["why"]
    assert future.result(LIMIT_S).key == "p"


def test_too_long_a_line_ends_that_connection_only(desk: PromptDesk, folder: Path) -> None:
    """Nothing is kept of a line without an end; others go on."""
    flood, client = Client(folder), Client(folder)
    prompt = a_prompt()
    future = desk.ask(prompt)
    with suppress(OSError):  # the desk may hang up before all is sent
        flood._socket.sendall(b"x" * 1_000_000)  # noqa: SLF001 - below the client's own lines
    with pytest.raises((AssertionError, OSError)):
        flood.wait_for("refused")
    client.wait_for("asked")
    client.send(type="answer", prompt=prompt.id, key="p")
    for one in (flood, client):
        one.close()

    assert future.result(LIMIT_S).key == "p"


def test_late_client_sees_what_is_open(desk: PromptDesk, folder: Path) -> None:
    """Who connects later gets every open question with the notes so far."""
    first = desk.ask(a_prompt(prompt_id="B.2.2@site1#1.1"))
    second = desk.ask(a_prompt(Kind.DIAL, prompt_id="B.2.2@site1#1.2"))
    desk.note("B.2.2@site1#1.2", "1 of 2 calls seen")
    early = Client(folder)
    early.wait_for("note")  # all three are with the desk
    late = Client(folder)

    assert late.wait_for("hello")["open"] == 2
    assert late.wait_for("asked")["prompt"] == "B.2.2@site1#1.1"
    assert late.wait_for("asked")["prompt"] == "B.2.2@site1#1.2"
    assert late.wait_for("note")["text"] == "1 of 2 calls seen"
    for client in (early, late):
        client.close()
    for future in (first, second):
        future.cancel()


def test_sensor_closes_a_prompt_and_people_are_told(desk: PromptDesk, folder: Path) -> None:
    """What the tap has seen answers like a person, and only once."""
    client = Client(folder)
    client.wait_for("hello")
    prompt = a_prompt(Kind.DIAL)
    future = desk.ask(prompt)
    desk.close_prompt(prompt.id, an_answer("d", "3 calls seen", "tap"))
    desk.close_prompt(prompt.id, an_answer("d", "4 calls seen", "tap"))
    closed = client.wait_for("closed")
    client.close()

    assert future.result(LIMIT_S).words == "3 calls seen"
    assert closed["answer"]["who"] == "tap"


def test_cancelled_question_is_withdrawn(desk: PromptDesk, folder: Path) -> None:
    """A run that stops asking takes the question from every screen; a late answer is refused."""
    client = Client(folder)
    prompt = a_prompt()

    async def ask() -> None:
        waiting = asyncio.wrap_future(desk.ask(prompt))
        await asyncio.to_thread(client.wait_for, "asked")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(ask())
    closed = client.wait_for("closed")
    client.send(type="answer", prompt=prompt.id, key="p")
    refused = client.wait_for("refused")
    client.close()

    assert closed["answer"] is None
    assert "nobody asks that now" in refused["why"]


def test_closed_desk_answers_nobody(folder: Path) -> None:
    """Who still waits gets an error instead of silence, and the socket is gone."""
    with PromptDesk([PromptSocket(folder, SystemClock())]) as desk:
        future = desk.ask(a_prompt())
    with pytest.raises((ToolError, CancelledError)):
        future.result(LIMIT_S)
    with pytest.raises(ToolError):
        desk.ask(a_prompt())

    assert not (folder / NAME).exists()


def test_socket_is_for_the_owner_alone(desk: PromptDesk, folder: Path) -> None:
    """Mode 0600."""
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600
    assert not desk.open_prompts


def test_folder_may_have_any_name(tmp_path: Path) -> None:
    """A path longer than a socket address holds is no obstacle, nor is a socket left by a kill."""
    folder = tmp_path / ("evidence-" + "x" * 120)
    folder.mkdir()
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with PromptDesk([PromptSocket(folder, SystemClock())]) as desk:
        future = desk.ask(a_prompt())
        done = fst_answer(folder, "--key", "p", "--by", "Ana")
        assert future.result(LIMIT_S).who == "Ana"
    left.close()

    assert done.returncode == 0, done.stderr


def test_other_file_at_the_sockets_place_stays(tmp_path: Path) -> None:
    """A file that is no socket is not taken away: the desk does not open."""
    (tmp_path / NAME).write_text("mine")
    with (
        pytest.raises(ToolError, match=NAME),
        PromptDesk([PromptSocket(tmp_path, SystemClock())]),
    ):
        pass

    assert (tmp_path / NAME).read_text() == "mine"


def test_fst_answer_tells_whose_was_first(desk: PromptDesk, folder: Path) -> None:
    """It types like a terminal: words for FAIL, an Enter after somebody else's answer."""
    first, second = a_prompt(prompt_id="B.2.2@site1#1.1"), a_prompt(prompt_id="B.2.2@site1#2.1")
    client = answering(folder)
    out = client.stdout
    assert client.stdin is not None
    assert out is not None
    one, two = desk.ask(first), desk.ask(second)
    shown = read_until(out, "then Enter")
    desk.close_prompt(first.id, an_answer("p", who="bo"))
    told = read_until(out, "press Enter")
    client.stdin.write("p\n")  # meant for the first one: it is only the Enter asked for
    client.stdin.flush()
    again = read_until(out, "then Enter")
    client.stdin.write("f it rang\n")
    client.stdin.flush()
    answer = two.result(LIMIT_S)
    client.communicate(timeout=LIMIT_S)

    assert "VERDICT: B.2.2" in shown
    assert "by bo (terminal pts/9)" in told
    assert "attempt 1" in again
    assert one.result(LIMIT_S).who == "bo"
    assert (answer.key, answer.words) == ("f", "it rang")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--key", "p"), 3, "nothing is asked now"),
        (("--words", "x"), 2, "only with --key"),
    ],
)
def test_fst_answer_with_nothing_asked(
    desk: PromptDesk, folder: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    """It says so, and ends."""
    done = fst_answer(folder, *options)

    assert done.returncode == code
    assert said in done.stderr
    assert not desk.open_prompts


def test_fst_answer_without_a_run(tmp_path: Path) -> None:
    """No folder is a mistake of who types; no socket in it means that nobody asks."""
    none, quiet = fst_answer(tmp_path / "no"), fst_answer(tmp_path)

    assert (none.returncode, quiet.returncode) == (2, 3)
    assert "no such run" in none.stderr
    assert "is it a guided run" in quiet.stderr


def test_fst_answer_needs_to_know_which_question(desk: PromptDesk, folder: Path) -> None:
    """Of several open ones the answer goes to none by chance."""
    futures = [desk.ask(a_prompt(prompt_id=f"B.2.2@site1#1.{count}")) for count in (1, 2)]
    unsaid = fst_answer(folder, "--key", "p")
    wordless = fst_answer(folder, "--key", "f", "--prompt", "B.2.2@site1#1.2")
    said = fst_answer(folder, "--key", "p", "--prompt", "B.2.2@site1#1.2")
    answer = futures[1].result(LIMIT_S)
    futures[0].cancel()

    assert [unsaid.returncode, wordless.returncode, said.returncode] == [2, 2, 0]
    assert "name one with --prompt" in unsaid.stderr
    assert "FAIL needs words" in wordless.stderr
    assert answer.key == "p"


CODE = """
import sys, typer
from fst.cli_answer import answer
from harness.command_line import run_app
app = typer.Typer(add_completion=False)
app.command()(answer)
sys.exit(run_app(app, sys.argv[1:], "fst"))
"""


def fst_answer(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", CODE, str(folder), *options]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=LIMIT_S, cwd=ROOT
    )


def answering(folder: Path) -> subprocess.Popen[str]:
    """Return `fst answer`, connected: it has said which run it is in."""
    argv = [sys.executable, "-u", "-c", CODE, str(folder)]
    pipe = subprocess.PIPE
    client = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
    assert client.stdout is not None
    read_until(client.stdout, "questions are open")
    return client


def read_until(out: IO[str], text: str) -> str:
    seen = ""
    for line in out:
        seen += line
        if text in line:
            return seen
    raise AssertionError(seen)
