"""The edge of a guided run: what of each case a person does, says and judges.

    begin(case) ─▶ around(bench) ─▶ [exercise: calls are asked for] ─▶ senses(evidence)
                                                                          └─▶ verdict(proposed)

Every question is in the journal before anybody sees it, and every answer before anything follows
from it.
"""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from fst.answers import Answers
from fst.bench import Bench
from fst.evidence import Evidence
from fst.guided_bench import GuidedBench
from fst.lab.tap import Tap
from fst.matrix import Case
from fst.plan import Mode
from fst.prompt import KEYS, Answer, Choice, Kind, Parked, Prompt, without_pass
from fst.prompt_desk import Channel, PromptDesk
from fst.prompt_screen import answered_line
from fst.prompt_socket import PromptSocket
from fst.prompt_terminal import PromptTerminal
from fst.senses import SENSES, Disagreement, Said, Sense, SenseSpec, compare
from fst.site import SiteFile
from harness.clock import Clock
from harness.dialplan import DialPlan
from harness.errors import HarnessError, InputError, ToolError
from harness.finding import Outcome

REDRAWN_AT = (signal.SIGWINCH, signal.SIGCONT)
SHOWN_CASES = 5  # in a message
OnSignal = Callable[[int, FrameType | None], Any] | int | None


class Again(HarnessError):  # noqa: N818 - not an error: a new attempt follows
    """A person asked to have the case carried out once more."""


class Append(Protocol):
    """How an event is written to the run's journal."""

    def __call__(self, kind: str, /, **fields: Any) -> object:  # noqa: ANN401 - JSON values
        """Write one event; return when it is on the disk."""
        ...


