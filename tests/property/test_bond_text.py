"""Texts of /proc/net/bonding that no kernel wrote: a value or an InputError, never else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.finding import Outcome
from probetest.taps.bond import judge, parse_proc

TEXTS = sorted((Path(__file__).parents[2] / "fixtures" / "hosts" / "bonding").glob("*.txt"))
WHOLE = [path.read_text(encoding="utf-8") for path in TEXTS]
LINES = sorted({line for text in WHOLE for line in text.splitlines(keepends=True)})


def value_or_refusal(text: str) -> None:
    """Read and judge, or be refused."""
    try:
        state = parse_proc(text, "bond0", observed_live=True)
    except InputError:
        return
    assert judge(state, ("eth6", "eth7"))
    assert state == parse_proc(text, "bond0", observed_live=True)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Text of any kind."""
    value_or_refusal(text)


@given(st.lists(st.sampled_from(LINES)))
def test_real_lines_in_any_order_are_read_or_refused(lines: list[str]) -> None:
    """Every line is right, and the text need not be."""
    value_or_refusal("".join(("Ethernet Channel Bonding Driver: v3.7.1\n", *lines)))


@given(st.sampled_from(WHOLE), st.data())
def test_one_changed_character_is_read_or_refused(text: str, data: st.DataObject) -> None:
    """A text with a wrong character in it."""
    at = data.draw(st.integers(0, len(text) - 1))
    value_or_refusal(text[:at] + data.draw(st.characters()) + text[at + 1 :])


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_every_beginning_is_read_or_refused(path: Path) -> None:
    """A text cut at any byte; one that ends inside its last port never passes by itself."""
    text = path.read_text(encoding="utf-8")
    for end in range(len(text)):
        value_or_refusal(text[:end])


@given(st.sampled_from(WHOLE))
def test_carriage_returns_and_blank_lines_do_not_matter(text: str) -> None:
    """A text that went through a terminal says the same."""
    noisy = text.replace("\n", "\r\n") + "\r\n\r\n"

    assert parse_proc(noisy, "bond0") == parse_proc(text, "bond0")


@given(st.sampled_from(WHOLE))
def test_recorded_text_never_passes(text: str) -> None:
    """Whatever it says, nobody looked at the host in this run."""
    findings = judge(parse_proc(text, "bond0"), ("eth6", "eth7"))

    assert {finding.outcome for finding in findings} == {Outcome.OTHER}
