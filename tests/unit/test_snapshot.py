"""Outputs of real commands, as recorded in fixtures/hosts, and what is read from them."""

from pathlib import Path

import pytest

from harness.command import CommandOutput
from harness.cron import parse_crontab
from harness.errors import InputError
from harness.host_files import (
    FileFact,
    parse_hashes,
    parse_listing,
    parse_refusals,
    parse_stat,
)
from harness.snapshot import (
    Process,
    ServicePart,
    ServiceState,
    Socket,
    parse_at_boot,
    parse_clock,
    parse_proc_net,
    parse_processes,
    parse_service,
    parse_sockets,
    parse_unit,
    program,
)

FOLDER = Path(__file__).parents[2] / "fixtures" / "hosts"
RUNNING, STOPPED, UNKNOWN = ServiceState.RUNNING, ServiceState.STOPPED, ServiceState.UNKNOWN
HEADINGS = ["# release: ", "# command: ", "# exit: ", "# source: "]


def recorded(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").split("\n\n", 1)[1]


def exit_code(name: str) -> int:
    head = (FOLDER / name).read_text(encoding="utf-8").split("\n\n", 1)[0]
    return int(head.partition("# exit: ")[2].split("\n")[0])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_recorded_output_says_where_it_is_from(path: Path) -> None:
    """Each file names release, exact command, exit code, and whether it was recorded."""
    head = path.read_text(encoding="utf-8").split("\n\n", 1)[0].splitlines()

    assert [line[: len(start)] for line, start in zip(head, HEADINGS, strict=True)] == HEADINGS
    assert head[3].removeprefix(HEADINGS[3]).split(":")[0] in {"recorded", "unproved"}


def test_ps_with_start_times() -> None:
    """Procps 4.0.2: the pid is padded, kernel threads have no path."""
    found = parse_processes(recorded("ps-lstart.txt"))

    assert found[0] == Process(2, 1795361285, "[kthreadd]", "[kthreadd]")
    assert (found[1].name, found[1].args) == ("crond", "/usr/sbin/crond 60")


def test_ps_with_elapsed_times() -> None:
    """`etimes` counts back from the host's own time."""
    found = parse_processes(recorded("ps-etimes.txt"), now_s=1795366962)

    assert found[0] == Process(2, 1795361285, "[kthreadd]", "[kthreadd]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  PID STARTED COMMAND\n",
        "1 Sun Feb 30 10:00:00 2026 x",
        "1 dim. nov. 22 10:00:00 2026 x",
        "x",
    ],
)
def test_ps_in_other_words_is_refused(text: str) -> None:
    """An empty listing, another language and an impossible date are no list of processes."""
    with pytest.raises(InputError):
        parse_processes(text)


STARTED = "Sun Nov 22 10:00:00 2026"
SHELL = f"""\
  PID                  STARTED COMMAND
    7 {STARTED} /bin/bash -c TEXT='#!/bin/bash

  echo'
    9 {STARTED} /opt/ngp/bin/ngp-app -c 1
"""


def test_ps_with_newlines_in_arguments() -> None:
    """A line that is no row goes on with the arguments before it, as procps would print it."""
    found = parse_processes(SHELL)

    assert [(one.pid, one.name, one.args) for one in found] == [
        (7, "bash", "/bin/bash -c TEXT='#!/bin/bash    echo'"),
        (9, "ngp-app", "/opt/ngp/bin/ngp-app -c 1"),
    ]


def test_ps_with_newline_in_the_last_arguments() -> None:
    """The newline that ends the output is none of an argument; one before it is."""
    found = parse_processes(f"7 {STARTED} a\nb\n\n")

    assert [one.args for one in found] == ["a b "]


@pytest.mark.parametrize("pid", [7, 8], ids=["seen already", "out of order"])
def test_ps_with_imitated_row_is_refused(pid: int) -> None:
    """Arguments that imitate a row never replace a process, whichever of the two comes first."""
    first, second = f"8 {STARTED} sh -c x\n{pid} {STARTED} ngp-app\n", f"9 {STARTED} cron\n"
    real = f"7 {STARTED} sshd\n"

    with pytest.raises(InputError, match="does not rise"):
        parse_processes(real + first + second)
    with pytest.raises(InputError, match="does not rise"):
        parse_processes(f"3 {STARTED} sh -c x\n{pid} {STARTED} ngp-app\n{real}")


def test_ps_with_endless_arguments_is_refused() -> None:
    """What no process can have been given is no list of processes."""
    with pytest.raises(InputError, match="longer than"):
        parse_processes(f"7 {STARTED} sh\n" + "x\n" * (4 * 1024 * 1024))