class Guide:
    """Asks people through the cases of one run; `open` before the first, `close` after the last."""

    def __init__(  # noqa: PLR0913 - a guided run has these parts
        self,
        clock: Clock,
        *,
        file: SiteFile,
        dial_plan: DialPlan,
        answers: Answers | None = None,
        rehearse: bool = False,
        terminal: bool = True,
    ) -> None:
        """Keep the parts; *terminal*: there is one, and it is to be used."""
        self._clock, self._file, self._dial_plan = clock, file, dial_plan
        self._answers, self.rehearse, self.terminal = answers, rehearse, terminal
        self.on_show: Callable[[], None] = lambda: None  # a live display gives way
        self.on_hide: Callable[[], None] = lambda: None
        self.status: Callable[[], Sequence[str]] = tuple  # above each question at the terminal
        self.say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)  # noqa: T201
        self._opened: PromptDesk | None = None
        self._append: Append | None = None
        self._case: tuple[Case, int] | None = None
        self._asked = 0  # in this attempt
        self._handlers: dict[signal.Signals, OnSignal] = {}

    def refuse_unanswerable(self, cases: Iterable[Case], *, others: bool = False) -> None:
        """Say at once that nobody could answer, before anything is written.

        *others*: people will answer on the run's socket, so no terminal is needed.

        Raises:
            InputError: there is no terminal, and the answers file has not all that is needed.
        """
        if self.terminal or others:
            return
        open_cases = [f"{c.step.id} {c.target} ({need})" for c in cases for need in self._needs(c)]
        if not open_cases:
            return
        more = len(open_cases) - SHOWN_CASES
        listed = ", ".join(open_cases[:SHOWN_CASES]) + (f" and {more} more" if more > 0 else "")
        raise InputError(
            f"no terminal to ask at, and no answer to {listed}",
            field="--guided",
            fix="use a terminal, --answers FILE, or --no-terminal and `fst answer RUN`",
        )

    def open(self, folder: Path, append: Append) -> None:
        """Open terminal and socket for the run in *folder*; *append* writes to its journal.

        Raises:
            ToolError: one of them can't be had.
        """
        self._append = append
        channels: list[Channel] = [PromptSocket(folder, self._clock)]
        if self.terminal:
            channels.append(PromptTerminal(self._clock, status=self.status))
        desk = PromptDesk(channels, on_show=self.on_show, on_hide=self.on_hide, on_late=self._late)
        self._opened = desk.__enter__()
        if threading.current_thread() is threading.main_thread():
            for number in REDRAWN_AT:
                before = signal.signal(number, lambda *_: desk.redraw())
                self._handlers[number] = before

    def close(self) -> None:
        """Close all; may be called again."""
        handlers, self._handlers = self._handlers, {}
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if self._opened is not None:
            self._opened.close()

    def begin(self, case: Case, attempt: int) -> None:
        """Take note of which attempt the questions from now on belong to."""
        self._case, self._asked = (case, attempt), 0

    def around(self, bench: Bench, tap: Tap) -> Bench:
        """Return *bench* with its calls placed by people; in a rehearsal they are simulated."""
        return GuidedBench(bench, tap, self)

    async def senses(self, found: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """Ask what was heard or seen; return evidence where that contradicts *found*.

        Raises:
            Parked: it can't be told now.
            Again: the case is to be carried out once more.
        """
        case = self._current[0]
        spec = SENSES.get(case.step.id)
        if spec is None or self.is_judged_by_person(case) or not self._is_asked(case, spec):
            return ()
        said = await self._said(case, spec)
        measured = [taken for evidence in found for taken in evidence.measurements]
        disagreements = compare(spec, said, measured)
        for disagreement in disagreements:
            self.disagree(disagreement)
        findings = tuple(disagreement.finding() for disagreement in disagreements)
        return (Evidence(findings, (), ()),) if findings else ()

    async def verdict(self, proposed: Outcome | None, words: str) -> Answer:
        """Ask for the verdict of a box that a person judges; *words* say what the machine found.

        Raises:
            Parked: it can't be judged now.
            Again: the case is to be carried out once more.
        """
        step = self._current[0].step
        keys = KEYS[Kind.VERDICT]
        keys = keys if proposed in (None, Outcome.PASS) else without_pass(keys)
        prompt = self.prompt(Kind.VERDICT, step.text, step.expected, keys=keys)
        heard = "" if proposed is None else f"the machine proposes {proposed.value}: {words}"
        return self._settled(await self.answered(prompt, note=heard))

    # What the bench and other parts of the run use.

    def prompt(
        self,
        kind: Kind,
        does: str,
        expects: str,
        numbers: Sequence[str] = (),
        *,
        keys: tuple[Choice, ...] = (),
    ) -> Prompt:
        """Return a question about the case that is being carried out."""
        case, attempt = self._current
        site, _, host = case.target.partition("/")
        self._asked += 1
        return Prompt(
            f"{case.step.id}@{case.target}#{attempt}.{self._asked}",
            kind,
            site,
            host,
            case.step.id,
            case.target,
            attempt,
            does,
            expects,
            keys or KEYS[kind],
            tuple(numbers),
        )

    def ask(self, prompt: Prompt, more: Callable[[], Mapping[str, Any]] = dict) -> Future[Answer]:
        """Return the first answer, when it is written down; *more* is written down with it.

        May be called from any thread. Cancelling it withdraws the question.
        """
        self._write("prompt.asked", **prompt.to_json())
        begun_ns = self._clock.monotonic_ns()
        inner, outer = self._desk.ask(prompt), Future[Answer]()

        def write(done: Future[Answer]) -> None:
            if done.cancelled() or not outer.set_running_or_notify_cancel():
                return
            try:
                took_ns = self._clock.monotonic_ns() - begun_ns
                self._write_answer(prompt, done.result(), took_ns, more())
            except HarnessError as error:
                outer.set_exception(error)
            else:
                outer.set_result(done.result())

        def withdraw(done: Future[Answer]) -> None:
            if done.cancelled():
                inner.cancel()

        outer.add_done_callback(withdraw)
        inner.add_done_callback(write)
        return outer

    async def answered(
        self,
        prompt: Prompt,
        more: Callable[[], Mapping[str, Any]] = dict,
        *,
        note: str = "",
    ) -> Answer:
        """Return the first answer to *prompt*, with a *note* below it, while the loop goes on."""
        future = self.ask(prompt, more)
        if note:
            self.note(prompt.id, note)
        if prompt.kind is Kind.DIAL and self.rehearse:
            self._answer_dial(prompt)
        return await asyncio.wrap_future(future)

    def new_id(self) -> str:
        """Return the id of a question that belongs to no attempt."""
        return f"run#{self._clock.wall_ns()}"

    def close_prompt(self, prompt_id: str, answer: Answer) -> None:
        """Answer for a person: a sensor has seen it."""
        self._desk.close_prompt(prompt_id, answer)

    def tell(self, line: str) -> None:
        """Show *line* to everybody."""
        self._desk.tell(line)
        self.say(line)  # where the run's own lines are: a live display may be on

    def note(self, prompt_id: str, line: str) -> None:
        """Show *line* below an open question."""
        self._desk.note(prompt_id, line)

    def close_by(self, prompt: Prompt, words: str, *, who: str, where: str) -> None:
        """Answer "done" for a person: it was seen."""
        self._desk.close_prompt(prompt.id, Answer("d", words, who, where, self._clock.wall_ns()))

    def disagree(self, found: Disagreement) -> None:
        """Write a disagreement down, and show it."""
        self._write(
            "disagreement",
            **self._place(),
            sense=found.sense,
            said=found.said,
            packets=found.packets,
            who=found.who,
            where=found.where,
        )
        case = self._current[0]
        self.tell(f"{case.step.id} {case.target}: {found.text()}")

    def normal(self, dialled: str) -> str:
        """Return a dialled user part in the form of the site file."""
        return self._dial_plan.reading(dialled, kind="uri").text

    @property
    def _current(self) -> tuple[Case, int]:
        if self._case is None:
            raise ToolError("nobody is asked before a case has begun")
        return self._case

    @property
    def _desk(self) -> PromptDesk:
        if self._opened is None:
            raise ToolError("the desk for prompts is not open")
        return self._opened

    def _place(self) -> dict[str, Any]:
        case, attempt = self._current
        return {"step": case.step.id, "target": case.target, "attempt": attempt}

    def _write(self, kind: str, /, **fields: Any) -> None:  # noqa: ANN401 - JSON values
        if self._append is None:
            raise ToolError("a guided run has no journal yet")
        self._append(kind, **fields)

    def _write_answer(
        self, prompt: Prompt, answer: Answer, took_ns: int, more: Mapping[str, Any]
    ) -> None:
        self._write(
            "prompt.answered",
            prompt=prompt.id,
            step=prompt.step,
            target=prompt.target,
            attempt=prompt.attempt,
            key=answer.key,
            words=answer.words,
            who=answer.who,
            where=answer.where,
            took_ns=took_ns,
            **more,
        )

    def _late(self, prompt: Prompt, late: Answer, first: Answer) -> None:
        """Write down what somebody said who was too late: it changes nothing, and is not lost."""
        text = f"too late: {answered_line(prompt, late)}; first was: {answered_line(prompt, first)}"
        with suppress(HarnessError):  # the run is ending
            self._write("comment", step=prompt.step, target=prompt.target, text=text, by=late.who)

    def _needs(self, case: Case) -> list[str]:
        """Return what of *case* only a person at a prompt could give."""
        if self.is_judged_by_person(case):
            return ["verdict"]
        spec, needs = SENSES.get(case.step.id), []
        if case.step.id[0] != "A" and not self.rehearse:  # only calls show anything of B and C
            needs = [] if self._answers and self._answers.dialled(case) else ["dial"]
        if spec is not None and self._is_asked(case, spec) and not self._told(case, spec.sense):
            needs.append(spec.sense.value)
        return needs

    def is_judged_by_person(self, case: Case) -> bool:
        """Say whether a person declares the verdict: by the plan, or the lab has not the part."""
        lab = self._file.lab
        has_part = lab is None or case.step.id[0] in lab.parts
        return case.step.mode is not Mode.AUTOMATIC or not has_part

    def _is_asked(self, case: Case, spec: SenseSpec) -> bool:
        """Say whether the sense is asked for: a lab has no screen, but a rehearsal plays it."""
        has_screen = self._file.mode == "site" or self.rehearse
        return spec.sense is Sense.HEARD or has_screen or self._told(case, spec.sense) is not None

    def _told(self, case: Case, sense: Sense) -> Said | None:
        return None if self._answers is None else self._answers.said(case, sense)

    def _answer_dial(self, prompt: Prompt) -> None:
        case = self._current[0]
        if self._answers is not None and self._answers.dialled(case):
            who, where = self._answers.who, self._answers.where
            self.close_by(prompt, "dialled", who=who, where=where)

    async def _said(self, case: Case, spec: SenseSpec) -> Said:
        """Return what was heard or seen: from the answers file, else from a person."""
        told = self._told(case, spec.sense)
        expects = f"{case.step.expected} ({spec.expected.value})"
        prompt = self.prompt(Kind.SENSE, spec.question, expects)
        if told is None:
            answer = self._settled(await self.answered(prompt))
            is_expected = {"p": True, "f": False}.get(answer.key)
            value = spec.expected.value if is_expected else ""
            return Said(spec.sense, value, is_expected, answer.words, answer.who, answer.where)
        self._write("prompt.asked", **prompt.to_json())
        key = "p" if told.is_expected else "f"
        words = f"{told.value} ({told.words})" if told.words else told.value
        answer = Answer(key, words, told.who, told.where, self._clock.wall_ns())
        self._write_answer(prompt, answer, 0, {})
        self.tell(f"{prompt.step} {prompt.target}: {told.sense.value} {words}, {told.where}")
        return told

    @staticmethod
    def _settled(answer: Answer) -> Answer:
        """Return *answer*, unless it says to leave the case, or to carry it out again."""
        if answer.key == "n":
            raise Parked(f"can't be done now, says {answer.who}")
        if answer.key == "r":
            raise Again(f"{answer.who} asks to have it repeated")
        return answer
