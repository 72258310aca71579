"""One run of the whole lab with tcpdump beside its own tap, for all tests that read such a run."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.peers import need, need_root
from tests.lab.tcpdump import TcpdumpRecorder
from tests.loopback.runs import CasesRun, run_cases, steady

NET = 84  # 127.0.84.x


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """A run judged from its own tap, and what tcpdump saw of it from before to after."""

    run: CasesRun
    watched: Path
    dropped: int | None  # by tcpdump's kernel


@pytest.fixture(scope="session")
def watched_run(tmp_path_factory: pytest.TempPathFactory) -> WatchedRun:
    """Return a run of part B on loopback, and tcpdump's capture of the interface meanwhile."""
    need_root()
    need("tcpdump", "tcpdump")
    need("setpriv", "util-linux")
    seen: dict[Path, WatchedRun] = {}

    def once(folder: Path) -> CasesRun:
        recorder = TcpdumpRecorder(NET, folder)
        asyncio.run(recorder.start(folder / "watched.pcap"))
        try:
            run = run_cases(folder, NET)
        finally:
            _, dropped = asyncio.run(recorder.stop())
        seen[run.folder] = WatchedRun(run, folder / "watched.pcap", dropped)
        return run

    return seen[steady(tmp_path_factory.mktemp("watched"), once).folder]
