"""The frame of every command: exit code, stderr, record and lock tell the truth at every end."""

import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import InputError, ToolError
from hasync.commands.command import Command, Context, Outcome, run
from hasync.commands.ending import changed_since
from hasync.commands.process import Signals
from hasync.commands.run_lock import is_held, locked
from hasync.failure import Exit, Interrupted, Stop
from hasync.operation import Operation

HERE = Path(__file__).parents[2]
SETTINGS = """
site = "dallas"
[folders]
base = "{base}"
[signing]
key = "/k"
allowed_signers = "/a"
[peer]
site = "austin"
[application]
"""


@dataclass(frozen=True, slots=True)
class Words:
    """The options of the command under test."""

    config: str
    json: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """A base folder with settings."""

    base: Path
    settings: Path

    def run(self, act: Callable[[Context, Words], Outcome], *, name: str = "job") -> int:
        """Return the exit code of a command that does *act*."""

        def parse(argv: Sequence[str]) -> Words:
            return Words(str(self.settings), "--json" in argv)

        return run(Command("job", parse, act, lambda _: name), [])

    def record(self) -> dict[str, object]:
        """Return what is on record of the command."""
        found = json.loads((self.base / "state/status.json").read_text())["runs"]["job"]
        assert isinstance(found, dict)
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Give a host that was never used."""
    base = tmp_path / "base"
    base.mkdir(mode=0o700)
    settings = tmp_path / "s.toml"
    settings.write_text(SETTINGS.format(base=base))
    return Host(base, settings)


def fails(error: BaseException) -> Callable[[Context, Words], Outcome]:
    """Return a command that ends with *error*."""

    def act(_context: Context, _words: Words) -> Outcome:
        raise error

    return act


def well(_context: Context, _words: Words) -> Outcome:
    """Succeed."""
    return Outcome(Exit.OK, ("done",), {"what": 1})


ENDS = {
    "stop": (Stop(Exit.TRANSFER, "not sent"), 14),
    "input": (InputError("bad"), 10),
    "tool": (ToolError("broken"), 2),
    "full": (OSError(errno.ENOSPC, "No space left", "/x"), 13),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded", "/x"), 13),
    "system": (PermissionError(errno.EACCES, "Permission denied", "/x"), 2),
    "bug": (ZeroDivisionError("oh"), 2),
}


@pytest.mark.parametrize(("error", "code"), ENDS.values(), ids=ENDS.keys())
def test_end_is_told_alike_everywhere(
    error: Exception, code: int, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code, one line on stderr and the record agree; nothing stays locked or running."""
    assert host.run(fails(error)) == code

    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("job: ")
    record = host.record()
    assert (record["exit_code"], record["running"], record["failures"]) == (code, False, 1)
    assert str(record["why"]) in printed.err
    assert not is_held(host.base / "state")


def test_success_is_recorded_with_its_facts(host: Host) -> None:
    """What a run did stays readable after it."""
    assert host.run(well) == 0

    record = host.record()
    assert (record["exit_code"], record["facts"]) == (0, {"what": 1})
    assert record["last_ok_at_ns"] == record["ended_at_ns"]


def test_cause_of_a_tool_error_counts(host: Host) -> None:
    """A journal that finds the disk full ends the run with the code for no space."""
    error = ToolError("event not written")
    error.__cause__ = OSError(errno.ENOSPC, "No space left")

    assert host.run(fails(error)) == Exit.NO_SPACE


def test_record_says_running_while_it_runs(host: Host) -> None:
    """Before anything is done, an earlier success is no longer the last word."""
    host.run(well)
    seen: list[object] = []

    def act(_context: Context, _words: Words) -> Outcome:
        seen.append(host.record()["running"])
        return Outcome()

    host.run(act)
    assert seen == [True]


