"""A pytest plugin: stub ENUM servers that tell of a process and settings which outlive a run.

Loaded into the process that runs the cases (`-p tests.loopback.kept_servers`). Below the folder of
--kept-servers each server has a settings file, a file that policy rules are written into, and one
with the id of its process.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fst.lab.servers import StubServers
from fst.run_lock import start_of

Deed = Callable[[StubServers, Sequence[Any]], Awaitable[None]]
TICKS_PER_S = 100  # of a process's start in /proc


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where the servers' files are."""
    parser.addoption("--kept-servers", type=Path, required=True)


def write_rules(folder: Path, names: Sequence[str]) -> None:
    """Write the *names* of all rules into the file of each server."""
    for rules in folder.glob("*.rules"):
        rules.write_text("\n".join(names))


def pytest_configure(config: pytest.Config) -> None:
    """Have the stubs tell what is in the files."""
    folder: Path = config.getoption("--kept-servers")

    async def facts(_: StubServers, name: str) -> Mapping[str, str]:
        pid = int((folder / f"{name}.pid").read_text())
        settings = (folder / f"{name}.conf").read_bytes()
        rules = folder / f"{name}.rules"
        return {
            f"config.{rules}": hashlib.sha256(rules.read_bytes()).hexdigest(),
            "config.enumd.conf": hashlib.sha256(settings).hexdigest(),
            "process.enumd": f"{pid}@{int(start_of(pid)) // TICKS_PER_S}",
        }

    def written(deed: Deed) -> Deed:
        async def done(servers: StubServers, what: Sequence[Any]) -> None:
            await deed(servers, what)
            write_rules(folder, await servers.rules())

        return done

    patch = pytest.MonkeyPatch()
    patch.setattr(StubServers, "facts", facts)
    for name in ("install", "uninstall"):
        patch.setattr(StubServers, name, written(getattr(StubServers, name)))
    config.add_cleanup(patch.undo)
