"""A prompt as lines of text, and a typed line as an answer: the same on every screen.

Nothing here moves a cursor: lines are added below, so that a bad link, a pager or a screen reader
shows the same as a good terminal. Words carry the meaning, never colour.
"""

import textwrap
from collections.abc import Sequence

from fst.prompt import Answer, Choice, Prompt
from fst.report.fields import legible
from fst.report.moment import utc
from harness.errors import InputError

MIN_WIDTH, MAX_WIDTH = 40, 100
INDENT = "  "


def prompt_lines(prompt: Prompt, notes: Sequence[str] = (), *, width: int = 80) -> list[str]:
    """Return what the screen shows of *prompt*, no line wider than *width* columns."""
    width = max(MIN_WIDTH, min(width, MAX_WIDTH))
    place = prompt.host and f", host {prompt.host}"
    head = f"{prompt.kind.value.upper()}: {prompt.step}, site {prompt.site}{place}, "
    lines = ["-" * width, *wrapped(f"{head}attempt {prompt.attempt}", "", width)]
    lines += wrapped(prompt.does, "do:     ", width)
    if prompt.expects:
        lines += wrapped(prompt.expects, "expect: ", width)
    for note in notes:
        lines += wrapped(note, INDENT, width)
    return [*lines, *wrapped(keys_line(prompt.keys), "keys:   ", width)]


def keys_line(keys: Sequence[Choice]) -> str:
    """Return what can be typed.

    >>> keys_line((Choice("p", "PASS"), Choice("f", "FAIL", needs_words=True)))
    'p = PASS, f WORDS = FAIL; then Enter'
    """
    shown = [f"{one.key}{' WORDS' if one.needs_words else ''} = {one.label}" for one in keys]
    return f"{', '.join(shown)}; then Enter"


def read_line(prompt: Prompt, line: str) -> tuple[str, str] | None:
    """Return key and words of a typed *line*; None for an empty one, which only shows it again.

    The key stands alone, or is followed by a blank and the words: "pass" is no "p".

    Raises:
        InputError: it begins with no key of *prompt*.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in line).strip()
    if not text:
        return None
    key, _, words = text.partition(" ")
    if prompt.choice(key.lower()) is None:
        raise InputError(
            "is none of the keys", field="answer", value=text, fix=keys_line(prompt.keys)
        )
    return key.lower(), words.strip()


def answered_line(prompt: Prompt, answer: Answer) -> str:
    """Return who answered *prompt*, what, where and when."""
    choice = prompt.choice(answer.key)
    label = answer.key if choice is None else choice.label
    words = f" ({legible(answer.words)})" if answer.words else ""
    who = f"{legible(answer.who)} ({legible(answer.where)})"
    return f"{prompt.step} {prompt.target}: {label}{words}, by {who} at {utc(answer.at_ns)}"


def wrapped(text: str, head: str, width: int) -> list[str]:
    """Return *text* behind *head*, its further lines below the first one's text."""
    found: list[str] = []
    for line in text.split("\n"):
        found += textwrap.wrap(
            legible(line),
            width,
            initial_indent=" " * len(head) if found else head,
            subsequent_indent=" " * len(head),
            break_on_hyphens=False,
        )
    return found or [head.rstrip()]
