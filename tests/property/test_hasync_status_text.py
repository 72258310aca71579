"""What hasync says is read from any text: a status, or one InputError."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fst.hasync_status import SiteStatus, parse_status, read_status, words
from harness.command import CommandOutput
from harness.errors import InputError

REAL = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[2] / "fixtures/hasync").glob("status-*.json"))
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def read(text: str) -> SiteStatus | None:
    try:
        return parse_status(text)
    except InputError as error:
        refused = str(error)
    assert "\x1b" not in refused
    return None


@given(st.text(max_size=200) | VALUES.map(json.dumps))
def test_any_text_is_a_status_or_refused(text: str) -> None:
    """Nothing but InputError is raised, and nothing that is no status is taken for one."""
    assert read(text) is None


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to each value in an answer."""
    rows: list[tuple[Any, object]] = []
    if isinstance(value, dict | list):
        rows = list(value.items() if isinstance(value, dict) else enumerate(value))
    inside = [one for key, inner in rows for one in places(inner, (*path, key))]
    return [path, *inside] if path else inside


@given(st.data())
def test_one_value_changed_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever stands in one place of a real answer: it is read whole, or refused."""
    answer = json.loads(json.dumps(data.draw(st.sampled_from(REAL))))
    *way, last = data.draw(st.sampled_from(places(answer)))
    at = answer
    for key in way:
        at = at[key]
    at[last] = data.draw(VALUES)

    found = read(json.dumps(answer))

    if found is not None:
        shown = [found.conflict, found.role_why, *found.died, *found.problems, *found.runs]
        assert all(one == words(one) for one in shown)


@given(st.data())
def test_an_answer_that_is_cut_is_refused(data: st.DataObject) -> None:
    """Half an answer is none."""
    text = json.dumps(data.draw(st.sampled_from(REAL)))

    assert read(text[: data.draw(st.integers(0, len(text) - 1))]) is None


@given(st.binary(max_size=60), st.none() | st.integers(0, 255), st.booleans())
def test_any_output_is_a_status_or_refused(out: bytes, code: int | None, cut: bool) -> None:
    """Bytes that are no text, an end that never came, output that was cut: all are refused."""
    try:
        read_status(CommandOutput(("hasync",), code, out, out, 0, cut=cut))
    except InputError:
        return
    raise AssertionError("taken for a status")


def test_numbers_that_no_clock_has_are_refused() -> None:
    """Infinity, and numbers of a thousand figures, are not taken for ages."""
    text = json.dumps(REAL[0])
    age = str(REAL[0]["status"]["proven_rpo_s"])

    for wrong in ("NaN", "Infinity", "1e999", "9" * 1000, "true", '"1"'):
        key = '"proven_rpo_s": '
        assert read(text.replace(key + age, key + wrong)) is None
    assert read(text) is not None


def test_depth_and_size_are_bounded() -> None:
    """Brackets without end, and a text of megabytes, cost nothing."""
    assert read("[" * 200_000) is None
    assert read(" " * (1 << 20) + json.dumps(REAL[0])) is None


def test_a_name_that_stands_twice_is_refused() -> None:
    """Two roles in one object could be read either way."""
    text = json.dumps(REAL[0]).replace('"role":', '"role": "active", "role":', 1)

    assert read(text) is None
