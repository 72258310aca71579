"""The shipped plan holds what the source asks for, and a bad plan is refused whole."""

import hashlib
from importlib import resources
from pathlib import Path

import pytest

from fst.plan import HostRole, Mode, Outage, Role, Scope, Step, default_plan, parse_plan
from harness.errors import InputError

TEXT = (resources.files("fst") / "data" / "plan.toml").read_text(encoding="utf-8")
SOURCE_STEPS = (
    *("A.1.1", "A.1.2", "A.1.3", "A.2.1", "A.2.2"),
    *("B.1.1", "B.1.2", "B.1.3", "B.1.4"),
    *("B.2.1", "B.2.2", "B.2.3", "B.2.4", "B.2.5"),
    *("B.3.1", "B.3.2", "B.3.3", "B.3.4", "B.3.5", "B.3.6", "B.3.7"),
    *("C.1.1", "C.1.2", "C.2.1", "C.2.2", "C.2.3"),
)
PER_HOST = {"A.1.1", "A.1.2", "A.1.3", "A.2.1", "A.2.2", "B.1.1", "B.1.2", "B.3.1"} | {
    *("C.1.1", "C.1.2", "C.2.1")
}
DISTURBING = {"A.1.1", "B.2.1", "B.2.2", "B.2.3", "B.2.4", "B.2.5"} | {
    *("B.3.3", "B.3.4", "B.3.5", "B.3.6", "B.3.7")
}


def edited(*changes: tuple[str, str]) -> str:
    """Return the shipped text with each *old* replaced once, refusing edits that do nothing."""
    text = TEXT
    for old, new in changes:
        assert old in text, f"the shipped plan no longer says {old!r}"
        text = text.replace(old, new, 1)
    return text


def refusal(text: str) -> list[str]:
    """Return the lines of the InputError that *text* earns."""
    with pytest.raises(InputError) as caught:
        parse_plan(text, file="p.toml")
    return str(caught.value).splitlines()


def test_every_step_of_the_source_is_there_in_its_order() -> None:
    """26 steps, in the order in which the result forms print them."""
    assert tuple(step.id for step in default_plan().steps) == SOURCE_STEPS


@pytest.mark.parametrize("step", default_plan().steps, ids=lambda step: step.id)
def test_step_says_what_it_is(step: Step) -> None:
    """A step has an expected result, a tester, and a scope, mode and disturbance as agreed."""
    assert step.expected
    assert Role.TESTER in step.roles
    assert step.scope is (Scope.HOST if step.id in PER_HOST else Scope.SITE)
    assert step.mode is Mode.AUTOMATIC
    assert step.disturbs is (step.id in DISTURBING)
    assert step.marker == {"A": "baseline", "B": "enum", "C": "probe"}[step.id[0]]


def test_waits_are_ten_and_thirty_minutes() -> None:
    """Two steps wait: one for 600 s, the next for 1800 s."""
    waits = {step.id: [wait.seconds for wait in step.waits] for step in default_plan().steps}

    assert {key: seconds for key, seconds in waits.items() if seconds} == {
        "A.1.2": [600],
        "A.1.3": [1800],
    }


def test_third_policy_step_is_redirect() -> None:
    """What the source prints twice as allow is read as redirect, and says so."""
    step = default_plan().step("B.2.3")

    assert step.title == "Redirect"
    assert step.reading == "redirect-printed-as-allow"


def test_nine_readings_each_cover_a_step() -> None:
    """Each of the nine contradictions names at least one step that it decides."""
    plan = default_plan()

    assert len(plan.readings) == 9
    assert all(any(r.covers(step.id) for step in plan.steps) for r in plan.readings)


def test_user_guide_explains_every_reading() -> None:
    """Each reading of the shipped plan is explained in docs/plan.md, by its id."""
    guide = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")

    assert [r.id for r in default_plan().readings if f"`{r.id}`" not in guide] == []


def test_standby_does_not_concern_enum_and_probe_servers() -> None:
    """One exempt row a form stands for the whole section on ENUM and probe servers."""
    exempt = [
        (step.id, role)
        for step in default_plan().steps
        for role in HostRole
        if step.exemption(role)
    ]

    assert exempt == [("A.2.1", HostRole.ENUM), ("A.2.1", HostRole.PROBE)]


def test_front_matter_is_complete() -> None:
    """Parties, roles, schedule, criteria and the conditions of a full run are all there."""
    plan = default_plan()

    assert [party.id for party in plan.parties] == ["vendor", "customer"]
    assert {duty.id for duty in plan.roles} == set(Role)
    assert len(plan.schedule) == 6
    assert [c.name for c in plan.criteria] == [
        *("all-pass", "caveat-accepted-in-writing", "fail-retested")
    ]
    assert [c.name for c in plan.executed] == [
        *("verdict-in-every-box", "comments-filled", "exemptions-filled", "final-page-signed")
    ]


def test_hash_is_that_of_the_text() -> None:
    """A changed comment changes the identity of the plan."""
    assert default_plan().sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert parse_plan(TEXT + "# more\n", file="p.toml").sha256 != default_plan().sha256


def test_step_that_is_not_in_the_plan_is_refused() -> None:
    """Asking for an unknown step names it."""
    with pytest.raises(InputError, match=r"Z\.1\.1"):
        default_plan().step("Z.1.1")


