"""What people heard or saw, held against what the packets show; and the file it may come from."""

import pytest

from fst.answers import CaseAnswer, parse_answers
from fst.matrix import HostEntry, Matrix, SiteHosts, build
from fst.plan import HostRole, default_plan
from fst.senses import SENSES, Said, Sense, compare
from harness.errors import InputError
from harness.finding import Measurement, Outcome

PLAN = default_plan()
SPEC = SENSES["B.2.2"]


@pytest.mark.parametrize("step", sorted(SENSES))
def test_sense_is_held_against_a_measurement_of_its_step(step: str) -> None:
    """Every name is one that the plan declares there, with a limit that can decide."""
    declared = {
        spec.name: spec for one in PLAN.steps if one.id == step for spec in one.measurements
    }
    spec = declared[SENSES[step].measurement]

    assert spec.low is not None or spec.high is not None


def said(*, is_expected: bool | None) -> Said:
    return Said(Sense.HEARD, "", is_expected, "", "Ana", "terminal pts/1")


def let_through(value: float | None) -> Measurement:
    return Measurement("calls_let_through", value, "calls", high=0)


@pytest.mark.parametrize(
    ("is_expected", "value", "count"),
    [
        (True, 0, 0),
        (False, 2, 0),
        (True, 2, 1),
        (False, 0, 1),
        (None, 0, 0),  # could not tell
        (None, 2, 0),
        (True, None, 0),  # never measured
        (False, None, 0),
    ],
)
def test_disagreement(is_expected: bool | None, value: float | None, count: int) -> None:
    """Only where both speak, and differ."""
    found = compare(SPEC, said(is_expected=is_expected), [let_through(value)])

    assert len(found) == count
    assert all(one.finding().outcome is Outcome.OTHER for one in found)


def test_every_place_that_measured_is_compared() -> None:
    """Two SBCs, one of which let calls through: the person who heard them end is held to both."""
    other = Measurement("calls_judged", 0, "calls", low=1)
    (found,) = compare(SPEC, said(is_expected=True), [let_through(0), other, let_through(3)])

    assert "calls_let_through = 3 calls, which is FAIL" in found.packets


def matrix() -> Matrix:
    hosts = tuple(HostEntry(f"enum{count}", HostRole.ENUM) for count in (1, 2))
    return build(PLAN, (SiteHosts("site1", "Site 1", standby=False, hosts=hosts),))


HEAD = f"""
[answers]
plan = "{PLAN.about.id}"
plan_sha256 = "{PLAN.sha256}"
site = "Lab"
who = "Pat"
"""
CASE = '[[case]]\nstep = "B.2.2"\ntarget = "site1"\n'


def read(text: str) -> dict[tuple[str, str], CaseAnswer]:
    found = parse_answers(text.encode(), file="a.toml", plan=PLAN, site="Lab", matrix=matrix())
    return dict(found.cases)


def test_answers_are_read() -> None:
    """Senses by case; what is not said is not there."""
    text = HEAD + CASE + 'heard = "ended"\nwords = "busy"\ndialled = true\n'
    seen = '[[case]]\nstep = "B.1.1"\ntarget = "site1/enum2"\nseen = "missing"\n'

    assert read(HEAD) == {}
    assert read(text + seen) == {
        ("B.2.2", "site1"): CaseAnswer(dialled=True, heard="ended", words="busy"),
        ("B.1.1", "site1/enum2"): CaseAnswer(seen="missing"),
    }


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "answers"),
        (HEAD.replace(PLAN.sha256, "0" * 64), "answers.plan_sha256"),
        (HEAD.replace(PLAN.about.id, "another"), "answers.plan"),
        (HEAD.replace('"Lab"', '"Elsewhere"'), "answers.site"),
        (HEAD.replace('"Pat"', '" "'), "answers.who"),
        (HEAD + "[more]\n", "more"),
        (HEAD + "case = 3\n", "answers.case"),
        (HEAD + '[[case]]\nstep = "B.9.9"\ntarget = "site1"\n', "case.0.step"),
        (HEAD + '[[case]]\nstep = "B.1.1"\ntarget = "site1/enum9"\n', "case.0.target"),
        (HEAD + '[[case]]\nstep = "B.2.2"\n', "case.0.target"),
        (HEAD + CASE + 'verdict = "PASS"\n', "case.0.verdict"),
        (HEAD + CASE + 'outcome = "PASS"\n', "case.0.outcome"),
        (HEAD + CASE + "PASS = true\n", "case.0.PASS"),
        (HEAD + CASE + 'heard = "PASS"\n', "case.0.heard"),
        (HEAD + CASE + "heard = true\n", "case.0.heard"),
        (HEAD + CASE + 'seen = "shown"\n', "case.0.seen"),
        (HEAD + CASE + 'smelt = "smoke"\n', "case.0.smelt"),
        (HEAD + CASE + 'dialled = "yes"\n', "case.0.dialled"),
        (HEAD + CASE + CASE, "case.1"),
    ],
)
def test_answers_that_do_not_fit_are_refused(text: str, field: str) -> None:
    """Another plan or site, an unknown host, a verdict, an odd field: each is named."""
    with pytest.raises(InputError) as refused:
        read(text)

    assert refused.value.file == "a.toml"
    assert refused.value.field == field


@pytest.mark.parametrize("content", [b"\xff", b"[answers", b"answers = 1"])
def test_answers_that_are_no_file_of_answers(content: bytes) -> None:
    """Bytes that are no text, text that is no TOML, TOML that is none of ours."""
    with pytest.raises(InputError, match=r"a\.toml"):
        parse_answers(content, file="a.toml", plan=PLAN, site="Lab", matrix=matrix())
