"""harness.ssh against a real sshd."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from harness.clock import SystemClock
from harness.ssh import Ssh, SshError, Trouble
from harness.ssh_access import SshAccess
from tests.lab.sshd_lab import Sshd, Wire, descendants, named, running, wired

pytestmark = pytest.mark.lab

HOST = "127.0.86.1"


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    """Return a running sshd without a forced command."""
    with running(HOST) as found:
        yield found


@pytest.fixture
def wire(sshd: Sshd) -> Iterator[Wire]:
    """Return a wire to it."""
    with wired(sshd) as found:
        yield found


def ssh_to(sshd: Sshd, port: int | None = None, **more: object) -> Ssh:
    return Ssh(HOST, argv0=sshd.client(port), connect_s=2, alive_s=1, alive_count=2, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [0, 1, 127, 254, 255])
def test_exit_code_is_the_commands(sshd: Sshd, code: int) -> None:
    """Every exit code of a command comes back as it is, ssh's own 255 too."""
    output = ssh_to(sshd).run("sh", "-c", f"echo out; echo err >&2; exit {code}")

    assert (output.exit_code, output.stdout, output.stderr) == (code, b"out\n", b"err\n")


@pytest.mark.parametrize(
    "word", ["", " ", "a b", "$HOME", "'", '"', "\\", "*", ";id", "a\nb", "é", "-n", "`id`"]
)
def test_word_arrives_unchanged(sshd: Sshd, word: str) -> None:
    """The remote shell takes every word for a word."""
    output = ssh_to(sshd).run("printf", "%s|", word, "end")

    assert output.stdout == f"{word}|end|".encode()


def test_input_and_output_are_carried_whole(sshd: Sshd) -> None:
    """A MiB of any bytes goes there and back."""
    sent = bytes(range(256)) * 4096

    assert ssh_to(sshd).run("cat", stdin=sent).stdout == sent


def test_signal_there_is_a_result(sshd: Sshd) -> None:
    """A command that a signal ended did run; it is no lost connection."""
    assert ssh_to(sshd).run("sh", "-c", "kill -9 $$").exit_code == 255


def test_changed_host_key_is_no_trust(sshd: Sshd) -> None:
    """Another host key ends it before the command is sent, whatever the user's config allows."""
    marker = sshd.folder / "marker"
    ssh = Ssh(HOST, argv0=sshd.client(host_key="other_host_key"))

    with pytest.raises(SshError) as caught:
        ssh.run("touch", str(marker))

    assert caught.value.trouble is Trouble.UNTRUSTED
    assert "Host key verification failed" in caught.value.words
    assert not marker.exists()


def test_unknown_host_key_is_no_trust(sshd: Sshd) -> None:
    """A host that is not in known_hosts is not asked about, and not believed."""
    known = f"UserKnownHostsFile={os.devnull}"
    program, *more = sshd.client()
    ssh = Ssh(HOST, argv0=(program, "-o", known, "-o", "StrictHostKeyChecking=no", *more))

    with pytest.raises(SshError) as caught:
        ssh.run("true")

    assert caught.value.trouble is Trouble.UNTRUSTED


def test_refused_key_is_no_trust(sshd: Sshd) -> None:
    """A host that does not take our key has not been asked anything."""
    other = f"IdentityFile={sshd.folder}/other_host_key"

    with pytest.raises(SshError) as caught:
        Ssh(HOST, argv0=(*sshd.client(), "-F", "none"), options=(other, f"Port={sshd.port}")).run(
            "true"
        )

    assert caught.value.trouble is Trouble.UNTRUSTED


def test_closed_port_is_not_reached(sshd: Sshd, wire: Wire) -> None:
    """Nobody listening is told apart from a command that failed, in ssh's own words."""
    wire.close()

    with pytest.raises(SshError) as caught:
        ssh_to(sshd, wire.port).run("true")

    assert caught.value.trouble is Trouble.NOT_REACHED
    assert "Connection refused" in caught.value.words


def test_silent_port_is_not_reached(sshd: Sshd, wire: Wire) -> None:
    """A peer that accepts and says nothing costs the connection limit, not for ever (F14)."""
    wire.stall()
    begun_ns = time.monotonic_ns()

    with pytest.raises(SshError) as caught:
        ssh_to(sshd, wire.port).run("true")

    assert caught.value.trouble is Trouble.NOT_REACHED
    assert time.monotonic_ns() - begun_ns < 10e9


def test_cut_is_lost(sshd: Sshd, wire: Wire) -> None:
    """A connection cut under a command gives no result: it may have run or not."""
    wire.at(8000)

    with pytest.raises(SshError) as caught:
        ssh_to(sshd, wire.port).run("cat", stdin=bytes(100_000))

    assert caught.value.trouble is Trouble.LOST


def test_killed_sshd_is_lost(sshd: Sshd) -> None:
    """So does the end of the sshd that served it, whatever the command wrote to stderr."""
    said = "echo 'Host key verification failed.' >&2; kill -9 $PPID; sleep 5"

    with pytest.raises(SshError) as caught:
        ssh_to(sshd).run("sh", "-c", f"{said}")

    assert caught.value.trouble is Trouble.LOST


def test_stopped_sshd_is_lost(sshd: Sshd) -> None:
    """A stopped sshd child is noticed by unanswered keep-alives (F14)."""
    begun = sshd.folder / "begun"
    stopped: list[int] = []

    def stop() -> None:
        while not begun.exists():
            threading.Event().wait(0.01)
        for pid in named(descendants(sshd.pid), "sshd"):
            stopped.append(pid)
            os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        with pytest.raises(SshError) as caught:
            ssh_to(sshd, limit_s=15).run("sh", "-c", f"touch {begun}; exec sleep 30")
    finally:
        thread.join()
        for pid in {*descendants(sshd.pid), *stopped}:
            with suppress(ProcessLookupError):  # it ended with the one before it
                os.kill(pid, signal.SIGKILL)

    assert caught.value.trouble is Trouble.LOST


def test_command_that_does_not_end_has_no_exit_code(sshd: Sshd) -> None:
    """The limit holds; the result is open, and nothing is raised."""
    output = ssh_to(sshd).run("sleep", "30", limit_s=1.0)

    assert output.exit_code is None


def test_access_gives_no_exit_code_for_a_host_not_reached(sshd: Sshd, wire: Wire) -> None:
    """The collecting side sees what HostAccess promises: None, and ssh's words."""
    wire.close()
    access = SshAccess(ssh_to(sshd, wire.port), SystemClock())

    output = asyncio.run(access.run("uptime"))

    assert output.exit_code is None
    assert "Connection refused" in output.complaint


def test_access_runs_many_at_once(sshd: Sshd) -> None:
    """Commands of one host run beside each other."""
    access = SshAccess(ssh_to(sshd), SystemClock())

    async def all_of_them() -> list[bytes]:
        outputs = await asyncio.gather(*(access.run("echo", str(n)) for n in range(4)))
        return [output.stdout for output in outputs]

    assert asyncio.run(all_of_them()) == [b"0\n", b"1\n", b"2\n", b"3\n"]