SERVICE = {
    "service-status-sysv.txt": (
        RUNNING,
        [("ngp-app", RUNNING, 2101), ("ngp-directory", RUNNING, 2102)],
    ),
    "service-status-sysv-red.txt": (
        UNKNOWN,
        [("ngp-app", RUNNING, 2101), ("ngp-directory", STOPPED, None)],
    ),
    "service-status-sysv-stopped.txt": (
        STOPPED,
        [("ngp-app", STOPPED, None), ("ngp-directory", STOPPED, None)],
    ),
    "service-status-colours.txt": (
        UNKNOWN,
        [("ngp-app", RUNNING, None), ("ngp-directory", UNKNOWN, None)],
    ),
    "service-status-lsb.txt": (STOPPED, [("nsd", STOPPED, None)]),
    "service-status-own-words.txt": (STOPPED, [("15/main", STOPPED, None)]),
    "systemctl-status.txt": (RUNNING, [("ngp", RUNNING, None)]),
}


@pytest.mark.parametrize("name", SERVICE)
def test_service_status(name: str) -> None:
    """Each process is read with its state; all green only when all run and the exit code is 0."""
    report = parse_service(recorded(name), exit_code(name))

    state, parts = SERVICE[name]
    assert report.state is state
    assert list(report.parts) == [ServicePart(*part) for part in parts]
    assert report.all_green is (state is RUNNING)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ngp-app is running...", 3),  # words and exit code contradict each other
        ("ngp-app CRASHED", 0),  # a word that is not known
        ("ngp-app (pid 1) is running...\nngp-app is starting", 0),
        ("ngp status unknown due to insufficient privileges.", 4),
        ("ngp-app is stopped", 0),
    ],
)
def test_service_status_that_is_not_clear_is_unknown(text: str, code: int) -> None:
    """Doubt is never green."""
    report = parse_service(text, code)

    assert report.state is UNKNOWN
    assert not report.all_green


@pytest.mark.parametrize("text", ["", "\n\n", "Checking ngp services:\n"])
def test_service_status_without_a_process_is_refused(text: str) -> None:
    """A status that names no process proves nothing."""
    with pytest.raises(InputError):
        parse_service(text, 0)


def test_systemctl_show() -> None:
    """A unit is one part, with its main process."""
    report = parse_unit(recorded("systemctl-show.txt"))

    assert report.parts == (ServicePart("ngp.service", RUNNING, 2101),)
    assert report.all_green


@pytest.mark.parametrize("text", ["", "LoadState=not-found\nActiveState=inactive\n"])
def test_systemctl_show_of_no_unit_is_refused(text: str) -> None:
    """A unit that does not exist is not a stopped one."""
    with pytest.raises(InputError):
        parse_unit(text)


@pytest.mark.parametrize(
    ("name", "on"),
    [("chkconfig-on.txt", True), ("chkconfig-off.txt", False), ("systemctl-is-enabled.txt", True)],
)
def test_start_at_boot(name: str, *, on: bool) -> None:
    """Runlevels 3 and 5 decide, or systemd's word."""
    assert parse_at_boot(recorded(name)) is on


@pytest.mark.parametrize("text", ["", "static\n", "ngp 3:on 5:off", "error reading information"])
def test_start_at_boot_that_is_neither_is_refused(text: str) -> None:
    """A unit that is neither on nor off is said to be so."""
    with pytest.raises(InputError):
        parse_at_boot(text)


@pytest.mark.parametrize("name", ["ss-tnp.txt", "ss-tan.txt"])
def test_ss_lists_both_ends(name: str) -> None:
    """IPv4 within IPv6 is IPv4; the column of processes is left out."""
    found = parse_sockets(recorded(name))

    assert Socket("127.0.1.1", 40343, "127.0.1.2", 15432, "ESTAB") in found
    assert ("127.0.1.2", 15433, "127.0.1.1") in {
        (s.local_address, s.local_port, s.remote_address) for s in found if s.state == "ESTAB"
    }


def test_proc_net_agrees_with_ss() -> None:
    """The kernel's own tables, taken at the same moment, hold the same connections."""
    kernel = parse_proc_net(recorded("proc-net-tcp.txt")) + parse_proc_net(
        recorded("proc-net-tcp6.txt")
    )

    listed = set(parse_sockets(recorded("ss-tan.txt")))
    assert {one for one in kernel if one.state == "ESTAB"} == {
        one for one in listed if one.state == "ESTAB"
    }


@pytest.mark.parametrize("text", ["ESTAB 0 0 a:1 b:2", "ESTAB 0 0 1.2.3.4:ssh *:*", "OPEN 0 0 * *"])
def test_ss_with_names_is_refused(text: str) -> None:
    """Names of ports and hosts would have to be guessed."""
    with pytest.raises(InputError):
        parse_sockets(text)


