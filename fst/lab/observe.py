"""The edge of looking: does a server answer, does anybody still write a file?

What was done to a host is only believed to be undone when it was seen here.
"""

import asyncio
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from enumtest.dns.message import encode_query, parse_answer
from fst.debts import DebtKind, Ledger
from fst.lab import hostd
from fst.lab.hosts import states_in, stop_all
from fst.lab.tap import Tap
from harness.clock import Clock
from harness.errors import InputError, WireError
from harness.packets.frame import Endpoint

TRIES = 3
ANSWER_S = 0.4  # for one try
HOSTS_PREFIX = "fst-hosts-"  # of the folder of a lab's hosts
MAX_UDP_BYTES = 65_535


async def answer_of(server: Endpoint, apex: str, clock: Clock, tap: Tap) -> str:
    """Return in words what *server* answers to a question for *apex*; "" when it does not.

    Any answer will do: it shows that the service runs. The question is on the tap like all else.
    """
    for _ in range(TRIES):
        said = await _ask(server, apex, clock, tap)
        if said:
            return said
    return ""


async def _ask(server: Endpoint, apex: str, clock: Clock, tap: Tap) -> str:
    number = secrets.randbelow(0x10000)
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect((server.address, server.port))
            own = Endpoint(*asking.getsockname()[:2])
            query = encode_query(number, apex, qtype="SOA")
            async with asyncio.timeout(ANSWER_S):
                tap.sent(clock.wall_ns(), own, server, query)
                await loop.sock_sendall(asking, query)
                while True:
                    found = parse_answer(await loop.sock_recv(asking, MAX_UDP_BYTES))
                    if found.id == number:
                        return f"{server} answers ({found.rcode})"
        except (OSError, TimeoutError, WireError):  # refused, unreachable, silent, no DNS
            return ""


def holders_of(path: Path) -> tuple[int, ...]:
    """Return the ids of the processes that have *path* open, as far as we may look."""
    wanted = path.resolve()
    processes = (one for one in Path("/proc").iterdir() if one.name.isdecimal())
    return tuple(sorted(int(one.name) for one in processes if _holds(one, wanted)))


def _holds(process: Path, wanted: Path) -> bool:
    try:
        return any(_target(one) == wanted for one in (process / "fd").iterdir())
    except OSError:  # it ended, or is another user's: then the file in our folder is not its
        return False


def _target(entry: Path) -> Path | None:
    try:
        return entry.readlink()
    except OSError:  # closed meanwhile
        return None


def closed_file(path: Path) -> str:
    """Return in words that nobody writes *path* any more; "" while somebody does."""
    if holders_of(path):
        return ""
    size = path.stat().st_size if path.exists() else None
    return "the file was never made" if size is None else f"no process has it open; {size} bytes"


def pay_captures(ledger: Ledger, target: str, folder: Path, said: str = "") -> None:
    """Close the debts of the captures of *target* in *folder* that nobody writes any more."""
    for debt in ledger.owed_of(DebtKind.CAPTURE_STARTED, target):
        path = folder / debt.what
        is_ours = path.resolve().is_relative_to(folder.resolve())  # a journal may name anything
        seen = closed_file(path) if is_ours else ""
        if seen:
            ledger.pay(debt, f"{said}; {seen}" if said else seen)


async def end_hosts(folder: Path) -> str:
    """End the lab's hosts below *folder*, and remove it; return what was seen, "" if some live."""
    _refuse_strange(folder)
    states = states_in(folder)
    await stop_all(folder)
    names = _processes(states)
    known = {(state, one.stem) for state in states for one in (state / "run").glob("*.ended")}
    if any(hostd.living(state, name) is not None for state, name in names):
        return ""
    return f"none of {len(known.union(names))} processes lives; {folder} {_removed(folder, states)}"


def _removed(folder: Path, states: Iterable[Path]) -> str:
    """Remove the hosts below *folder*, and it too unless there is more in it; say which."""
    for state in states:
        shutil.rmtree(state, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()
    return "is left, with what is not a lab's" if folder.exists() else "is gone"


def _refuse_strange(folder: Path) -> None:
    """Refuse to end and to remove what a journal names, unless a lab of this user's made it.

    Raises:
        InputError: it is no such folder.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    named = folder.name.startswith(HOSTS_PREFIX)
    if (
        not ours
        or not named
        or any(state.parent != folder.resolve() for state in states_in(folder))
    ):
        fix = "look at it, and remove it by hand"
        raise InputError("not a folder that a lab made", field="debt", value=str(folder), fix=fix)


def all_live(folder: Path) -> bool:
    """Say whether the lab's hosts below *folder* are there, and every process of theirs lives."""
    found = _processes(states_in(folder))
    return bool(found) and all(hostd.living(state, name) is not None for state, name in found)


def _processes(states: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return the host's folder and the name of each process that was ever started."""
    return [(state, one.stem) for state in states for one in sorted((state / "run").glob("*.pid"))]
