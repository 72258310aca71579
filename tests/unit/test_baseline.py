"""Part A of the plan, judged from recorded hosts: each thing broken once, and nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import pytest

from fst.baseline import JUDGES, judge_host
from fst.ea_profile import profile
from fst.host_history import HostHistory
from fst.judged import Judgement
from fst.plan import HostRole, default_plan
from fst.verdict import propose
from harness.errors import InputError
from harness.finding import Measurement, Outcome
from tests.fake_hosts import (
    GUIDE,
    HOSTS,
    ROLES,
    Change,
    FakeHost,
    fake_hosts,
    record,
    without,
    work,
)

PAIRED = {HostRole.MEDIATION, HostRole.DATABASE}
Box = tuple[str, str]  # target, step
STEPS = {step.id: step for step in default_plan().steps}


def judged(history: HostHistory, target: str, step: str) -> Judgement:
    return judge_host(step, history, target, ROLES, profile(history.profile))


def outcome(history: HostHistory, target: str, step: str) -> tuple[Outcome, str]:
    """Return the verdict as the run would propose it, with the measurements that the plan has."""
    found = judged(history, target, step)
    taken = [
        Measurement(m.name, found.values.get(m.name, (None, ()))[0], m.unit, m.low, m.high)
        for m in STEPS[step].measurements
    ]
    return propose(found.findings, taken, attachments=1)


def not_passed(history: HostHistory) -> dict[Box, str]:
    """Return the boxes of all hosts that are not PASS."""
    boxes = [
        (host.target, step)
        for host, step in product(HOSTS, JUDGES)
        if step.startswith("A.1") or host.role in PAIRED
    ]
    return {box: found.value for box in boxes if (found := outcome(history, *box)[0]) != "PASS"}


def at(number: int, change: Change) -> Change:
    """Return a change that happens before round *number*; else hosts go on as they should."""

    def both(now: int, hosts: Mapping[str, FakeHost]) -> None:
        if now == number:
            change(now, hosts)
        work(now, hosts)

    return both


def test_hosts_that_are_as_they_should_be_pass() -> None:
    """With nothing broken, every box of part A is PASS."""
    assert not_passed(record()) == {}


@dataclass(frozen=True)
class Broken:
    """One thing that is wrong, when it goes wrong, and the boxes that must show it."""

    name: str
    change: Change
    shows: Mapping[Box, str]
    round: int = 2
    words: str = field(default="", kw_only=True)  # in the first box


def kill(target: str, pid: int) -> Change:
    return lambda _, hosts: hosts[target].processes.pop(pid, None) and None


def restart(_: int, hosts: Mapping[str, FakeHost]) -> None:
    fake = hosts["site1/enum1"]
    fake.processes[777] = fake.processes.pop(100)


def same_id_started_later(_: int, hosts: Mapping[str, FakeHost]) -> None:
    hosts["site1/enum1"].ps_shift_s = 7


def clock_set(_: int, hosts: Mapping[str, FakeHost]) -> None:
    """The clock of a host is set: ps shows all start times moved."""
    hosts["site1/enum1"].ps_shift_s = 7
    hosts["site1/enum1"].clock_s = 7.0


def log_line(target: str, line: bytes) -> Change:
    def write(_: int, hosts: Mapping[str, FakeHost]) -> None:
        hosts[target].write(str(hosts[target].layout.facts["log"]), line)

    return write


def rotate(_: int, hosts: Mapping[str, FakeHost]) -> None:
    """The log is renamed, with a line that was never read, and a new one begun."""
    fake = hosts["site1/enum1"]
    log = str(fake.layout.facts["log"])
    fake.write(log, b"FATAL just before the rotation\n")
    old = fake.files.pop(log)
    fake.add(log)
    fake.files[f"{log}.1"] = old


def rotate_quietly(_: int, hosts: Mapping[str, FakeHost]) -> None:
    """The log is renamed and a new one begun; nothing bad is in either."""
    fake = hosts["site1/enum1"]
    log = str(fake.layout.facts["log"])
    old = fake.files.pop(log)
    fake.add(log)
    fake.files[f"{log}.1"] = old


def truncate(_: int, hosts: Mapping[str, FakeHost]) -> None:
    """The log is emptied in place, and its copy compressed out of reach."""
    fake = hosts["site1/enum1"]
    fake.files[str(fake.layout.facts["log"])].content = b""


def copy_and_truncate(_: int, hosts: Mapping[str, FakeHost]) -> None:
    """The log is copied, then emptied in place."""
    fake = hosts["site1/enum1"]
    log = str(fake.layout.facts["log"])
    fake.add(f"{log}.1", fake.files[log].content)
    fake.files[log].content = b""


def delete_log(_: int, hosts: Mapping[str, FakeHost]) -> None:
    fake = hosts["site1/enum1"]
    del fake.files[str(fake.layout.facts["log"])]


def sockets_gone(_: int, hosts: Mapping[str, FakeHost]) -> None:
    hosts["site1/enum1"].sockets = ["TIME-WAIT 0 0 192.0.2.11:40000 192.0.2.1:18080"]


def red(_: int, hosts: Mapping[str, FakeHost]) -> None:
    hosts["site1/enum1"].red = "ngp-upload"


def clock_off(_: int, hosts: Mapping[str, FakeHost]) -> None:
    hosts["site2/db"].clock_s = -42.0


def lone(target: str, step: str, found: str) -> dict[Box, str]:
    return {(target, step): found}


ENUM_A1, ENUM_A2, ENUM_A3 = ((("site1/enum1"), step) for step in ("A.1.1", "A.1.2", "A.1.3"))
CASES = [
    Broken("process gone", kill("site1/enum1", 101), {ENUM_A2: "FAIL"}, words="upload is gone"),
    Broken("process restarted", restart, {ENUM_A2: "FAIL"}, words="ENUM server was started anew"),
    Broken("same id, later start", same_id_started_later, {ENUM_A2: "FAIL"}),
    Broken("clock set, nothing restarted", clock_set, {}),
    Broken(
        "process never there",
        kill("site1/enum1", 101),
        {ENUM_A1: "FAIL", ENUM_A2: "OTHER"},
        0,
        words="not running: upload",
    ),
    Broken("service says one process red", red, {ENUM_A1: "FAIL"}, 0, words="ngp-upload stopped"),
    Broken("socket missing", sockets_gone, {ENUM_A1: "FAIL"}, 0, words="no connection with site1"),
    Broken(
        "critical line",
        log_line("site1/enum1", b"12:00 FATAL disk gone\n"),
        {ENUM_A3: "FAIL"},
        words="line 5: 12:00 FATAL disk gone",
    ),
    Broken(
        "error line",
        log_line("site1/enum1", b"12:00 ERROR x\n"),
        {ENUM_A3: "OTHER"},
        words="line 5: 12:00 ERROR x",
    ),
    Broken("line that only names an error", log_line("site1/enum1", b"INFO 0 errors\n"), {}),
    Broken("log in Latin-1", log_line("site1/enum1", b"INFO caf\xe9\n"), {}),
    Broken(
        "critical in Latin-1",
        log_line("site1/enum1", b"FATAL caf\xe9\n"),
        {ENUM_A3: "FAIL"},
        words="FATAL café",
    ),
    Broken(
        "log with a hole",
        log_line("site1/enum1", b"\0" * 40),
        {ENUM_A3: "OTHER"},
        words="it is not text",
    ),
    Broken("rotated", rotate_quietly, {}),
    Broken("critical just before rotation", rotate, {ENUM_A3: "FAIL"}, words="just before"),
    Broken("copied and truncated", copy_and_truncate, {}),
    Broken("truncated, old lines lost", truncate, {ENUM_A3: "OTHER"}, words="are lost"),
    Broken("log deleted", delete_log, {ENUM_A3: "OTHER"}, words="No such file"),
    Broken(
        "standby's cron gone",
        kill("site2/db", 50),
        lone("site2/db", "A.1.2", "FAIL"),
        words="cron is gone",
    ),
    Broken(
        "clock off",
        clock_off,
        {("site1/db", "A.2.2"): "OTHER", ("site2/db", "A.2.2"): "OTHER"},
        0,
        words="the standby's is -42.00 s",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_thing_broken_shows_in_its_own_step_only(case: Broken) -> None:
    """Each defect changes exactly the boxes that are about it, and its words name it."""
    history = record(at(case.round, case.change))

    assert not_passed(history) == dict(case.shows)
    for box in list(case.shows)[:1]:
        assert case.words in outcome(history, *box)[1]


def test_standby_that_runs_the_application_fails() -> None:
    """On a warm standby, a running service is a second active server: FAIL."""
    hosts = fake_hosts()
    hosts["site2/med"].processes |= {100: "/opt/ngp/bin/ngp-app", 101: "/opt/ngp/bin/ngp-directory"}

    found, words = outcome(record(hosts=hosts), "site2/med", "A.1.1")

    assert found is Outcome.FAIL
    assert "ngp-app running" in words


def test_host_that_is_not_reached_is_other_everywhere() -> None:
    """A host that answers nothing is never PASS and never FAIL."""
    hosts = fake_hosts()
    hosts["site1/db"].reached = False

    history = record(lambda *_: None, hosts=hosts)

    for step in JUDGES:
        assert outcome(history, "site1/db", step)[0] is Outcome.OTHER, step


@pytest.mark.parametrize(
    ("rounds", "words"),
    [((2, 3, 4), "nothing was seen from 5.0 to 25.0 s"), (range(3, 14), "seen for 10.0 s of 20")],
)
def test_hole_in_the_watch_is_other(rounds: tuple[int, ...], words: str) -> None:
    """A process that was not looked at for a while may have been anything meanwhile."""
    history = without(record(), "site1/enum1", rounds)

    found, said = outcome(history, "site1/enum1", "A.1.2")
    assert found is Outcome.OTHER
    assert words in said


def test_restart_in_a_hole_is_still_a_fail() -> None:
    """A new process id proves a restart, however little was seen."""
    history = without(record(at(3, restart)), "site1/enum1", (2, 3, 4))

    assert outcome(history, "site1/enum1", "A.1.2")[0] is Outcome.FAIL


def test_late_start_passes_within_its_time() -> None:
    """What comes up while it still may is up: enum has 60 s, here 2 s, or one period."""
    hosts = fake_hosts()
    late = hosts["site1/enum1"].processes.pop(101)

    def comes(_: int, now: Mapping[str, FakeHost]) -> None:
        now["site1/enum1"].processes[101] = late

    assert not_passed(record(at(1, comes), hosts=hosts)) == {}


def test_silent_log_of_a_running_server_is_other() -> None:
    """A log to which nothing is written shows nothing."""
    found, words = outcome(record(lambda *_: None), "site1/enum1", "A.1.3")

    assert (found, "silent log" in words) == (Outcome.OTHER, True)


def test_old_critical_lines_are_not_judged() -> None:
    """Lines from before the mark belong to another day, and line numbers count them."""
    found = judged(record(at(2, log_line("site1/enum1", b"ERROR x\n"))), "site1/enum1", "A.1.3")

    assert found.values["critical_lines"] == (0, ())
    assert found.values["error_lines"] == (1, ())
    assert found.notes == ("line 5: ERROR x",)


# A.2 ----------------------------------------------------------------------------------------------

ABSENT = [
    ("site1/db", "/opt/ngp/pgsql-9.3/.bash_profile", "database-environment"),
    ("site1/db", "/opt/ngp/pgsql-9.3/pgbackups/pgsync.py", "database-script"),
    ("site2/db", "/var/spool/cron/postgres", "database-schedule"),
    ("site2/db", "/opt/ngp/pgsql-9.3/.ssh/id_ed25519", "database-key"),
    ("site1/med", "/opt/ngpbackups/ngpsync.py", "mediation-script"),
    ("site2/med", "/etc/ssh/sshd_config", "mediation-root-login"),
    ("site2/med", "/etc/cron.d/ngpsync", "mediation-schedule"),
    ("site1/med", "/root/.ssh/authorized_keys", "mediation-key-known"),
]


@pytest.mark.parametrize(("target", "path", "setting"), ABSENT)
def test_absent_setting_fails(target: str, path: str, setting: str) -> None:
    """A setting that is not there is FAIL on its own server, and is named."""
    hosts = fake_hosts()
    del hosts[target].files[path]

    history = record(hosts=hosts)

    found = judged(history, target, "A.2.1")
    failed = {one.rule for one in found.findings if one.outcome is Outcome.FAIL}
    assert f"ea.{setting}" in failed
    assert found.values["settings_missing"][0] == len(failed)
    assert {step for _, step in not_passed(history)} == {"A.2.1"}


WRONG = [
    ("site1/med", "/opt/ngpbackups/ngpsync.py", {"mode": 0o100644}, "mediation-script"),
    ("site1/med", "/root/.ssh/authorized_keys", {"mode": 0o100644}, "mediation-key-mode"),
    ("site1/med", "/root/.ssh/authorized_keys", {"content": b"other"}, "mediation-key-known"),
    (
        "site2/med",
        "/etc/ssh/sshd_config",
        {"content": b"#PermitRootLogin without-password\n"},
        "mediation-root-login",
    ),
    (
        "site2/med",
        "/etc/cron.d/ngpsync",
        {"content": b"0 7 * * * root /opt/ngpbackups/ngpsync.py 192.0.2.1\n"},
        "mediation-schedule",
    ),
    (
        "site1/db",
        "/var/spool/cron/postgres",
        {"content": b"#0 6 * * * /x/pgbackups/pgsync.py 198.51.100.2\n"},
        "database-schedule",
    ),
]


@pytest.mark.parametrize(("target", "path", "change", "setting"), WRONG)
def test_setting_set_otherwise_fails(
    target: str, path: str, change: Mapping[str, object], setting: str
) -> None:
    """A setting that is there, but not as the guide has it, is FAIL."""
    hosts = fake_hosts()
    for name, value in change.items():
        setattr(hosts[target].files[path], name, value)

    findings = judged(record(hosts=hosts), target, "A.2.1").findings

    assert [f.rule for f in findings if f.outcome is not Outcome.PASS] == [f"ea.{setting}"]


@pytest.mark.parametrize(("target", "boots"), [("site1/db", "off"), ("site2/db", "on")])
def test_start_at_boot_against_its_standing_fails(target: str, boots: str) -> None:
    """The active server's service starts with the system; a standby's must not."""
    hosts = fake_hosts()
    hosts[target].boots = boots

    assert not_passed(record(hosts=hosts)) == {(target, "A.2.1"): "FAIL"}


def test_unreadable_setting_is_other() -> None:
    """A start at boot that no command can tell is not taken for missing."""
    hosts = fake_hosts()
    hosts["site1/db"].boots = "?"

    assert not_passed(record(hosts=hosts)) == {("site1/db", "A.2.1"): "OTHER"}


def test_hasync_profile_passes_when_it_is_set_up() -> None:
    """The other profile asks for other things."""
    hasync = profile("hasync")

    history = record(profile=hasync)

    assert outcome(history, "site2/db", "A.2.1")[0] is Outcome.PASS
    rules = {f.rule for f in judged(history, "site2/db", "A.2.1").findings}
    assert rules.isdisjoint(f"ea.{one.id}" for one in GUIDE.settings if "script" in one.id)


def idle(number: int, hosts: Mapping[str, FakeHost]) -> None:
    """Logs go on; nothing is copied."""
    for fake in hosts.values():
        if fake.layout.facts["boots"]:
            fake.write(str(fake.layout.facts["log"]), b"INFO beat %d\n" % number)


COPY_BOXES = {(f"site{n}/{host}", "A.2.2") for n in (1, 2) for host in ("med", "db")}


def test_stopped_synchronisation_fails_on_both_forms() -> None:
    """With copies due and none made, neither sending nor arriving can be PASS."""
    assert not_passed(record(idle)) == dict.fromkeys(COPY_BOXES, "FAIL")


def test_copies_that_were_not_due_are_other() -> None:
    """A schedule at 06:00 says nothing about a watch at another time of day."""
    assert not_passed(record(idle, sync_every_ns=None)) == dict.fromkeys(COPY_BOXES, "OTHER")


def test_copies_made_and_not_sent_fail() -> None:
    """Copies that stay on the active server fail both ends."""

    def stay(number: int, hosts: Mapping[str, FakeHost]) -> None:
        work(number, hosts)
        for path in [path for path in hosts["site2/db"].files if path.endswith(".tgz")]:
            del hosts["site2/db"].files[path]

    found = not_passed(record(stay))

    assert found == {("site1/db", "A.2.2"): "FAIL", ("site2/db", "A.2.2"): "FAIL"}


def test_copies_that_arrive_changed_fail_the_sender() -> None:
    """Same name and size, other content: only the hash shows it."""

    def spoil(number: int, hosts: Mapping[str, FakeHost]) -> None:
        work(number, hosts)
        for path, file in hosts["site2/db"].files.items():
            if path.endswith(".tgz"):
                file.content = file.content[::-1]

    found = not_passed(record(spoil))

    assert found == {("site1/db", "A.2.2"): "FAIL"}


def test_renewed_files_and_age_are_measured() -> None:
    """13 rounds after the first brought a copy each; the newest is as old as its time says."""
    values = judged(record(), "site2/db", "A.2.2").values

    assert values["files_renewed"] == (13, ())
    assert values["newest_copy_age_s"] == (0.0, ())


# The record ---------------------------------------------------------------------------------------


def test_history_survives_json() -> None:
    """What is read back is what was written, and so are all its verdicts."""
    history = record(at(2, log_line("site1/enum1", b"FATAL \xff\xfe\n")))

    again = HostHistory.from_json(json.loads(json.dumps(history.to_json())))

    assert again == history
    assert not_passed(again) == {("site1/enum1", "A.1.3"): "FAIL"}


def test_edited_history_is_refused() -> None:
    """A text that is not the one recorded is named, and nothing is judged from it."""
    found = record().to_json()
    name = next(iter(found["texts"]))
    found["texts"][name] += "x"

    with pytest.raises(InputError, match=name):
        HostHistory.from_json(found)


@pytest.mark.parametrize("wrong", [None, [], {}, {"schema": 2}, {"schema": 1, "texts": []}])
def test_other_json_is_refused(wrong: object) -> None:
    """What is no history is an InputError, whatever it is."""
    with pytest.raises(InputError):
        HostHistory.from_json(wrong, file="x.json")


def test_history_without_samples_is_other() -> None:
    """Nothing observed, nothing earned."""
    history = record(rounds=0)

    for step in JUDGES:
        assert outcome(history, "site1/med", step)[0] is Outcome.OTHER, step


@pytest.mark.parametrize(("step", "host"), [("B.1.1", "site1/med"), ("A.1.1", "site9/med")])
def test_unknown_step_or_host_is_refused(step: str, host: str) -> None:
    """Only steps and hosts that were watched are judged."""
    with pytest.raises(InputError):
        judge_host(step, record(rounds=1), host, ROLES, GUIDE)
