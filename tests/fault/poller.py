"""Asks one database every 50 ms what it holds, on a new connection each time, as an operator would.

Each answer is kept with when it came, so that afterwards every moment of a fault is judged: what
was seen, and for how long nothing was.
"""

import itertools
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.fault.content import NAME, Content, ask
from tests.fault.postgres_wire import Connection, ServerError
from tests.fault.site import Site

EVERY_S = 0.05
LIMIT_S = 5.0  # of one question


@dataclass(frozen=True, slots=True)
class Poll:
    """One question: asked and answered at these monotonic times."""

    asked_ns: int
    answered_ns: int
    content: Content | None
    error: str  # the SQLSTATE and words, when there was no content


@dataclass(slots=True)
class Poller:
    """A thread that asks until the block is left."""

    site: Site
    database: str = NAME
    polls: list[Poll] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to ask; return after the first answer."""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        while not self.polls:
            self._end.wait(EVERY_S / 10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask once more, and end."""
        self._end.set()
        if self._thread:
            self._thread.join()
        self._ask()

    def _work(self) -> None:
        while not self._end.wait(EVERY_S):
            self._ask()

    def _ask(self) -> None:
        asked_ns = time.monotonic_ns()
        content, error = None, ""
        try:
            with Connection(self.site.database(self.database), LIMIT_S) as connection:
                content = ask(connection)
        except ServerError as said:
            error = str(said)
        self.polls.append(Poll(asked_ns, time.monotonic_ns(), content, error))

    @property
    def contents(self) -> set[tuple[tuple[str, int], ...]]:
        """Return every state that was seen, as the last row of each writer."""
        return {poll.content.upto for poll in self.polls if poll.content}

    @property
    def errors(self) -> set[str]:
        """Return everything that was said in place of an answer."""
        return {poll.error for poll in self.polls if poll.error}

    @property
    def broken(self) -> set[str]:
        """Return everything seen that no sound database shows."""
        return {why for poll in self.polls if poll.content for why in poll.content.broken}

    @property
    def longest_silence_s(self) -> float:
        """Return the longest time without an answer, from one answer to the next."""
        good = [poll.answered_ns for poll in self.polls if poll.content]
        ends = [self.polls[0].asked_ns, *good, self.polls[-1].answered_ns]
        return max(later - earlier for earlier, later in itertools.pairwise(ends)) / 1e9
