"""A question to a person, and an answer that can be believed: who, where, when, with words.

    asked ──▶ open ──▶ answered      by whoever is first: a person anywhere, or the tap's sensor
                └────▶ withdrawn     the run stopped asking; nobody's answer counts any more

Laws: nothing is answered by waiting (no time-out); FAIL and OTHER need words; "can't do now" is no
verdict, it parks the case; a key that means PASS is never a key of a prompt that closes by itself,
so that a letter typed too late for a call can't pass the box that is asked about next.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import HarnessError, InputError
from harness.finding import Outcome

if TYPE_CHECKING:
    from concurrent.futures import Future

MAX_WORDS = 2000  # characters: a comment, not a file


class Kind(StrEnum):
    """What is asked for."""

    VERDICT = "verdict"  # PASS, FAIL or OTHER of a box that a person judges
    SENSE = "sense"  # what was heard, or seen on a screen
    DIAL = "dial"  # calls to be placed; the tap's sensor sees them
    DO = "do"  # anything else to be done by hand
    DECISION = "decision"  # which of some ways to go on


class Parked(HarnessError):  # noqa: N818 - not an error: the box stays empty, the run goes on
    """A person can't do it now."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to answer: a key, what it means, and whether it needs a reason."""

    key: str
    label: str
    needs_words: bool = False

    def __post_init__(self) -> None:
        """Refuse what nobody could type, or read."""
        if len(self.key) != 1 or not self.key.isascii() or not self.key.islower():
            raise InputError("not one small letter", field="key", value=self.key)
        if not self.label.strip():
            raise InputError("a key needs a meaning", field="label", value=self.label)


NOT_NOW = Choice("n", "can't do now")
REPEAT = Choice("r", "repeat")
KEYS: Mapping[Kind, tuple[Choice, ...]] = {
    Kind.VERDICT: (
        Choice("p", "PASS"),
        Choice("f", "FAIL", needs_words=True),
        Choice("o", "OTHER", needs_words=True),
        NOT_NOW,
        REPEAT,
    ),
    Kind.SENSE: (
        Choice("p", "as expected"),
        Choice("f", "not as expected", needs_words=True),
        Choice("o", "can't tell", needs_words=True),
        NOT_NOW,
        REPEAT,
    ),
    Kind.DIAL: (Choice("d", "done"), Choice("o", "otherwise", needs_words=True), NOT_NOW, REPEAT),
    Kind.DO: (Choice("d", "done"), Choice("o", "otherwise", needs_words=True), NOT_NOW, REPEAT),
}
OUTCOMES = {"p": Outcome.PASS, "f": Outcome.FAIL, "o": Outcome.OTHER}  # keys of a verdict


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question, with everything that must be on the screen beside it."""

    id: str  # unique in the run, also after a resume
    kind: Kind
    site: str
    host: str  # "" when the step is about a whole site
    step: str
    target: str
    attempt: int
    does: str  # what is to be done
    expects: str  # what must be seen or heard
    keys: tuple[Choice, ...]
    numbers: tuple[str, ...] = ()  # to dial, in this order

    def __post_init__(self) -> None:
        """Refuse a question that could not be answered, or told from another."""
        if not self.id or not self.does.strip():
            raise InputError("a prompt needs an id, and something to do", field="prompt")
        if not self.keys or len({choice.key for choice in self.keys}) != len(self.keys):
            raise InputError("a prompt needs keys, each once", field="keys", value=self.id)
        if self.attempt < 1:
            raise InputError("attempts count from 1", field="attempt", value=self.attempt)

    def choice(self, key: str) -> Choice | None:
        """Return what *key* means here; None when it is no key of this prompt."""
        return next((choice for choice in self.keys if choice.key == key), None)

    def to_json(self) -> dict[str, Any]:
        """Return the prompt as it stands in the journal and on the socket."""
        fields = asdict(self) | {"kind": self.kind.value, "numbers": list(self.numbers)}
        fields["keys"] = [asdict(choice) for choice in self.keys]
        return {"prompt": fields.pop("id"), **fields}


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said, who it was, and where."""

    key: str
    words: str
    who: str
    where: str
    at_ns: int  # wall time

    @property
    def outcome(self) -> Outcome | None:
        """Return the verdict that the key stands for; None for any other key."""
        return OUTCOMES.get(self.key)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as it stands on the socket."""
        return asdict(self)


class Desk(Protocol):
    """Where questions are laid before people; may be called from any thread."""

    def ask(self, prompt: Prompt) -> "Future[Answer]":
        """Return the first answer, when there is one; cancelling it withdraws the question."""
        ...

    def close_prompt(self, prompt_id: str, answer: Answer) -> None:
        """Answer for a person: a sensor has seen it. Nothing happens when somebody was first."""
        ...

    def note(self, prompt_id: str, line: str) -> None:
        """Show *line* below an open question."""
        ...

    def tell(self, line: str) -> None:
        """Show *line* to everybody."""
        ...


def checked(prompt: Prompt, answer: Answer) -> Answer:
    """Return *answer* with its words trimmed.

    Raises:
        InputError: no key of *prompt*, words missing that its key needs, or too many of them.
    """
    choice = prompt.choice(answer.key)
    if choice is None:
        known = ", ".join(f"{one.key} ({one.label})" for one in prompt.keys)
        raise InputError("no key of this prompt", field="key", value=answer.key, fix=f"use {known}")
    words = answer.words.strip()
    if choice.needs_words and not any(letter.isalnum() for letter in words):
        fix = f"write {answer.key} and the reason behind it"
        raise InputError(f"{choice.label} needs words", field="words", fix=fix)
    if len(words) > MAX_WORDS:
        raise InputError(f"more than {MAX_WORDS} characters", field="words", value=words)
    if not answer.who.strip() or not answer.where.strip():
        raise InputError("an answer needs to say who gave it, and where", field="who")
    return replace(answer, words=words)


def without_pass(keys: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Return *keys* less the one for PASS: the machine found worse, only a new attempt can pass."""
    return tuple(choice for choice in keys if choice.key != "p")
