"""Any bytes on the prompt socket, any keys on the terminal: an answer or an InputError."""

from hypothesis import given
from hypothesis import strategies as st

from fst.answer_client import AnswerClient, One
from fst.prompt import checked
from fst.prompt_pad import PromptPad
from fst.prompt_screen import prompt_lines, read_line
from fst.prompt_wire import encode, parse_offer
from fst.report.fields import legible
from harness.errors import InputError
from tests.prompts_seen import a_prompt, an_answer

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.binary(max_size=99))
def test_any_line_is_an_offer_or_refused(line: bytes) -> None:
    """Nothing else is ever raised."""
    try:
        offer = parse_offer(line)
    except InputError:
        return
    assert offer.key


@given(st.fixed_dictionaries({"prompt": json_values, "key": json_values, "words": json_values}))
def test_any_object_is_an_offer_or_refused(fields: dict[str, object]) -> None:
    """Values of any kind."""
    try:
        offer = parse_offer(encode("answer", **fields))
    except InputError:
        return
    assert offer.prompt


@given(st.text(max_size=80))
def test_any_typed_line_is_an_answer_or_refused(line: str) -> None:
    """What is read is a key of the prompt; a key alone that needs words is refused later."""
    try:
        read = read_line(a_prompt(), line)
    except InputError:
        return
    if read is not None:
        key, words = read
        try:
            answer = checked(a_prompt(), an_answer(key, words))
        except InputError:
            assert key in "fo"
        else:
            assert answer.key in "pfonr"


@given(st.text(max_size=300), st.integers(min_value=0, max_value=400))
def test_any_note_fits_the_screen(note: str, width: int) -> None:
    """Lines are as wide as allowed, and hold nothing that moves a cursor."""
    for line in prompt_lines(a_prompt(), [note], width=width):
        assert len(line) <= max(40, min(width, 100))
        assert legible(line) == line


class Told:
    """Steps of a pad: each is a question, an answer of somebody else, or typed keys."""

    steps = st.lists(
        st.sampled_from(["ask", "other", "own"]) | st.sampled_from(["p", "f", "o x", "", "n", "?"]),
        max_size=30,
    )


@given(Told.steps)
def test_pad_never_answers_a_question_that_was_not_shown(steps: list[str]) -> None:
    """Whatever comes in which order, an offer is for a question whose text was printed before."""
    pad, asked, open_ids, text = PromptPad(), 0, list[str](), ""
    for step in steps:
        if step == "ask":
            asked += 1
            open_ids.append(str(asked))
            pad.asked(a_prompt(prompt_id=str(asked)))
        elif step in ("other", "own"):
            if open_ids:
                pad.closed(open_ids.pop(0), an_answer(), is_own=step == "own")
        else:
            offered = pad.typed(step)
            if offered is not None:
                assert offered[0].id == open_ids[0]
                assert text.count("VERDICT") >= 1
        text += "\n".join(pad.lines())


@given(st.lists(st.binary(max_size=60) | st.sampled_from([
    encode("hello", schema=1, run="r", open=1), encode("asked", **a_prompt().to_json()),
    encode("told", text="x"), encode("later", more=1), encode("accepted", prompt="x"),
    encode("refused", prompt="x", why="y", answer=None),
]), max_size=8))  # fmt: skip
def test_client_reads_any_lines(lines: list[bytes]) -> None:
    """A desk of another version, or no desk at all, is refused in words."""
    client = AnswerClient("", "here")
    try:
        for line in lines:
            client.received(line)
            client.one_shot(One("p", "", ""))
    except InputError:
        return
    assert all(legible(text) == text for text in client.lines())
