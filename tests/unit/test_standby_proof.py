"""A.2 of a pair that hasync keeps, judged from what real pairs said, each thing wrong once."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fst.baseline import judge_host
from fst.ea_profile import profile
from fst.hasync_status import parse_status
from fst.host_history import NS, HostHistory
from fst.judged import Judgement
from fst.plan import default_plan
from fst.verdict import propose
from harness.errors import InputError
from harness.finding import Measurement, Outcome
from tests.fake_hosts import ROLES, STATUSES, FakeHost, fake_hosts, record

HASYNC = profile("hasync")
STEPS = {step.id: step for step in default_plan().steps}
ACTIVE, STANDBY = "site1/db", "site2/db"
Hosts = dict[str, FakeHost]


def said(name: str) -> bytes:
    """Return what a real site answered."""
    return (STATUSES / f"status-{name}.json").read_bytes()


def changed(raw: bytes, **fields: object) -> bytes:
    """Return an answer with other fields in its status; a dotted name leads into a table."""
    answer = json.loads(raw)
    for path, value in fields.items():
        *way, last = path.split("__")
        at: Any = answer["status"]
        for name in way:
            at = at[name]
        at[last] = value
    return json.dumps(answer).encode()


def watched(hosts: Hosts, sync_every_ns: int | None = None) -> HostHistory:
    """Return a watch of hosts that hasync keeps in step."""
    return record(hosts=hosts, rounds=2, profile=HASYNC, sync_every_ns=sync_every_ns)


def judged(history: HostHistory, target: str, step: str = "A.2.2") -> Judgement:
    return judge_host(step, history, target, ROLES, HASYNC)


def outcome(history: HostHistory, target: str, step: str = "A.2.2") -> tuple[Outcome, str]:
    """Return the verdict as the run would propose it."""
    found = judged(history, target, step)
    taken = [
        Measurement(m.name, found.values.get(m.name, (None, ()))[0], m.unit, m.low, m.high)
        for m in STEPS[step].measurements
    ]
    return propose(found.findings, [*taken, *found.extra], attachments=1)


@pytest.mark.parametrize("target", ["site1/db", "site2/db", "site1/med", "site2/med"])
@pytest.mark.parametrize("step", ["A.2.1", "A.2.2"])
def test_a_pair_that_is_in_step_passes(target: str, step: str) -> None:
    """Real answers of both sites after a day: both boxes of all four servers are PASS."""
    assert outcome(watched(fake_hosts(HASYNC)), target, step)[0] is Outcome.PASS


def test_the_proof_is_measured() -> None:
    """Age of the proved data, seconds of the restore, and every set that was restored."""
    found = judged(watched(fake_hosts(HASYNC)), STANDBY)

    taken = {one.name: one.value for one in found.extra}
    assert taken["proven_rpo_s"] == found.values["newest_copy_age_s"][0]
    assert 12 < (taken["proven_rpo_s"] or 0) < 14
    assert taken["measured_rto_s"]
    assert found.values["files_renewed"] == (2, ())
    assert "21046 rows, restored in" in found.notes[1]


def test_the_record_is_judged_again_the_same() -> None:
    """The limit of the site file is in the record, so a second judging needs nothing else."""
    history = replace(watched(fake_hosts(HASYNC)), max_loss_s=3600)

    again = HostHistory.from_json(json.loads(json.dumps(history.to_json())))

    assert again == history
    assert judged(again, STANDBY) == judged(history, STANDBY)


def test_a_record_without_the_limit_has_the_default() -> None:
    """Records that were made before there was one are read as ever."""
    history = watched(fake_hosts(HASYNC))
    rows = history.to_json()
    del rows["max_loss_s"]

    assert HostHistory.from_json(rows) == history


WRONG: dict[str, tuple[str, Callable[[bytes], bytes], str, str, str]] = {
    # whose answer, what is said instead, whose box, verdict, words
    "nothing published": (ACTIVE, lambda raw: changed(raw, newest=None), ACTIVE, "FAIL",
                          "it has no verified set"),
    "made elsewhere": (ACTIVE, lambda raw: changed(raw, newest__site="site-b"), ACTIVE, "FAIL",
                       "made at site-b"),
    "not verified": (ACTIVE, lambda raw: changed(raw, newest__state="new"), ACTIVE, "FAIL", "new"),
    "of files": (ACTIVE, lambda raw: changed(raw, newest__kind="app"), ACTIVE, "FAIL", "kind app"),
    "nothing restored": (STANDBY, lambda _: said("db-standby-first-day"), STANDBY, "FAIL", "none"),
    "and so for who sends": (STANDBY, lambda _: said("db-standby-first-day"), ACTIVE, "FAIL",
                             "none"),
    "behind": (STANDBY, lambda _: said("db-standby-behind"), STANDBY, "FAIL", "not live"),
    "another of that number": (STANDBY, lambda raw: changed(raw, restored__id="0" * 32), ACTIVE,
                               "FAIL", "the newest is"),
    "not known over there": (
        STANDBY,
        lambda raw: changed(raw, restored__id="0" * 32,
                            restored__name="e000001-s00000009-20261122T223642Z-00000000"),
        STANDBY, "FAIL", "the newest is"),
    "failed": (STANDBY, lambda _: said("db-standby-failed"), STANDBY, "FAIL", "exit code 16"),
    "done but look": (STANDBY, lambda raw: changed(raw, runs__pgsync__exit_code=1), STANDBY,
                      "OTHER", "exit code 1"),
    "never run": (STANDBY, lambda raw: changed(raw, runs={}), STANDBY, "FAIL", "never run"),
    "killed": (STANDBY, lambda raw: changed(raw, died=["pgsync"]), STANDBY, "FAIL", "killed"),
    "first run is on": (
        STANDBY,
        lambda raw: changed(raw, runs__pgsync__running=True, runs__pgsync__ended_at_ns=0),
        STANDBY, "OTHER", "the first one is on"),
    "too old": (STANDBY, lambda raw: changed(raw, proven_rpo_s=93_601), STANDBY, "FAIL",
                "93601 s"),
    "of the future": (STANDBY, lambda raw: changed(raw, proven_rpo_s=-60.0), STANDBY, "OTHER",
                      "future"),
    "not proved": (STANDBY, lambda raw: changed(raw, proven_rpo_s=None), STANDBY, "FAIL",
                   "nothing is proved"),
    "cannot be asked what is live": (
        STANDBY,
        lambda raw: changed(raw, restored=None, proven_rpo_s=None, problems=["server is away"]),
        STANDBY, "OTHER", "server is away"),
    "left unfinished": (STANDBY, lambda raw: changed(raw, unfinished=["restore"]), STANDBY,
                        "OTHER", "unfinished restore"),
    "corrupt": (STANDBY, lambda raw: changed(raw, sets__corrupt=1), STANDBY, "FAIL", "corrupt"),
    "role changed": (STANDBY, lambda raw: changed(raw, role="active"), STANDBY, "FAIL",
                     "declared standby"),
    "not installed": (STANDBY, lambda _: b"", ACTIVE, "OTHER",
                      "/usr/local/bin/hasync is not installed"),
    "garbage": (STANDBY, lambda _: b"\x1b[2J{", STANDBY, "OTHER", "not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_thing_wrong_shows(name: str) -> None:
    """One answer differs from a good pair's: the box says so, in words without escapes."""
    whose, change, box, verdict, words = WRONG[name]
    hosts = fake_hosts(HASYNC)
    hosts[whose].status = change(hosts[whose].status)

    found = outcome(watched(hosts, sync_every_ns=NS), box)

    assert (found[0].value, words in str(judged(watched(hosts, sync_every_ns=NS), box))) == (
        verdict,
        True,
    ), found
    assert "\x1b" not in found[1]


