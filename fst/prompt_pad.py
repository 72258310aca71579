"""What one person sees and types, as a state machine: questions and lines in, text and answers out.

    idle ──asked──▶ shown ──typed "p"──▶ answered, next
                      │ ──typed "f"──▶ words wanted ──typed words──▶ answered
                      └──answered by somebody else──▶ stale ──Enter──▶ next is shown

Laws: an answer is for the question that was on the screen when its line began: after a question
that could pass was answered by somebody else, one Enter is asked for before the next is shown.
"""

from collections.abc import Callable, Sequence

from fst.prompt import Answer, Prompt
from fst.prompt_screen import MIN_WIDTH, answered_line, prompt_lines, read_line, wrapped
from harness.errors import InputError

STALE = "somebody else has answered; press Enter for the next question"
Offered = tuple[Prompt, str, str]  # for which question, key, words


class PromptPad:
    """The questions of one screen; the oldest is shown first, the others wait."""

    def __init__(
        self,
        width: Callable[[], int] = lambda: 80,
        status: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Start with nothing asked; *width* gives the screen's columns.

        *status* gives lines that stand above a question as often as it is shown.
        """
        self._width, self._status = width, status
        self._prompts: dict[str, Prompt] = {}
        self._notes: dict[str, list[str]] = {}
        self._shown: Prompt | None = None
        self._key = ""  # given, and its words are waited for
        self._is_stale = False
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        """Return what is to be printed since the last call."""
        lines, self._lines = self._lines, []
        return lines

    @property
    def shown(self) -> Prompt | None:
        """Return the question that is asked here now."""
        return self._shown

    def asked(self, prompt: Prompt) -> bool:
        """Put a question; say whether it is now the one that is shown."""
        self._prompts[prompt.id] = prompt
        self._notes[prompt.id] = []
        return self._shown is None and self._next()

    def note(self, prompt_id: str, line: str) -> None:
        """Add a line to an open question."""
        if prompt_id not in self._prompts:
            return
        self._notes[prompt_id].append(line)
        if self._shown is not None and self._shown.id == prompt_id and not self._is_stale:
            self._say(line, "  ")

    def closed(self, prompt_id: str, answer: Answer | None, *, is_own: bool) -> bool:
        """Take a question away; say whether another one is now shown."""
        prompt = self._prompts.pop(prompt_id, None)
        self._notes.pop(prompt_id, None)
        if prompt is None:
            return False
        said = f"{prompt.step} {prompt.target}: no longer asked"
        self._say(said if answer is None else f"answered: {answered_line(prompt, answer)}")
        if self._shown is None or self._shown.id != prompt_id:
            return False
        self._is_stale |= not is_own and prompt.choice("p") is not None
        self._shown, self._key = None, ""
        return self._next()

    def tell(self, line: str) -> None:
        """Show a line that needs no answer."""
        self._say(line)

    def redraw(self) -> None:
        """Show the question again."""
        if self._shown is None or self._is_stale:
            return
        notes = self._notes.get(self._shown.id, ())
        for line in self._status():
            self._say(line)
        self._lines += prompt_lines(self._shown, notes, width=self._width())
        if self._key:
            self._want_words(self._shown)

    def typed(self, line: str) -> Offered | None:
        """Take one typed line; return the answer that it is, if it is one."""
        prompt = self._shown
        if self._is_stale:
            self._is_stale = False
            self.redraw()
            return None
        if prompt is None:
            self._lines.append("nothing is asked now")
            return None
        try:
            return self._read(prompt, line)
        except InputError as error:
            self._say(str(error))
            return None

    def too_late(self, prompt: Prompt, first: Answer) -> None:
        """Tell that somebody was first."""
        self._say(f"too late, somebody was first: {answered_line(prompt, first)}")

    def _read(self, prompt: Prompt, line: str) -> Offered | None:
        if self._key:
            key, self._key = self._key, ""
            if line.strip():
                return prompt, key, line.strip()
            self.redraw()
            return None
        read = read_line(prompt, line)
        if read is None:
            self.redraw()
            return None
        key, words = read
        choice = prompt.choice(key)
        if choice is not None and choice.needs_words and not words:
            self._key = key
            self._want_words(prompt)
            return None
        return prompt, key, words

    def _want_words(self, prompt: Prompt) -> None:
        choice = prompt.choice(self._key)
        label = "" if choice is None else choice.label
        self._say(f"{label} needs words: type them, then Enter (Enter alone: back)")

    def _say(self, text: str, indent: str = "") -> None:
        """Add *text*, broken between words where the screen ends."""
        self._lines += wrapped(text, indent, max(MIN_WIDTH, self._width()))

    def _next(self) -> bool:
        """Show the oldest open question; say whether there is one."""
        self._shown = next(iter(self._prompts.values()), None)
        if self._shown is None:
            return False
        if self._is_stale:
            self._lines.append(STALE)
        else:
            self.redraw()
        return True
