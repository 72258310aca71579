"""What one exercise recorded, and the word that each case's judge earns from it."""

from dataclasses import replace

import pytest

from enumtest.dns.message import Query, encode_answer, encode_query
from fst.evidence import declared
from fst.exercises import CONTRAST
from fst.judgement import judge
from fst.observation import MarkKind, Observation
from fst.plan import default_plan
from fst.verdict import propose
from harness.finding import Outcome
from harness.number import PhoneNumber
from harness.packets.capture import parse
from harness.packets.frame import Endpoint
from tests.enum_bench import PLAIN, TABLE, Bench, bench
from tests.enum_wire import (
    MS,
    START_NS,
    TERMINATE,
    Down,
    Reply,
    Script,
    WholeNumber,
    allowing,
)
from tests.sbc_defects import DEFECTS, SOUND, Make

STEPS = {step.id: step for step in default_plan().steps}


def word(step: str, seen: Observation, host: str = "") -> tuple[Outcome, str]:
    """Return the verdict that the packets earn for *step*, as the run proposes it."""
    judged = judge(step, host, seen, WholeNumber())
    measured = declared(STEPS[step], judged)
    return propose(judged.findings, measured, attachments=1)


def rotation(made: Bench | None = None, calls: int = 15) -> Bench:
    """Return a bench on which B.3.2 was carried out."""
    made = bench() if made is None else made
    made.mark(0, MarkKind.BEGIN)
    made.mark(made.place(calls), MarkKind.END)
    return made


def outage(down: tuple[str, ...], make: Make = SOUND, calls: int = 15) -> Bench:
    """Return a bench on which B.3.3, B.3.4 or B.3.6 was carried out: watched for 0.6 H."""
    made = bench(make, Down(dict.fromkeys(down, (0, 10**12))))
    made.mark(0, MarkKind.DOWN, *down)
    made.mark(0, MarkKind.BEGIN)
    made.mark(made.place(calls), MarkKind.END)
    return made


def back(make: Make = SOUND, calls: int = 50) -> Bench:
    """Return a bench on which B.3.5 was carried out: back at once when given up."""
    down = TABLE.enum_servers[:-1]
    made = bench(make, Down(dict.fromkeys(down, (0, 500 * MS))))
    made.mark(0, MarkKind.BEGIN)
    made.mark(0, MarkKind.DOWN, *down)
    made.place(1)  # it finds out about both, before the others come
    made.mark(500 * MS, MarkKind.UP, *down)
    made.mark(made.place(calls, from_ns=450 * MS), MarkKind.END)
    return made


FIRST, BUT_LAST, ALL = (tuple(TABLE.enum_servers[:count]) for count in (1, 2, 3))


@pytest.mark.parametrize(
    ("step", "made"),
    [
        ("B.1.1", rotation()),
        ("B.1.2", rotation()),
        ("B.3.1", rotation()),
        ("B.3.2", rotation()),
        ("B.3.7", rotation()),
        ("B.3.3", outage(FIRST)),
        ("B.3.4", outage(BUT_LAST)),
        ("B.3.6", outage(ALL)),
        ("B.3.5", back()),
    ],
)
def test_sound_sbc_earns_its_pass(step: str, made: Bench) -> None:
    """The control for all below: with nothing wrong each case passes."""
    outcome, words = word(
        step, made.finish(), "enum1" if step in ("B.1.1", "B.1.2", "B.3.1") else ""
    )

    assert (outcome, words) == (Outcome.PASS, words)


@pytest.mark.parametrize("step", ["B.1.3", "B.1.4"])
def test_parties_of_the_requests_are_those_of_the_calls(step: str) -> None:
    """Callers and dialled numbers in E.164 form; a caller with no direction leaves it open."""
    outcome, words = word(step, rotation().finish())

    assert (outcome, words) == (Outcome.PASS, words)


@pytest.mark.parametrize("step", sorted(s for s in STEPS if s.startswith("B.")))
def test_empty_capture_never_passes(step: str) -> None:
    """Marks, and not one packet: nothing was observed."""
    made = bench()
    made.mark(0, MarkKind.BEGIN)
    made.mark(10**9, MarkKind.END)

    assert word(step, made.finish(), "enum1")[0] is not Outcome.PASS


@pytest.mark.parametrize("step", sorted(s for s in STEPS if s[:2] == "B." and s != "B.3.1"))
def test_capture_without_marks_never_passes(step: str) -> None:
    """Nobody knows what was done when; B.3.1 asks only whether the capture runs."""
    made = rotation()
    made.marks.clear()

    assert word(step, made.finish(), "enum1")[0] is not Outcome.PASS


