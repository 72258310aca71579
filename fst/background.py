"""The edge that lets work go on beside the run: one asyncio loop in a thread of its own.

The runner's own loop turns only while a case does; what is begun here goes on between the cases.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """A loop in a thread; use `start`, and `close` at the end."""

    def __init__(self, name: str) -> None:
        """Start the thread; return when its loop turns."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=self._turn, name=name, daemon=True)
        self._thread.start()
        self._loop, self._enough = self._ready.result()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin *work*; cancelling what is returned cancels it, its clean-up included."""
        return asyncio.run_coroutine_threadsafe(self._known(work), self._loop)

    def close(self) -> None:
        """Cancel what goes on, wait for its clean-up and for the thread; may be called again.

        Only what was started is cancelled, not what that awaits: a child process that is being
        started at that moment would otherwise be waited for without end (Python 3.11).
        """
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._enough.set)
            self._thread.join()

    def _turn(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._until_enough())

    async def _until_enough(self) -> None:
        enough = asyncio.Event()
        self._ready.set_result((asyncio.get_running_loop(), enough))
        await enough.wait()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _known(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out *work* as a task that `close` knows."""
        own = asyncio.current_task()
        self._tasks |= {own} if own is not None else set()
        try:
            return await work
        finally:
            self._tasks -= {own} if own is not None else set()
