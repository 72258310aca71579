"""Hostile capture scripts: a script, or an InputError, and nothing else."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from probetest.script.model import Script, parse_script

SCRIPTS = sorted((Path(__file__).parents[2] / "pcaps").glob("*/script.toml"))
TEXTS = [path.read_text(encoding="utf-8") for path in SCRIPTS]


@given(st.text())
def test_any_text_is_a_script_or_refused(text: str) -> None:
    """Whatever stands in the file, the reader is told what is wrong with it."""
    try:
        found = parse_script(text)
    except InputError:
        return
    assert isinstance(found, Script)


@given(st.data())
def test_a_damaged_script_is_a_script_or_refused(data: st.DataObject) -> None:
    """A real script with some characters replaced never ends in another kind of error."""
    text = data.draw(st.sampled_from(TEXTS))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    new = data.draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
    try:
        found = parse_script(text[:start] + new + text[end:])
    except InputError:
        return
    assert isinstance(found, Script)
