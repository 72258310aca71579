"""Any text that a host may print gives a value or an `InputError`, and a log loses no line."""

import contextlib
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from fst.host_history import HostHistory
from harness.command import CommandOutput
from harness.cron import parse_crontab
from harness.errors import InputError
from harness.host_files import parse_hashes, parse_listing, parse_refusals, parse_stat
from harness.log_tail import LogFollower, LogLevel, Severity, replay
from harness.snapshot import (
    ServiceState,
    parse_at_boot,
    parse_clock,
    parse_proc_net,
    parse_processes,
    parse_service,
    parse_sockets,
    parse_unit,
)

PARSERS = {
    "ps": parse_processes,
    "etimes": lambda text: parse_processes(text, now_s=0),
    "service": lambda text: parse_service(text, 0),
    "unit": parse_unit,
    "boot": parse_at_boot,
    "ss": parse_sockets,
    "proc": parse_proc_net,
    "stat": parse_stat,
    "find": parse_listing,
    "sha256sum": parse_hashes,
    "refusals": parse_refusals,
    "date": lambda text: parse_clock(text, sent_ns=0, took_ns=0),
    "crontab": lambda text: parse_crontab(text, with_user=False),
    "cron.d": lambda text: parse_crontab(text, with_user=True),
}
WORDS = [
    *"0123456789 \n\t:.,*/-[]%#@()'=",
    *("1 Sun Nov 22 10:00:00 2026 x", "PID", "ESTAB 0 0 ", "127.0.0.1:1 ", "[::1]:2 ", "*:*"),
    *(
        "ngp (pid  1) is running...",
        "is stopped",
        "\x1b[31m",
        "ActiveState=active",
        "3:on",
        "5:off",
    ),
    *("0: 0100007F:1538 00000000:0000 0A ", "612 1795361286.833661338 3 81ed /x", "0 6 * * * x"),
    *("1.000000000 +0000", "@daily", "mon", "\u0663", "\ud800", "\0", "stat: cannot statx '/x': "),
]
texts = st.one_of(st.text(), st.lists(st.sampled_from(WORDS)).map("".join))


@given(st.sampled_from(sorted(PARSERS)), texts)
def test_any_text_has_a_value_or_is_refused(name: str, text: str) -> None:
    """No parser lets another error out."""
    with contextlib.suppress(InputError):
        PARSERS[name](text)


ROW = "Sun Nov 22 10:00:00 2026"
arguments = st.text(st.sampled_from("\n\t 1x\u2028\x1b"), min_size=1, max_size=12)


@given(st.dictionaries(st.integers(1, 10**10 - 1), arguments, min_size=1))
def test_processes_are_kept_apart(processes: dict[int, str]) -> None:
    """Whatever newlines their arguments hold, each process is there once, with all of them."""
    rows = [f"{pid:>7} {ROW} {processes[pid]}\n" for pid in sorted(processes)]

    found = parse_processes("".join(rows))

    assert {one.pid: one.args for one in found} == {
        pid: args.replace("\n", " ") for pid, args in processes.items()
    }


@given(st.sets(st.integers(1, 99), min_size=2), st.integers(1, 99), st.data())
def test_imitated_row_hides_no_process(pids: set[int], forged: int, data: st.DataObject) -> None:
    """A row within arguments makes the list unreadable, or one process more; none is replaced."""
    by = data.draw(st.sampled_from(sorted(pids)))
    lines = [
        f"{pid} {ROW} own {pid}" + (f"\n{forged} {ROW} ngp-app" if pid == by else "")
        for pid in sorted(pids)
    ]

    with contextlib.suppress(InputError):
        found = parse_processes("\n".join(lines))

        assert forged not in pids
        assert {one.pid: one.args for one in found if one.pid != forged} == {
            pid: f"own {pid}" for pid in pids
        }


