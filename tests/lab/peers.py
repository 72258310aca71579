"""Real programs beside ours: found or skipped, started, waited for, and ended with the test.

Everything here fails loudly: a peer that does not come up in time is an error, never a skip.
"""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = Path(__file__).parents[2] / "packages.debian"
LIMIT_S = 90.0  # for a peer to start, answer or end: milliseconds alone, seconds on a busy machine
POLL_S = 0.005

Process = subprocess.Popen[bytes]


def packages() -> frozenset[str]:
    """Return the Debian packages that packages.debian lists."""
    return frozenset(re.findall(r"^([a-z0-9][a-z0-9.+-]+)", PACKAGES.read_text(), re.MULTILINE))


def need(program: str, package: str) -> str:
    """Return the path of *program*; without it the test is skipped, in CI failed."""
    assert package in packages(), f"{package} is missing in packages.debian"
    return shutil.which(program) or missing(program, package)


def need_root() -> None:
    """Return when this process may capture; else the test is skipped, in CI failed."""
    if os.geteuid() != 0:
        _skip("not root: tcpdump needs CAP_NET_RAW; run this as root")


def missing(what: str, package: str) -> NoReturn:
    """Skip for want of a peer that *package* brings; where CI installs them all, fail."""
    assert package in packages(), f"{package} is missing in packages.debian"
    _skip(f"{what} is missing: apt-get install -y --no-install-recommends {package}")


def _skip(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def start(argv: Sequence[str], log: Path) -> Process:
    """Return the started peer, in a process group of its own; it ends when this process does.

    Both its streams go to the file *log*.
    """
    bound = [need("setpriv", "util-linux"), "--pdeathsig", "KILL", "--", *argv]
    with log.open("ab") as out:
        return subprocess.Popen(
            bound, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0
        )


async def until(happened: Callable[[], bool], what: str, log: Path | None = None) -> None:
    """Return once *happened* says so; else fail with *what* was waited for, and with the *log*."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not happened():  # noqa: ASYNC110 - a file or a process has no event to wait for
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise AssertionError(f"not within {LIMIT_S:g} s: {what}\n{_said(log)}") from error


def _said(log: Path | None) -> str:
    return "" if log is None or not log.exists() else log.read_text(errors="replace")
