"""A run that only waits for a set makes room for a person; one that works does not."""

import os
import threading
from pathlib import Path
from typing import Self

import pytest

from hasync.commands import record, run_lock
from hasync.commands.run_lock import ASIDE, locked, refuse_when_asked
from hasync.failure import Exit, Stop
from hasync.peer.wakeup import waiting

AT_NS = 1_795_372_860 * 10**9
LIMIT_S = 30.0


class Run:
    """A run in a thread of its own, that holds the lock and waits, or only keeps the FIFO open."""

    def __init__(self, state: Path, *, looks: bool) -> None:
        self._state, self._looks = state, looks
        self._ready, self._over = threading.Event(), threading.Event()
        self.ended: Stop | None = None
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        """Give it once it waits."""
        self._thread.start()
        assert self._ready.wait(LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Let it end."""
        self._over.set()
        self._thread.join()

    def end(self) -> None:
        """Let it end what it does."""
        self._over.set()

    def _work(self) -> None:
        with locked(self._state, "pgsync", at_ns=AT_NS), waiting(self._state) as arrivals:
            self._ready.set()
            if not self._looks:
                self._over.wait(LIMIT_S)
                return
            try:
                assert arrivals.wait(LIMIT_S)
                refuse_when_asked(self._state)
            except Stop as stop:
                self.ended = stop


def test_a_waiting_run_makes_room_for_a_person(tmp_path: Path) -> None:
    """It ends with a code of its own and names who asked; the lock goes to that command."""
    with (
        Run(tmp_path, looks=True) as run,
        locked(tmp_path, "hasync rollback", asks=True) as gone,
    ):
        assert gone == f"pgsync, pid {os.getpid()}, since 2026-11-22T18:41:00Z"

    assert run.ended is not None
    assert run.ended.code is Exit.ASIDE
    assert f"asked by hasync rollback, pid {os.getpid()}" in str(run.ended)


def test_a_run_at_work_is_never_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """75 says who it is, since when, what it does, and how to end it; nobody is asked any more."""
    monkeypatch.setattr(run_lock, "ASIDE_S", 0.2)
    (tmp_path / run_lock.RESTORE).touch()
    with (
        Run(tmp_path, looks=False),
        pytest.raises(Stop) as refused,
        locked(tmp_path, "hasync rollback", asks=True),
    ):
        pass

    assert refused.value.code is Exit.LOCKED
    for words in ("since 2026-11-22T18:41:00Z", "at restore now", f"kill {os.getpid()}"):
        assert words in str(refused.value)
    refuse_when_asked(tmp_path)


def test_a_run_that_only_looks_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A look at a large database is no restore: it steps aside afterwards, and one is told so."""
    monkeypatch.setattr(run_lock, "ASIDE_S", 0.1)
    monkeypatch.setattr(run_lock, "LOOKING_S", LIMIT_S)
    with Run(tmp_path, looks=False) as run:
        threading.Timer(0.5, run.end).start()
        with locked(tmp_path, "hasync rollback", asks=True) as gone:
            assert gone.startswith("pgsync, pid")

    assert "waits for pgsync, pid" in caplog.text


def test_a_command_of_cron_asks_nobody(tmp_path: Path) -> None:
    """Only what a person types ends a waiting run."""
    with (
        Run(tmp_path, looks=False),
        pytest.raises(Stop, match="another run is at work"),
        locked(tmp_path, "pgsync"),
    ):
        pass

    assert not (tmp_path / ASIDE).exists()


def test_who_asked_and_was_killed_is_forgotten(tmp_path: Path) -> None:
    """The request counts as long as its process lives."""
    (tmp_path / ASIDE).write_text("hasync rollback, pid 1\n")

    refuse_when_asked(tmp_path)


def test_stepping_aside_is_no_failure_in_row() -> None:
    """Two nights with a rollback are no alarm; nor is it a success."""
    runs = record.began({}, "pgsync", 1, AT_NS)
    for code, failures in ((Exit.TIMEOUT, 1), (Exit.ASIDE, 1), (Exit.OK, 0), (Exit.ASIDE, 0)):
        runs = record.ended(
            runs, "pgsync", at_ns=AT_NS, took_s=1.0, exit_code=code, why="", facts={}
        )
        assert runs["pgsync"].failures == failures
        assert runs["pgsync"].ok == (code == Exit.OK)
