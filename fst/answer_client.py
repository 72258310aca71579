"""A client of a prompt socket without the socket: the desk's lines in, text and answers out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fst.prompt import Prompt
from fst.prompt_pad import PromptPad
from fst.prompt_screen import answered_line
from fst.prompt_wire import encode, parse_answer, parse_line, parse_prompt
from fst.report.fields import legible


@dataclass(frozen=True, slots=True)
class One:
    """The one answer of a command line; prompt is "" for the only question that is open."""

    key: str
    words: str
    prompt: str


class AnswerClient:
    """What the client knows of the desk."""

    def __init__(self, who: str, where: str) -> None:
        """Start with nothing heard; *who* may be "" for the login that the desk sees."""
        self._who, self._where = who, where
        self._pad = PromptPad()
        self._prompts: dict[str, Prompt] = {}
        self._open: int | None = None  # how many questions the desk is about to tell of
        self._sent = ""  # the question that our one answer is for
        self.result: tuple[bool, str] | None = None  # of that answer: whether it counted, and words
        self.is_misused = False

    def lines(self) -> list[str]:
        """Return what is to be printed since the last call."""
        return self._pad.lines()

    def received(self, line: bytes) -> None:
        """Take one line of the desk.

        Raises:
            InputError: not a line of a desk.
        """
        fields = parse_line(line)
        prompt_id = str(fields.get("prompt", ""))
        match fields["type"]:
            case "hello":
                self._open = int(fields.get("open", 0))
                count = "1 question is" if self._open == 1 else f"{self._open} questions are"
                self._pad.tell(f"run {fields.get('run')}: {count} open")
            case "asked":
                prompt = parse_prompt(fields)
                self._prompts[prompt.id] = prompt
                self._pad.asked(prompt)
            case "note":
                self._pad.note(prompt_id, str(fields.get("text", "")))
            case "told":
                self._pad.tell(str(fields.get("text", "")))
            case "closed":
                self._closed(prompt_id, fields)
            case "accepted":
                self._result(prompt_id, counted=True, text=f"{prompt_id}: your answer counts")
            case "refused":
                self._refused(prompt_id, fields)
            case _:  # of a later version
                return

    def typed(self, line: str) -> bytes:
        """Return what to send for a typed line: an answer, or nothing."""
        offered = self._pad.typed(line)
        return b"" if offered is None else self._line(*offered)

    def one_shot(self, one: One) -> bytes:
        """Return *one* as a line to send, once it is known what is asked; else nothing."""
        if self._sent or self.result is not None or self._open is None:
            return b""
        if len(self._prompts) < self._open:  # more are still coming
            return b""
        if not self._prompts:
            self.result = (False, "nothing is asked now")
            return b""
        listed = ", ".join(self._prompts)
        if one.prompt and one.prompt not in self._prompts:
            self.result = (False, f"{one.prompt}: is not asked now; these are: {listed}")
            return b""
        if not one.prompt and len(self._prompts) > 1:
            self.is_misused = True
            self.result = (False, f"several questions are open; name one with --prompt: {listed}")
            return b""
        self._sent = one.prompt or next(iter(self._prompts))
        return self._line(self._prompts[self._sent], one.key, one.words)

    def _line(self, prompt: Prompt, key: str, words: str) -> bytes:
        fields = {"prompt": prompt.id, "key": key, "words": words}
        return encode("answer", **fields, who=self._who, where=self._where)

    def _closed(self, prompt_id: str, fields: Mapping[str, Any]) -> None:
        answer = parse_answer(fields.get("answer"))
        self._prompts.pop(prompt_id, None)
        is_own = answer is not None and self._where in answer.where
        self._pad.closed(prompt_id, answer, is_own=is_own)

    def _refused(self, prompt_id: str, fields: Mapping[str, Any]) -> None:
        first = parse_answer(fields.get("answer"))
        why = legible(str(fields.get("why", "")))
        if first is not None:
            prompt = self._prompts.get(prompt_id)
            told = f"by {legible(first.who)} ({legible(first.where)})"
            told = answered_line(prompt, first) if prompt is not None else told
            why = f"too late, somebody was first: {told}"
        else:
            self.is_misused = True
        self._pad.tell(why)
        self._result(prompt_id, counted=False, text=why)

    def _result(self, prompt_id: str, *, counted: bool, text: str) -> None:
        if self._sent == prompt_id:
            self.result = (counted, text)
