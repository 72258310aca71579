"""What stands in for `ps` and `ss` says what they say."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fst.lab import proc_tables
from harness.snapshot import Socket, parse_processes, parse_sockets
from tests.lab.peers import need

pytestmark = pytest.mark.lab

ENV = os.environ | {"LC_ALL": "C", "TZ": "UTC"}
SECONDS_APART = 1  # ps rounds the time of the boot in its own way


def printed(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=ENV).stdout


def own(*arguments: str) -> str:
    return printed(sys.executable, "-I", "-S", str(Path(proc_tables.__file__)), *arguments)


def test_processes_are_those_of_ps() -> None:
    """Every process that both saw has the same command line and start."""
    need("ps", "procps")
    ours = {one.pid: one for one in parse_processes(own("ps"))}
    theirs = {
        one.pid: one for one in parse_processes(printed("ps", "-ww", "-eo", "pid,lstart,args"))
    }
    both = ours.keys() & theirs.keys()

    assert os.getpid() in both
    assert {pid: ours[pid].args for pid in both} == {pid: theirs[pid].args.rstrip() for pid in both}
    assert all(abs(ours[pid].start_s - theirs[pid].start_s) <= SECONDS_APART for pid in both)


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