def test_stat_tells_folders_from_files() -> None:
    """Inode, time in ns, size, permissions; what is absent is on stderr."""
    found = parse_stat(recorded("stat.txt"))

    assert found[0] == FileFact("/etc/hostname", 612, 1795361286833661338, 3, 0o755)
    assert found[1].is_folder
    refused = parse_refusals(recorded("refusals.txt"))
    assert refused == {"/etc/no-such-file": "No such file or directory"}


def test_find_lists_files() -> None:
    """The fraction that find prints has one more digit than stat's."""
    found = {one.path: one for one in parse_listing(recorded("find-etc.txt"))}

    assert found["/etc/hostname"] == FileFact("/etc/hostname", 612, 1795361286833661338, 3, 0o755)


def test_sha256sum() -> None:
    """Path to hash."""
    assert list(parse_hashes(recorded("sha256sum.txt"))) == ["/etc/hostname"]


def test_clock_offset_is_to_the_middle_of_the_command() -> None:
    """A host 2 s ahead, asked by a command that took 1 s: 2 s off, give or take half a second."""
    found = parse_clock("102.500000000 +0130\n", sent_ns=100 * 10**9, took_ns=10**9)

    assert (found.offset_s, found.uncertainty_s, found.utc_offset_s) == (2.0, 0.5, 5400)


def test_clock_of_a_real_host() -> None:
    """What date prints is read."""
    found = parse_clock(recorded("date.txt"), sent_ns=0, took_ns=0)

    assert found.utc_offset_s == 0


@pytest.mark.parametrize("text", ["", "1.5 +0000", "1.000000000", "1.000000000 +0075"])
def test_clock_in_other_words_is_refused(text: str) -> None:
    """A date without nanoseconds or zone is another command's."""
    with pytest.raises(InputError):
        parse_clock(text, sent_ns=0, took_ns=0)


def test_crontab_of_a_user() -> None:
    """Comments and variables are left out; the line number is kept."""
    (entry,) = parse_crontab(recorded("crontab-user.txt"), with_user=False)

    assert (entry.schedule, entry.user, entry.line) == ("0 6 * * *", "", 3)
    assert entry.command.endswith("pgsync.py -b 14 192.0.2.12")


def test_cron_file_names_users() -> None:
    """Debian's own file in /etc/cron.d."""
    found = parse_crontab(recorded("etc-cron-d.txt"), with_user=True)

    assert {entry.user for entry in found} == {"root"}
    assert {entry.schedule for entry in found} == {"30 3 * * 0", "10 3 * * *"}


DAY = 86_400
DUE = [  # begin of 2026-11-22, a Sunday: 20_779 days after 1970-01-01
    ("0 6 * * *", 1),
    ("*/15 * * * *", 96),
    ("0 0-4/2 * * sun", 3),
    ("0 0 * * 7", 1),
    ("0 0 * * 1-5", 0),
    ("0 0 1 * 0", 1),  # both day fields restricted: either suffices (crontab(5))
    ("0 0 22 nov *", 1),
    ("@hourly", 24),
    ("@reboot", 0),
]


@pytest.mark.parametrize(("schedule", "count"), DUE)
def test_schedule_is_due(schedule: str, count: int) -> None:
    """How often an entry is due on a Sunday, 2026-11-22 (UTC)."""
    (entry,) = parse_crontab(f"{schedule} x", with_user=False)

    begin_s = 20_779 * DAY
    assert len(entry.due_between(begin_s, begin_s + DAY - 1)) == count


def test_schedule_goes_by_local_time() -> None:
    """06:00 at UTC-5 is 11:00 UTC."""
    (entry,) = parse_crontab("0 6 * * * x", with_user=False)

    assert entry.due_between(0, DAY - 1, -5 * 3600) == (11 * 3600,)


@pytest.mark.parametrize(
    "line",
    ["* * * *", "60 * * * * x", "0 6 * * mo x", "@never x", "5-1 * * * * x", "*/0 * * * * x"],
)
def test_schedule_that_cannot_be_is_refused(line: str) -> None:
    """The line is named."""
    with pytest.raises(InputError, match="line 2"):
        parse_crontab(f"# x\n{line}\n", with_user=False)


def test_program_name() -> None:
    """The last part of the path, or the kernel thread."""
    assert (program("/opt/ngp/bin/ngp-app -x"), program("[kthreadd]"), program("")) == (
        "ngp-app",
        "[kthreadd]",
        "",
    )


def test_output_says_why_it_gave_nothing() -> None:
    """The program that was meant is named, not the `env` before it."""
    output = CommandOutput(("env", "LC_ALL=C", "cat", "/x"), None, b"", b"timed out\nx", 0)

    assert output.complaint == "cat: did not end: timed out"
