"""The edge that lays questions before people: a thread of its own, many channels, one answer each.

Everything about open questions happens in the desk's thread, one thing after the other; so of two
answers at the same time one is first, and the other is told so. The journal is not written here:
who asks, writes.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol, Self

from fst.prompt import Answer, Prompt, checked
from harness.errors import HarnessError, ToolError

logger = logging.getLogger(__name__)

OnLate = Callable[[Prompt, Answer, Answer], None]  # the question, the late answer, the first one


class Counter(Protocol):
    """The desk as a channel sees it, in the desk's thread."""

    def offer(self, prompt_id: str, answer: Answer) -> Answer | None:
        """Take *answer* if nobody was first: None; else return the one that was.

        Raises:
            InputError: not an answer to that question, or no such question.
        """
        ...

    @property
    def open_prompts(self) -> tuple[Prompt, ...]:
        """Return what is asked now, the oldest first."""
        ...


class Channel(Protocol):
    """A way to people; everything is called in the desk's thread."""

    async def open(self, counter: Counter) -> None:
        """Begin; raises ToolError when it can't."""
        ...

    def show(self, prompt: Prompt) -> None:
        """Put a question."""
        ...

    def note(self, prompt: Prompt, line: str) -> None:
        """Add a line to an open question."""
        ...

    def closed(self, prompt: Prompt, answer: Answer | None) -> None:
        """Tell who has answered; None: it was withdrawn."""
        ...

    def tell(self, line: str) -> None:
        """Show a line that needs no answer."""
        ...

    def redraw(self) -> None:
        """Show everything again: the screen has changed."""
        ...

    async def close(self) -> None:
        """End."""
        ...


class PromptDesk:
    """Asks on every channel at once; the first answer wins. Use as a context manager."""

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        on_show: Callable[[], None] = lambda: None,
        on_hide: Callable[[], None] = lambda: None,
        on_late: OnLate = lambda _prompt, _late, _first: None,
    ) -> None:
        """Keep the parts; *on_show* is called when a question comes up, *on_hide* after the last.

        *on_late* is told of an answer that differs from the first. All are called in the desk's
        thread: a live display gives way meanwhile.
        """
        self._on_late = on_late
        self._closed: dict[str, Prompt] = {}
        self._channels, self._on_show, self._on_hide = tuple(channels), on_show, on_hide
        self._asked: dict[str, tuple[Prompt, Future[Answer]]] = {}
        self._answers: dict[str, Answer | None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="fst-prompts", daemon=True)

    def __enter__(self) -> Self:
        """Open every channel.

        Raises:
            ToolError: one can't be had; none is left open.
        """
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        self._opened.result()
        return self

    def __exit__(self, *_: object) -> None:
        """Close every channel; who still waits for an answer gets a ToolError."""
        self.close()

    def close(self) -> None:
        """Close every channel, and end the thread; may be called again."""
        if self._thread.is_alive():
            with suppress(ToolError):  # it is ending by itself
                self._call(self._stop.set)
            self._thread.join()

    def ask(self, prompt: Prompt) -> Future[Answer]:
        """Return the first answer, when there is one; cancelling it withdraws the question."""
        future: Future[Answer] = Future()
        future.add_done_callback(
            lambda done: self._withdraw(prompt.id) if done.cancelled() else None
        )
        self._call(self._put, prompt, future)
        return future

    def close_prompt(self, prompt_id: str, answer: Answer) -> None:
        """Answer for a person: a sensor has seen it. Nothing happens when somebody was first."""
        self._call(self._settle, prompt_id, answer)

    def note(self, prompt_id: str, line: str) -> None:
        """Show *line* below an open question."""
        self._call(self._note, prompt_id, line)

    def tell(self, line: str) -> None:
        """Show *line* to everybody."""
        self._call(self._each, lambda channel: channel.tell(line))

    def redraw(self) -> None:
        """Show everything again: a window has changed its size, or the program is back."""
        self._call(self._each, lambda channel: channel.redraw())

    # From here on: in the desk's thread.

    @property
    def open_prompts(self) -> tuple[Prompt, ...]:
        """Return what is asked now, the oldest first."""
        return tuple(prompt for prompt, _ in self._asked.values())

    def offer(self, prompt_id: str, answer: Answer) -> Answer | None:
        """Take *answer* if nobody was first: None; else return the one that was.

        Raises:
            InputError: not an answer to that question.
            ToolError: that question is not asked, or was withdrawn.
        """
        if prompt_id not in self._asked:
            first = self._answers.get(prompt_id)
            if first is None:
                raise ToolError(f"{prompt_id}: nobody asks that now")
            late = checked(self._closed[prompt_id], answer)
            if (late.key, late.words) != (first.key, first.words):
                self._on_late(self._closed[prompt_id], late, first)
            return first
        self._settle(prompt_id, checked(self._asked[prompt_id][0], answer))
        return None

    def _run(self) -> None:
        loop = self._loop or asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._serve())
        finally:
            for _, future in self._asked.values():
                if future.set_running_or_notify_cancel():
                    future.set_exception(ToolError("the desk was closed before an answer"))
            loop.close()

    async def _serve(self) -> None:
        """Open the channels, let the loop turn until `close`, and close them."""
        opened: list[Channel] = []
        try:
            for channel in self._channels:
                await channel.open(self)
                opened.append(channel)
        except HarnessError as error:
            self._opened.set_exception(error)
        else:
            self._opened.set_result(None)
            await self._stop.wait()
        for channel in reversed(opened):
            await channel.close()

    def _call(self, work: Callable[..., None], *arguments: object) -> None:
        """Have *work* done in the desk's thread.

        Raises:
            ToolError: the desk is closed.
        """
        if self._loop is None:
            raise ToolError("the desk for prompts is not open")
        try:
            self._loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError as error:  # asyncio's word for a closed loop
            raise ToolError("the desk for prompts is closed") from error

    def _put(self, prompt: Prompt, future: Future[Answer]) -> None:
        if prompt.id in self._answers or prompt.id in self._asked:
            if future.set_running_or_notify_cancel():
                future.set_exception(ToolError(f"{prompt.id}: was asked before"))
            return
        if future.cancelled():
            return
        if not self._asked:
            self._on_show()
        self._asked[prompt.id] = (prompt, future)
        self._each(lambda channel: channel.show(prompt))

    def _settle(self, prompt_id: str, answer: Answer | None) -> None:
        """Close a question: with its first answer, or with None when it was withdrawn."""
        prompt, future = self._asked.pop(prompt_id, (None, None))
        if prompt is None or future is None:
            return
        if not future.set_running_or_notify_cancel():  # withdrawn at this very moment
            answer = None
        self._answers[prompt_id], self._closed[prompt_id] = answer, prompt
        self._each(lambda channel: channel.closed(prompt, answer))
        if not self._asked:
            self._on_hide()
        if answer is not None:
            future.set_result(answer)

    def _withdraw(self, prompt_id: str) -> None:
        try:
            self._call(self._settle, prompt_id, None)
        except ToolError:
            logger.debug("prompt=%s withdrawn after the desk was closed", prompt_id)

    def _note(self, prompt_id: str, line: str) -> None:
        prompt, _ = self._asked.get(prompt_id, (None, None))
        if prompt is not None:
            self._each(lambda channel: channel.note(prompt, line))

    def _each(self, deed: Callable[[Channel], None]) -> None:
        for channel in self._channels:
            deed(channel)