@pytest.mark.parametrize(
    "step", ["B.2.1", "B.2.2", "B.2.3", "B.2.5", "B.3.2", "B.3.3", "B.3.4", "B.3.5", "B.3.6"]
)
def test_empty_capture_never_fails_where_calls_are_judged(step: str) -> None:
    """What was not observed is nobody's fault."""
    made = bench()
    made.mark(0, MarkKind.BEGIN)
    made.mark(0, MarkKind.DOWN, "enum1")
    made.mark(10**9, MarkKind.END)

    assert word(step, made.finish())[0] is Outcome.OTHER


@pytest.mark.parametrize("calls", [1, 2, 3, 14])
def test_too_few_calls_leave_rotation_open(calls: int) -> None:
    """Also the server that was not asked yet is no failure then."""
    assert word("B.3.2", rotation(calls=calls).finish())[0] is Outcome.OTHER


@pytest.mark.parametrize("dropped", [None, 1, 400])
def test_capture_that_lost_packets_decides_nothing(dropped: int | None) -> None:
    """Also when it can't say how many; a sound run is not passed on it."""
    assert word("B.3.2", rotation().finish(dropped=dropped))[0] is Outcome.OTHER


def test_capture_cut_short_decides_nothing() -> None:
    """What the file lost at its end can be anything."""
    seen = rotation().finish()
    cut = replace(seen, capture=parse(seen.capture.data.tobytes()[:-3]))

    assert len(cut.calls_between(*cut.window)) == 15
    assert word("B.3.2", cut)[0] is Outcome.OTHER


def test_capture_that_lost_packets_does_not_fail_anybody() -> None:
    """A wrong turn may be a packet that was lost."""
    seen = rotation(bench(DEFECTS["hunts"])).finish(dropped=3)

    assert word("B.3.2", seen)[0] is Outcome.OTHER
    assert word("B.3.1", seen, "enum1")[0] is Outcome.OTHER


@pytest.mark.parametrize(
    ("step", "defect", "made"),
    [
        ("B.3.2", "hunts", rotation(bench(DEFECTS["hunts"]))),
        ("B.3.7", "drifts", rotation(bench(DEFECTS["drifts every 7 turns"]))),
        ("B.3.3", "no failover", outage(FIRST, DEFECTS["no failover"])),
        ("B.3.4", "no hold-down", outage(BUT_LAST, DEFECTS["no hold-down"])),
        ("B.3.6", "asks", outage(ALL, DEFECTS["asks the first when all are held"])),
        ("B.3.5", "early", back(DEFECTS["comes back at 80 %"])),
        ("B.3.5", "never", back(DEFECTS["never comes back"])),
    ],
)
def test_defective_sbc_fails(step: str, defect: str, made: Bench) -> None:
    """Each case catches what it is there for."""
    assert (defect, word(step, made.finish())[0]) == (defect, Outcome.FAIL)


def test_return_that_was_not_watched_to_its_end_is_open() -> None:
    """Two calls after the failure say nothing of what comes after the hold-down."""
    assert word("B.3.5", back(calls=2).finish())[0] is Outcome.OTHER


def test_lookups_of_another_sbc_do_not_disturb_the_turns() -> None:
    """Two SBCs share the servers; this form is of one."""
    made = rotation()
    payload = encode_query(7, PLAIN[0].enum_domain())
    for at in range(10):
        made.wire.note(
            Endpoint("127.0.0.77", 40_000),
            Endpoint("127.0.0.11", 15353),
            payload,
            at_ns=at * 50 * MS,
        )

    seen = made.finish()
    assert len(seen.own_between(*seen.window)) == 15
    assert word("B.3.2", seen)[0] is Outcome.PASS
    assert word("B.1.1", seen, "enum1")[0] is Outcome.FAIL  # somebody else asks for test numbers


def test_production_calls_between_leave_the_turns_open() -> None:
    """They take turns too, and are not counted: neither a PASS nor a FAIL is earned."""
    made = bench()
    made.mark(0, MarkKind.BEGIN)
    stranger = PhoneNumber("442079460123")
    made.mark(made.place(30, numbers=(PLAIN[0], PLAIN[1], stranger, PLAIN[2])), MarkKind.END)
    seen = made.finish()

    assert {str(one.number("e164.arpa")) for one in seen.others} == {str(stranger)}
    assert word("B.3.2", seen)[0] is Outcome.OTHER


