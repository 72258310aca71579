"""Prompts, their text, and what one person types: pure, no terminal needed."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fst.prompt import KEYS, Choice, Kind, Prompt, checked, without_pass
from fst.prompt_pad import STALE, PromptPad
from fst.prompt_screen import prompt_lines, read_line
from fst.prompt_wire import (
    encode,
    encode_closed,
    parse_answer,
    parse_line,
    parse_offer,
    parse_prompt,
)
from harness.errors import InputError
from harness.finding import Outcome
from tests.prompts_seen import a_prompt, an_answer


@pytest.mark.parametrize(
    ("key", "words", "outcome"),
    [
        ("p", "", Outcome.PASS),
        ("f", " it rang ", Outcome.FAIL),
        ("o", "can't tell", Outcome.OTHER),
        ("n", "", None),
        ("r", "", None),
    ],
)
def test_keys_of_a_verdict(key: str, words: str, outcome: Outcome | None) -> None:
    """p, f, o are the words of the form; n and r are no verdict; words come trimmed."""
    answer = checked(a_prompt(), an_answer(key, words))

    assert answer.outcome is outcome
    assert answer.words == words.strip()


@pytest.mark.parametrize("key", ["f", "o"])
@pytest.mark.parametrize("words", ["", "   ", "...", "\n"])
def test_fail_and_other_need_words(key: str, words: str) -> None:
    """Dots and blanks are none."""
    with pytest.raises(InputError, match="needs words"):
        checked(a_prompt(), an_answer(key, words))


@pytest.mark.parametrize("kind", list(KEYS))
def test_no_letter_for_a_call_can_pass_a_box(kind: Kind) -> None:
    """What closes by itself has no key p: a letter typed too late does not pass the next box."""
    closes_itself = kind in (Kind.DIAL, Kind.DO)

    assert any(choice.key == "p" for choice in KEYS[kind]) is not closes_itself
    assert all(choice.key != "p" for choice in without_pass(KEYS[kind]))


@pytest.mark.parametrize(
    "change",
    [{"id": ""}, {"does": " "}, {"keys": ()}, {"keys": (Choice("p", "a"),) * 2}, {"attempt": 0}],
)
def test_prompt_that_could_not_be_answered(change: dict[str, Any]) -> None:
    """Such a prompt cannot exist."""
    with pytest.raises(InputError):
        replace(a_prompt(), **change)


@pytest.mark.parametrize(
    ("key", "label"), [("", "x"), ("pp", "x"), ("P", "x"), ("é", "x"), ("p", "")]
)
def test_key_is_one_small_letter_with_a_meaning(key: str, label: str) -> None:
    """Anything else could not be typed, or read."""
    with pytest.raises(InputError):
        Choice(key, label)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("", None),
        ("  ", None),
        ("p", ("p", "")),
        (" P ", ("p", "")),
        ("f it rang", ("f", "it rang")),
        ("o \x1b[2Jno tone", ("o", "[2Jno tone")),
    ],
)
def test_typed_line(line: str, read: tuple[str, str] | None) -> None:
    """The key, then the words; what a terminal could act on is left out."""
    assert read_line(a_prompt(), line) == read


@pytest.mark.parametrize("line", ["pass", "x", "pf", "yes p", "\x1b[A"])
def test_typed_line_without_a_key(line: str) -> None:
    """A word that begins with the letter is not the letter."""
    with pytest.raises(InputError, match="none of the keys"):
        read_line(a_prompt(), line)


@pytest.mark.parametrize("width", [0, 40, 60, 80, 300])
def test_prompt_fits_the_screen(width: int) -> None:
    """Everything that must be shown is, in lines that fit."""
    host = replace(a_prompt(), host="enum1")
    lines = prompt_lines(host, ["1 of 3 calls seen"], width=width)
    text = " ".join(" ".join(lines).split())

    assert max(map(len, lines)) <= max(40, min(width, 100))
    for part in (host.does, host.expects, "site site1", "host enum1", "attempt 1", "p = PASS"):
        assert part in text
    assert "1 of 3 calls seen" in text


def test_hostile_text_moves_no_cursor() -> None:
    """What came from elsewhere is shown as its numbers."""
    pad = PromptPad()
    pad.asked(a_prompt())
    pad.note(a_prompt().id, "\x1b[2J gone")
    pad.closed(a_prompt().id, an_answer("f", "\x1b]0;title\x07", "\x1b[31mana"), is_own=False)

    assert "\x1b" not in "".join(pad.lines())


def shown(pad: PromptPad) -> str:
    return "\n".join(pad.lines())


def test_pad_waits_for_words() -> None:
    """The key alone asks for them; Enter alone takes it back."""
    pad, prompt = PromptPad(), a_prompt()
    pad.asked(prompt)

    assert pad.typed("f") is None
    assert "FAIL needs words" in shown(pad)
    assert pad.typed(" ") is None
    assert "do:" in shown(pad)
    assert pad.typed("f") is None
    assert pad.typed("it rang ") == (prompt, "f", "it rang")


def test_pad_shows_the_oldest_first() -> None:
    """The second question waits until the first is answered."""
    pad, first = PromptPad(), a_prompt(prompt_id="1")
    second = replace(a_prompt(prompt_id="2"), does="Another thing.")

    assert pad.asked(first)
    assert not pad.asked(second)
    assert "Another thing." not in shown(pad)
    assert pad.closed("1", an_answer(), is_own=True)
    assert "Another thing." in shown(pad)
    assert pad.typed("p") == (second, "p", "")


def test_pad_takes_no_answer_meant_for_a_question_that_is_gone() -> None:
    """Somebody else has passed the first box: the p that is under way does not pass the second."""
    pad, first, second = PromptPad(), a_prompt(prompt_id="1"), a_prompt(prompt_id="2")
    pad.asked(first)
    pad.asked(second)
    pad.closed("1", an_answer(who="bo"), is_own=False)
    between = shown(pad)

    assert between.endswith(STALE)
    assert pad.typed("p") is None
    assert "VERDICT" in shown(pad)
    assert pad.typed("p") == (second, "p", "")


def test_pad_goes_straight_on_after_a_call_that_was_seen() -> None:
    """No key of a dial prompt can pass the next question: nothing has to be asked for."""
    pad, call = PromptPad(), a_prompt(Kind.DIAL, "1")
    pad.asked(call)
    pad.asked(a_prompt(prompt_id="2"))
    pad.closed("1", an_answer("d", who="tap"), is_own=False)

    assert "VERDICT" in shown(pad)


def test_pad_with_nothing_asked() -> None:
    """Keys go nowhere, and that is said; what is not known can't be closed."""
    pad = PromptPad()

    assert pad.typed("p") is None
    assert not pad.closed("9", None, is_own=False)
    pad.note("9", "x")
    pad.redraw()
    assert shown(pad) == "nothing is asked now"