@pytest.mark.parametrize(("code", "words"), [(124, "did not answer in 30 s"), (1, "exit code 1")])
def test_a_program_that_does_not_answer_decides_nothing(code: int, words: str) -> None:
    """Ended past its time, or refused to the account: OTHER on both forms, with the host's name."""
    hosts = fake_hosts(HASYNC)
    hosts[STANDBY].status_code = code

    for target in (ACTIVE, STANDBY):
        verdict, said = outcome(watched(hosts), target)
        assert verdict is Outcome.OTHER
        assert words in said
        assert STANDBY in said


def test_a_set_on_its_way_is_no_fault() -> None:
    """A set made moments ago need not be there; the one before it must, and is."""
    hosts = fake_hosts(HASYNC)
    hosts[ACTIVE].status, hosts[STANDBY].status = said("db-active-ahead"), said("db-standby-behind")

    assert outcome(watched(hosts), ACTIVE)[0] is Outcome.PASS
    assert "is on its way" in str(judged(watched(hosts), ACTIVE).findings)
    assert outcome(watched(hosts, sync_every_ns=NS), ACTIVE)[0] is Outcome.FAIL


def test_a_first_set_on_its_way_decides_nothing() -> None:
    """With nothing there yet, and the only set a moment old, nothing can be said."""
    hosts = fake_hosts(HASYNC)
    hosts[STANDBY].status = said("db-standby-first-day")

    findings = {f.rule: f.outcome for f in judged(watched(hosts), ACTIVE).findings}

    assert findings["sets.arrived"] is Outcome.OTHER