def test_only_what_began_in_the_window_is_judged() -> None:
    """Calls before BEGIN and after END are shown, not judged."""
    made = bench()
    begin = made.place(4)
    made.mark(begin, MarkKind.BEGIN)
    end = made.place(6, from_ns=begin)
    made.mark(end - 1, MarkKind.END)
    made.place(5, from_ns=end)
    seen = made.finish()

    assert (len(seen.traffic.lookups), len(seen.between(*seen.window))) == (15, 6)
    assert (len(seen.calls), len(seen.calls_between(*seen.window))) == (15, 6)


def blocking(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
    """Order every call to be terminated."""
    del server, now_ns
    return (Reply(encode_answer(query, records=(TERMINATE,))),)


def policy(script: Script, number: str, calls: int = 6) -> Bench:
    """Return a bench on which a policy case was carried out."""
    numbers = (PhoneNumber.parse(number),)

    def contrast(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        return tuple((blocking if now_ns < begin_ns else script)(server, query, now_ns))

    made = bench(script=contrast)
    made.mark(0, MarkKind.INSTALLED, CONTRAST)
    begin_ns = made.place(3, numbers=numbers) - 1
    made.mark(begin_ns, MarkKind.INSTALLED, "rule")
    made.mark(begin_ns, MarkKind.BEGIN)
    made.mark(made.place(calls, from_ns=begin_ns + 1, numbers=numbers), MarkKind.END)
    return made


@pytest.mark.parametrize(
    ("step", "script", "outcome"),
    [
        ("B.2.1", allowing, Outcome.PASS),
        ("B.2.1", blocking, Outcome.FAIL),
        ("B.2.2", blocking, Outcome.PASS),
        ("B.2.2", allowing, Outcome.FAIL),
        ("B.2.3", allowing, Outcome.FAIL),
        ("B.2.3", blocking, Outcome.FAIL),
    ],
)
def test_policy_case_wants_its_own_answer(step: str, script: Script, outcome: Outcome) -> None:
    """Allow, terminate, redirect: what the servers say and what the SBC does must both fit."""
    assert word(step, policy(script, "+12125550130").finish())[0] is outcome


@pytest.mark.parametrize("step", ["B.2.4", "B.2.5"])
def test_uninstalled_policy_needs_to_have_been_seen_before(step: str) -> None:
    """Answers "as dialled" prove nothing when the rule was never in force."""
    made = policy(allowing, "+12125550130", calls=12)
    made.mark(-1, MarkKind.UNINSTALLED, "rule")

    outcome, words = word(step, made.finish())
    assert outcome is Outcome.OTHER
    assert "policy.installed" in words


@pytest.mark.parametrize(("still", "outcome"), [(False, Outcome.PASS), (True, Outcome.FAIL)])
def test_uninstalled_policy_is_judged_from_what_comes_after(still: bool, outcome: Outcome) -> None:
    """It acted, was removed, and must be gone."""
    gone_ns = 400 * MS

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        act = blocking if still or now_ns < gone_ns else allowing
        return act(server, query, now_ns)

    made = bench(script=script)
    numbers = (PhoneNumber.parse("+12125550130"),)
    made.mark(0, MarkKind.INSTALLED, "rule")
    made.place(6, numbers=numbers)
    made.mark(gone_ns, MarkKind.UNINSTALLED, "rule")
    made.mark(gone_ns, MarkKind.BEGIN)
    made.mark(made.place(12, from_ns=gone_ns, numbers=numbers), MarkKind.END)
    seen = made.finish()

    assert word("B.2.4", seen)[0] is outcome
    assert word("B.2.5", seen)[0] is outcome


def test_marks_are_found_by_kind() -> None:
    """The first of a kind counts; one that never was is 0."""
    made = bench()
    made.mark(5, MarkKind.DOWN, "enum1")
    made.mark(9, MarkKind.DOWN, "enum2")
    seen = made.finish()

    assert (seen.at(MarkKind.DOWN) - START_NS, seen.at(MarkKind.UP)) == (5, 0)
    assert seen.marks[0].to_json() == {"mark_ns": START_NS + 5, "kind": "down", "names": ["enum1"]}


def test_group_is_what_the_site_file_declares() -> None:
    """Names in the SBC's order, times in nanoseconds, tolerance as a time."""
    seen = bench().finish()

    assert seen.group.servers == ("enum1", "enum2", "enum3")
    assert (seen.group.timeout_ns, seen.group.hold_down_ns) == (200 * MS, 800 * MS)
    assert seen.group.tolerance_ns == seen.group.hold_down_ns * 8 // 100
    assert list(seen.servers.values()) == list(seen.group.servers)