def test_prompt_comes_through_the_wire_whole() -> None:
    """Every field of it, as the journal has them too."""
    prompt = replace(a_prompt(Kind.DIAL), numbers=("+12125550110",))
    line = encode("asked", **prompt.to_json())
    closed = parse_line(encode_closed(prompt.id, an_answer("d", "ü")))

    assert parse_prompt(parse_line(line)) == prompt
    assert parse_answer(closed["answer"]) == an_answer("d", "ü")
    assert parse_answer(None) is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"keys": 1},
        {"keys": [{}]},
        {"kind": "x"},
        {"attempt": "x"},
        {"attempt": 0},
        {"does": ""},
    ],
)
def test_wire_prompt_with_a_bad_field(fields: dict[str, object]) -> None:
    """A client of another version is told, it does not fall over."""
    whole: dict[str, object] = a_prompt().to_json() if fields else {}
    with pytest.raises(InputError):
        parse_prompt(whole | fields)


@pytest.mark.parametrize("answer", [1, {}, {"key": "p"}, an_answer().to_json() | {"at_ns": "x"}])
def test_wire_answer_with_a_bad_field(answer: object) -> None:
    """The same for answers."""
    with pytest.raises(InputError):
        parse_answer(answer)


def test_offer_needs_prompt_and_key() -> None:
    """An answer to nothing in particular is none."""
    with pytest.raises(InputError, match="needs prompt and key"):
        parse_offer(json.dumps({"type": "answer", "key": "p"}).encode())


def test_prompt_is_a_value() -> None:
    """Two of the same parts are equal."""
    assert a_prompt() == a_prompt()
    assert isinstance(a_prompt(), Prompt)
