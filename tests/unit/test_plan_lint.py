"""Each lint rule finds its flaw in the shipped plan once that is broken, and nothing before."""

from importlib import resources

import pytest

from fst.plan import Reading, default_plan, parse_plan
from fst.plan_lint import RULES, Flaw, flaws, lint

TEXT = (resources.files("fst") / "data" / "plan.toml").read_text(encoding="utf-8")
ALLOW = "Install a rule that lets one chosen test call through, and place that call."
REDIRECT = (
    "Install a rule that sends one chosen test call to another extension, and place that call."
)
BREAKS = [
    ("same-text", ("B.2.1", "B.2.3"), REDIRECT, ALLOW.upper().replace(" ", "  ")),
    (
        "no-expected",
        ("A.2.1",),
        'expected = "Everything in the guide is there, and set as it says."\n',
        "",
    ),
    (
        "numbered-server",
        ("B.3.4",),
        "all ENUM servers but the last; all",
        "ENUM 1 and ENUM 2; only ENUM server 3 gets",
    ),
    (
        "mixed-datasets",
        ("B.1.2", "B.1.3", "B.1.4"),
        "dataset ENUM, view ten busiest dest",
        "dataset SIP, view ten busiest dest",
    ),
    ("unlike-wait", ("A.1.3",), "seconds = 1800", "seconds = 600"),
    ("unlike-wait", ("A.1.2",), 'waits = [{ name = "processes-stay-up", seconds = 600 }]\n', ""),
    ("nothing-measured", ("B.2.4",), 'high = 0, what = "test policies', 'what = "test policies'),
    ("left-down", ("B.3.6",), 'restarts = "all"\n', ""),
    ("left-down", ("B.3.6",), 'restarts = "all"', 'restarts = "all-but-last"'),
    (
        "undeclared-disturbance",
        ("B.3.6",),
        'disturbs = true\nmarker = "enum"\nreading = "one-observation-many-boxes"\nstops',
        'marker = "enum"\nreading = "one-observation-many-boxes"\nstops',
    ),
]


def test_the_shipped_plan_has_no_flaw() -> None:
    """Every contradiction of the source is settled by a reading."""
    assert flaws(default_plan()) == ()


@pytest.mark.parametrize(("rule", "where", "old", "new"), BREAKS)
def test_rule_finds_what_was_broken(rule: str, where: tuple[str, ...], old: str, new: str) -> None:
    """Breaking one thing gives one flaw, under the right rule, at the right steps."""
    assert TEXT.count(old) == 1
    found = flaws(parse_plan(TEXT.replace(old, new), file="p.toml"))

    assert [(flaw.rule, flaw.where) for flaw in found] == [(rule, where)]
    assert rule in str(found[0])


def test_every_rule_is_broken_somewhere() -> None:
    """No rule is there that has never been seen to find anything."""
    broken = {rule for rule, *_ in BREAKS}

    assert broken == {rule.__name__.strip("_").replace("_", "-") for rule in RULES}


def test_lint_lists_readings_before_flaws() -> None:
    """What is settled comes first, what is still wrong after it."""
    found = lint(parse_plan(TEXT.replace(REDIRECT, ALLOW), file="p.toml"))

    assert [type(item) for item in found] == [Reading] * 9 + [Flaw]