def test_every_bad_field_is_reported_at_once() -> None:
    """One line each, and each line names file, field and value."""
    lines = refusal(
        edited(
            ('scope = "host"', 'scope = "room"'),
            ("seconds = 600", "seconds = -1"),
            ('applies = ["mediation"', 'applies = ["dns"'),
            ('id = "B.2.2"', 'id = "B.2.1"'),
            ('reading = "third-server"', 'reading = "fourth-server"'),
            ("needs_servers = 2", 'needs_servers = "2"'),
            ('id = "C.1.1"', 'id = "C11"'),
        )
    )

    assert [line.split(" = ")[0] for line in lines] == [
        "p.toml: steps[A.1.1].applies[0]",
        "p.toml: steps[A.1.1].scope",
        "p.toml: steps[A.1.2].waits[processes-stay-up].seconds",
        "p.toml: steps[B.3.2].needs_servers",
        "p.toml: steps[C11].id",
        "p.toml: steps",
        "p.toml: steps[C11].section",
        "p.toml: steps[B.3.2].reading",
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('id = "B.2.2"', 'id = "B.2.1"', "steps = 'B.2.1': used 2 times"),
        ('id = "A.2"', 'id = "A.1"', "sections = 'A.1': used 2 times"),
        ('name = "all-pass"', 'name = "fail-retested"', "criteria = 'fail-retested': used 2"),
        ('reading = "third-server"', 'reading = "none"', "'none': not among the readings"),
        ('section = "A.1"', 'section = "A.9"', "'A.9': not among the sections"),
        ('section = "A.1"', 'section = "A.2"', "the id A.1.1 does not begin so"),
        ('party = "vendor"', 'party = "nobody"', "'nobody': not among the parties"),
        ('where = ["B.1.4"]', 'where = ["B.1.3"]', "does not cover this step"),
        ('where = ["A.2.2"]', 'where = ["A.2.2", "D"]', "'D': covers no step"),
        ('id = "caller"\n', 'id = "tester"\n', "'caller': not described in roles"),
        ('role = "enum", why', 'role = "database", why', "'database': also in applies"),
        ('role = "enum", why', 'role = "sbc", why', "'sbc': Input should be 'mediation'"),
        ('roles = ["tester"]', 'roles = ["driver"]', "'driver': Input should be 'tester'"),
        ('roles = ["tester"]', 'roles = ["tester", "tester"]', "'tester': used 2 times"),
        ('roles = ["tester"]', "roles = []", "steps[A.1.1].roles: Tuple should have at least 1"),
        ('mode = "automatic"', 'mod = "automatic"', "steps[A.1.1].mode: is missing"),
        (
            'mode = "automatic"',
            'mod = "automatic"',
            "steps[A.1.1].mod = 'automatic': no such field",
        ),
        ("disturbs = true", "disturbs = 1", "disturbs = 1: Input should be a valid boolean"),
        ('version = "1.0"', "version = 1.0", "plan.version = 1.0: Input should be a valid string"),
        ("high = 0,", "low = 1, high = 0,", "no value lies between these limits"),
        ("high = 0,", "high = nan,", "Input should be a finite number"),
        ("high = 0,", f"high = 0x{'f' * 4000},", "processes_missing].high"),
        ("[plan]", 'sha256 = "0"\n[plan]', "sha256: is computed from the text"),
        ("[plan]", '"a\\nb" = 0\n[plan]', "'a\\nb' = 0: no such field"),
        ("[plan]", f"{'a.' * 3000}a = 0\n[plan]", "a: no such field"),
        ("[plan]", f"a = {'[' * 3000}\n[plan]", "not TOML"),
        ("[plan]", "[plan", "not TOML: Expected ']' at the end of a table declaration (at line 5"),
        ("[plan]", "\udcff[plan]", "not TOML"),
        ("[plan]", f"a = {'9' * 5000}\n[plan]", "not TOML"),
    ],
)
def test_one_bad_field_is_named(old: str, new: str, says: str) -> None:
    """Whatever is wrong, the message names the file, the place and what it should be."""
    lines = refusal(edited((old, new)))

    assert all(line.startswith("p.toml: ") for line in lines)
    assert any(says in line for line in lines), lines


def test_tables_of_the_wrong_shape_are_refused() -> None:
    """A number where tables belong is reported, and so are the tables that are not there."""
    lines = refusal('steps = 3\nsections = [1]\nreadings = [{ id = [], where = "B" }]\n')

    assert any("steps = 3" in line for line in lines)
    assert any("parts: is missing" in line for line in lines)


@pytest.mark.parametrize(
    ("outage", "servers", "meant"),
    [
        (Outage.NONE, ("e1", "e2"), ()),
        (Outage.FIRST, ("e1", "e2", "e3"), ("e1",)),
        (Outage.ALL_BUT_LAST, ("e1", "e2", "e3"), ("e1", "e2")),
        (Outage.ALL_BUT_LAST, ("e1",), ()),
        (Outage.ALL, ("e1", "e2"), ("e1", "e2")),
        (Outage.FIRST, (), ()),
    ],
)
def test_outage_means_servers_by_their_place(
    outage: Outage, servers: tuple[str, ...], meant: tuple[str, ...]
) -> None:
    """Which servers go down follows from their order at the site, for any number of them."""
    assert outage.of(servers) == meant