def test_second_run_ends_at_once(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """F39: 75, who holds the lock, and the record of the run that works is left alone."""

    def act(_context: Context, _words: Words) -> Outcome:
        assert host.run(well) == Exit.LOCKED
        assert host.record()["running"]
        return Outcome()

    assert host.run(act) == 0
    assert f"job, pid {os.getpid()}" in capsys.readouterr().err


def test_who_only_looks_takes_no_lock_away(host: Host) -> None:
    """A monitoring system that asks all the time does not make a run end with 75."""
    host.run(well)
    with (host.base / "state/run.lock").open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        with pytest.raises(Stop), locked(host.base / "state", "x"):
            pass  # held for good it cannot be taken
        fcntl.flock(looker, fcntl.LOCK_UN)
        with locked(host.base / "state", "x"):
            assert is_held(host.base / "state")


def test_log_that_cannot_be_written_ends_nothing(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """F44, H76: the work is done, and the exit code says that somebody should look."""
    host.run(well)
    (host.base / "log/job.log").unlink()
    (host.base / "log/job.log").mkdir()

    assert host.run(well) == Exit.WARNING
    printed = capsys.readouterr()
    assert "done" in printed.out
    assert "the log is not whole" in printed.err


def test_record_that_cannot_be_begun_stops_before_all(host: Host) -> None:
    """F44: a run that could not be told from an older success is not begun."""
    host.run(well)
    (host.base / "state/status.json").unlink()
    (host.base / "state/status.json").mkdir()
    done: list[int] = []

    def act(_context: Context, _words: Words) -> Outcome:
        done.append(1)
        return Outcome()

    assert host.run(act) != Exit.OK
    assert done == []


def test_record_that_cannot_be_ended_is_told(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """F44: the work is done; the file still says running, which nobody takes for a success."""

    def act(_context: Context, _words: Words) -> Outcome:
        (host.base / "state/.status.json.tmp").mkdir()
        return Outcome()

    assert host.run(act) == Exit.WARNING
    assert "the record was not written" in capsys.readouterr().err
    assert host.record()["running"]


def test_lost_record_begins_anew(host: Host) -> None:
    """A torn status file is no reason not to work."""
    host.run(well)
    (host.base / "state/status.json").write_text('{"schema": 1, "ru')

    assert host.run(well) == 0
    assert host.record()["exit_code"] == 0


def test_foreign_folder_is_refused(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """F43: a folder with somebody's files in it is not taken over, and nothing is made there."""
    (host.base / "before-upgrade.tgz").write_text("x")

    assert host.run(well) == Exit.CONFIG
    assert [path.name for path in host.base.iterdir()] == ["before-upgrade.tgz"]
    assert "before-upgrade.tgz" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_folder_that_others_may_write_is_refused(mode: int, host: Host) -> None:
    """What lies in it could be anybody's."""
    host.base.chmod(mode)

    assert host.run(well) == Exit.CONFIG


def test_half_way_is_not_nothing_changed(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure between swap and confirmation is 3, and says what to run."""
    monkeypatch.setenv("HASYNC_FAILPOINT", "restore.swap.after:raise")

    def act(context: Context, _words: Words) -> Outcome:
        state = host.base / "state"
        with Operation("restore", state, context.clock) as one, one.step("swap"):
            pass
        return Outcome()

    assert host.run(act) == Exit.RECOVER
    assert "hasync recover" in capsys.readouterr().err


def test_failure_after_the_confirmation_is_a_warning(host: Host) -> None:
    """What is live is proved; only what follows failed."""

    def act(context: Context, _words: Words) -> Outcome:
        with Operation("restore", host.base / "state", context.clock) as operation:
            for name in ("swap", "confirm"):
                with operation.step(name):
                    pass
            raise Stop(Exit.FAILED, "not pruned")

    assert host.run(act) == Exit.WARNING


def test_failure_before_the_swap_changed_nothing(host: Host) -> None:
    """Exit code 2 keeps its promise."""

    def act(context: Context, _words: Words) -> Outcome:
        state = host.base / "state"
        with Operation("restore", state, context.clock) as one, one.step("load"):
            raise Stop(Exit.FAILED, "pg_restore failed")

    assert host.run(act) == Exit.FAILED
    assert changed_since(host.base / "state", frozenset()) == ""


def test_umask_and_handlers_are_put_back(host: Host) -> None:
    """A command may run in a process that goes on."""
    umask = os.umask(0o022)
    os.umask(umask)
    before = signal.getsignal(signal.SIGTERM)
    host.run(well)
    after = os.umask(umask)

    assert after == umask
    assert signal.getsignal(signal.SIGTERM) is before
    assert (host.base / "state").stat().st_mode & 0o777 == 0o700


def test_logs_stay_on_one_line(host: Host) -> None:
    """A hostile name cannot write a second event, nor drive a terminal."""

    def act(_context: Context, _words: Words) -> Outcome:
        logging.getLogger("hasync.x").info("name=%s", "a\n2026 ERROR \x1b[2J")
        return Outcome()

    host.run(act)
    text = (host.base / "log/job.log").read_text()
    assert len([line for line in text.splitlines() if "name=" in line]) == 1
    assert "\x1b" not in text


PROGRAM = """
import os, sys, time
from hasync.commands.command import Command, Outcome, run
from dataclasses import dataclass
@dataclass
class W:
    config: str
    json: bool = False
def act(context, words):
    BODY
    return Outcome(0, ("d\\u2026ne",))
sys.exit(run(Command("job", lambda argv: W(argv[0]), act, lambda w: "job")))
"""


def start(host: Host, body: str, shell: str = "", **env: str) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own, with only *env* in its environment."""
    # a test run that began with nohup or & ignores these two, and what it starts would as well
    argv = ["/usr/bin/env", "--default-signal=HUP,INT", sys.executable, "-S", "-c"]
    argv += [PROGRAM.replace("BODY", body), str(host.settings)]
    if shell:
        argv = ["/bin/sh", "-c", f'{shell}; exec "$@"', "sh", *argv]
    pipe = subprocess.PIPE
    env["PYTHONPATH"] = str(HERE)
    return subprocess.Popen(argv, env=env, stdout=pipe, stderr=pipe, cwd="/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_the_run_in_order(number: signal.Signals, host: Host) -> None:
    """128+N, on record, and a second signal does not disturb that."""
    body = "print('on', flush=True); time.sleep(60)"
    with start(host, body) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        process.send_signal(number)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert err.decode() == f"job: ended by {number.name}\n"
    assert host.record()["exit_code"] == 128 + number


def test_killed_run_is_not_a_success(host: Host) -> None:
    """After kill -9 the record says running, the lock is free, and the next run works."""
    host.run(well)
    with start(host, "print('on', flush=True); time.sleep(60)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()

    assert host.record()["running"]
    assert not is_held(host.base / "state")
    assert host.run(well) == 0


@pytest.mark.parametrize(
    ("shell", "env"),
    [
        ("umask 0", {}),
        ("umask 777", {}),
        ("", {"LC_ALL": "C"}),
        ("", {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("", {"LANG": "xx_YY.ISO-8859-1", "TZ": "Pacific/Chatham"}),
        ("exec <&- >&- 2>&-", {}),
        ("exec >&-", {}),
    ],
    ids=["umask 0", "umask 777", "C", "ascii", "odd locale", "no streams", "no stdout"],
)
def test_environment_does_not_matter(shell: str, env: dict[str, str], host: Host) -> None:
    """No HOME or USER, any umask and locale, closed streams: it works, its files are private."""
    streams = "assert not [n for n in range(3) if 'base' in os.readlink(f'/proc/self/fd/{n}')]"
    with start(host, streams, shell, **env) as process:
        process.communicate(timeout=30)

    assert process.returncode == 0
    modes = {path: path.stat().st_mode & 0o777 for path in host.base.rglob("*")}
    assert set(modes.values()) <= {0o600, 0o700}
    assert host.base / "log/job.log" in modes


def test_second_signal_is_not_heard() -> None:
    """The first one ends the run; what it then puts back is not disturbed."""
    signals = Signals()
    with pytest.raises(Interrupted):
        signals(signal.SIGTERM, None)

    assert signals(signal.SIGINT, None) is None  # type: ignore[func-returns-value]


def test_folder_that_is_gone_does_not_matter(host: Host, tmp_path: Path) -> None:
    """Started in a removed folder it works in its own."""
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f"cd {gone}; rmdir {gone}"
    with start(host, "assert os.getcwd().endswith('base')", shell) as process:
        _, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (0, b"")


def test_reader_that_left_is_no_failure(host: Host) -> None:
    """`pgsync … | head -0` did its work all the same."""
    with start(host, "pass", "exec >/dev/full") as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == Exit.WARNING
    assert b"could not be printed" in err

    with start(host, "time.sleep(0.2)") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=30) == 0