def test_a_limit_of_the_site_file_counts() -> None:
    """Data of 13 s ago is too old where 5 s are allowed."""
    history = replace(watched(fake_hosts(HASYNC)), max_loss_s=5)

    assert outcome(history, STANDBY)[0] is Outcome.FAIL


def test_clocks_that_differ_make_ages_worthless() -> None:
    """With 8 s between the pair's clocks no age is told, and nothing passes."""
    hosts = fake_hosts(HASYNC)
    hosts[STANDBY].clock_s = 8.0

    history = watched(hosts)

    assert outcome(history, STANDBY)[0] is Outcome.OTHER
    assert judged(history, STANDBY).values["newest_copy_age_s"] == (None, ())


ROLES_WRONG: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "no role": (STANDBY, lambda raw: changed(raw, role="unknown", epoch=0), "FAIL"),
    "active too": (STANDBY, lambda raw: changed(raw, role="active"), "FAIL"),
    "split brain": (STANDBY, lambda raw: changed(raw, conflict="split brain: x"), "FAIL"),
    "another peer": (STANDBY, lambda raw: changed(raw, peer__site="site-c"), "FAIL"),
    "two epochs behind": (ACTIVE, lambda raw: changed(raw, epoch=3), "FAIL"),
    "one epoch behind": (ACTIVE, lambda raw: changed(raw, epoch=2), "PASS"),
    "ahead of the active site": (STANDBY, lambda raw: changed(raw, epoch=2), "FAIL"),
    "never heard of it": (STANDBY, lambda raw: changed(raw, peer=None), "OTHER"),
    "not installed": (STANDBY, lambda _: b"", "OTHER"),
}


@pytest.mark.parametrize("name", ROLES_WRONG)
def test_roles_belong_to_the_set_up(name: str) -> None:
    """A.2.1 asks both sites for role, epoch and peer."""
    whose, change, verdict = ROLES_WRONG[name]
    hosts = fake_hosts(HASYNC)
    hosts[whose].status = change(hosts[whose].status)

    assert outcome(watched(hosts), STANDBY, "A.2.1")[0].value == verdict


def test_an_exit_code_in_the_answer_is_no_status() -> None:
    """Why hasync failed is in its JSON; that is told, in one line."""
    answer = {"program": "hasync", "exit_code": 10, "why": "no\nsuch \x1b[1mfield"}

    with pytest.raises(InputError) as refused:
        parse_status(json.dumps(answer))

    assert str(refused.value) == "hasync status: exit code 10: no?such ?[1mfield"


@pytest.mark.parametrize("name", [path.stem for path in sorted(STATUSES.glob("status-*.json"))])
def test_real_answers_are_read(name: str) -> None:
    """Each recorded answer is read, and says of whom it is."""
    found = parse_status((STATUSES / f"{name}.json").read_text(encoding="utf-8"))

    assert found.site in {"site-a", "site-b", "east", "west"}
    assert found.role in name