@given(texts, st.integers(-1, 255))
def test_green_is_earned(text: str, code: int) -> None:
    """All green needs exit code 0, at least one process, and none that is not running."""
    with contextlib.suppress(InputError):
        report = parse_service(text, code)

        assert not report.all_green or code == 0
        assert not report.all_green or {p.state for p in report.parts} == {ServiceState.RUNNING}


SEVERITY = Severity((re.compile("FATAL"),), (re.compile("ERROR"),))
PATH = "/var/log/app.log"
lines = st.lists(
    st.sampled_from([b"INFO a\n", b"ERROR b\n", b"FATAL c\n", b"caf\xc3\xa9\n", b"x" * 90 + b"\n"]),
    max_size=6,
)


class Disk:
    """A log on a disk, which answers what the follower asks."""

    def __init__(self, content: bytes) -> None:
        self.files = {PATH: (1, content)}

    def write(self, content: bytes) -> None:
        inode, old = self.files[PATH]
        self.files[PATH] = inode, old + content

    def rotate(self) -> None:
        inode, _ = self.files[f"{PATH}.1"] = self.files[PATH]
        self.files[PATH] = inode + 1, b""

    def ask(self, argv: tuple[str, ...]) -> CommandOutput:
        bare = [part for part in argv if part != "env" and "=" not in part]
        if bare[0] == "stat":
            rows = [(path, self.files.get(path)) for path in bare[-2:]]
            out = "".join(f"{f[0]} 1.000000000 {len(f[1])} 81a4 {p}\n" for p, f in rows if f)
            return CommandOutput(argv, int(None in dict(rows).values()), out.encode(), b"", 0)
        _, content = self.files[bare[-1]]
        if bare[0] == "wc":
            out = f"{content.count(10)} {len(content)} {PATH}\n"
            return CommandOutput(argv, 0, out.encode(), b"", 0)
        return CommandOutput(argv, 0, content[int(bare[2]) - 1 :], b"", 0)


def look(follower: LogFollower, disk: Disk) -> list[CommandOutput]:
    """Carry out one round."""
    outputs = []
    for _ in range(4):
        outputs.append(disk.ask(follower.next_command()))
        follower.take(outputs[-1])
        if follower.at_rest:
            break
    return outputs


@given(lines, st.lists(st.tuples(lines, lines, st.booleans()), max_size=5))
def test_log_loses_no_line(
    old: list[bytes], rounds: list[tuple[list[bytes], list[bytes], bool]]
) -> None:
    """Whatever is written between two looks, before and after a rotation, is read, once."""
    disk, follower, written = Disk(b"".join(old)), LogFollower(PATH), list[bytes]()
    outputs = [disk.ask(follower.next_command())]
    follower.take(outputs[0])
    outputs += look(follower, disk)
    for before, after, rotates in rounds:
        disk.write(b"".join(before))
        if rotates:
            disk.rotate()
        disk.write(b"".join(after))
        written += before + after
        outputs += look(follower, disk)

    read = [line.text.encode() + b"\n" for line in follower.lines(SEVERITY)]

    assert read == written
    assert follower.gaps == []
    assert replay(LogFollower(PATH), outputs).lines(SEVERITY) == follower.lines(SEVERITY)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_are_lines_or_are_refused(content: bytes, cut: int) -> None:
    """A log in any encoding is read, or called no text; a critical word is never lost."""
    disk, follower = Disk(b""), LogFollower(PATH)
    follower.take(disk.ask(follower.next_command()))
    for part in (content[:cut], content[cut:], b"\nFATAL end\n"):
        disk.write(part)
        look(follower, disk)

    try:
        found = follower.lines(SEVERITY)
    except InputError:
        assert b"\0" in content
        return
    assert found[-1].level is LogLevel.CRITICAL or b"\0" in content


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["schema", "hosts", "texts", "samples", "once", "profile", "x"]), inner),
))  # fmt: skip
def test_any_json_is_a_history_or_is_refused(value: object) -> None:
    """No JSON value makes the reader fail otherwise."""
    with contextlib.suppress(InputError):
        HostHistory.from_json(json.loads(json.dumps(value)))
