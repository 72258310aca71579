"""What stands in for `ps` and `ss` says what they say."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fst.lab import proc_tables
from harness.snapshot import Process, Socket, parse_processes, parse_sockets
from tests.lab.peers import need

pytestmark = pytest.mark.lab

ENV = os.environ | {"LC_ALL": "C", "TZ": "UTC"}
PS_ROW = 100_000  # characters: procps 4.0.2 cuts a row near 131 072
IMITATED = f"{os.getpid()} Sun Nov 22 10:00:00 2026 ngp-app"
ODD = {
    "newline": ["two\nlines"],
    "imitation": [f"x\n{IMITATED}"],
    "other": ["tab\tescape\x1b[31m delete\x7f é\u2028", "", "end\n\n", ""],
}
SECONDS_APART = 1  # ps rounds the time of the boot in its own way


def printed(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=ENV).stdout


def own(*arguments: str) -> str:
    return printed(sys.executable, "-I", "-S", str(Path(proc_tables.__file__)), *arguments)


def listed_by_ps() -> dict[int, Process]:
    rows = parse_processes(printed("ps", "-ww", "-eo", "pid,lstart,args"))
    return {row.pid: replace(row, args=shown(row.args)) for row in rows}


def shown(args: str) -> str:
    """Return *args* as far as both print them: ps cuts a row, and a worker's name is of a moment.

    The kernel renames a kworker with each piece of work.
    """
    return "[kworker]" if args.startswith("[kworker/") else args[:PS_ROW].rstrip()


@pytest.fixture
def odd() -> Iterator[dict[str, int]]:
    """Return the ids of processes whose arguments are no plain text, and of one that ended."""
    text = "import sys; sys.stdin.read()"
    argv = [[sys.executable, "-c", text, *arguments] for arguments in ODD.values()]
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen(one, stdin=subprocess.PIPE)) for one in argv
        ]
        ended = stack.enter_context(subprocess.Popen([sys.executable, "-c", ""]))
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet collected
        pids = [one.pid for one in (*running, ended)]
        yield dict(zip([*ODD, "ended"], pids, strict=True))


def test_processes_are_those_of_ps(odd: dict[str, int]) -> None:
    """Every process that did not change meanwhile has the same command line and start.

    So has one with newlines in its arguments, one that imitates a row, and one that has ended.
    """
    need("ps", "procps")
    before = listed_by_ps()
    ours = {one.pid: one for one in parse_processes(own("ps"))}
    after = listed_by_ps()
    same = {pid for pid in before.keys() & after.keys() if before[pid].args == after[pid].args}
    both = same & ours.keys()

    assert {os.getpid(), *odd.values()} <= both
    assert {pid: shown(ours[pid].args) for pid in both} == {pid: before[pid].args for pid in both}
    assert all(abs(ours[pid].start_s - before[pid].start_s) <= SECONDS_APART for pid in both)


def test_newline_of_an_argument_is_a_space(odd: dict[str, int]) -> None:
    """Both print one row a process, so no process can pass for another."""
    need("ps", "procps")

    for listing in (own("ps"), printed("ps", "-ww", "-eo", "pid,lstart,args")):
        rows = {one.pid: one for one in parse_processes(listing)}

        assert rows[odd["newline"]].args.endswith(" two lines")
        assert rows[odd["imitation"]].args.endswith(f" x {IMITATED}")
        assert rows[os.getpid()].args != "ngp-app"


def test_sockets_are_those_of_the_address() -> None:
    """A connection shows from both ends, each under its own address, and a listener never."""
    with socket.create_server(("127.0.91.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(
            ("127.0.91.1", port), source_address=("127.0.91.2", 0)
        ) as end:
            here = end.getsockname()[1]
            near, far = (
                parse_sockets(own("ss", "127.0.91.2")),
                parse_sockets(own("ss", "127.0.91.1")),
            )

    assert near == (Socket("127.0.91.2", here, "127.0.91.1", port, "ESTAB"),)
    assert far == (Socket("127.0.91.1", port, "127.0.91.2", here, "ESTAB"),)


def test_other_arguments_are_refused() -> None:
    """Anything else prints how it is used, and ends with 2."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", proc_tables.__file__, "top"], capture_output=True, check=False
    )

    assert done.returncode == 2
    assert b"ps | ss ADDRESS" in done.stderr
