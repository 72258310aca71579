"""Any text is a plan or an InputError; any layout of sites gives sound boxes."""

from collections import Counter
from importlib import resources

from hypothesis import given, settings
from hypothesis import strategies as st

from fst.matrix import HostEntry, SiteHosts, as_text, build
from fst.plan import HostRole, Plan, default_plan, parse_plan
from harness.errors import InputError

TEXT = (resources.files("fst") / "data" / "plan.toml").read_text(encoding="utf-8")
SIGNS = (
    "[",
    "]",
    "[[steps]]\n",
    "=",
    '"',
    "{",
    "}",
    ",",
    "\n",
    "#",
    ".",
    "'",
    '"""',
    "\\u0000",
    "\r",
)
WORDS = ("id", "steps", "1979-05-27", "0x1", "1e400", "-inf", "true", "null", "\ud800", "\u2028")
TOML_SCRAPS = st.sampled_from((*SIGNS, *WORDS))
cuts = st.integers(0, len(TEXT))

names = st.text("abc-1", min_size=1, max_size=4)
host_entries = st.builds(HostEntry, names, st.sampled_from(HostRole))
site_hosts = st.builds(
    SiteHosts,
    names,
    st.sampled_from(["North", "South"]),
    st.booleans(),
    st.lists(host_entries, max_size=12, unique_by=lambda host: host.name).map(tuple),
)
layouts = st.lists(site_hosts, min_size=1, max_size=4, unique_by=lambda s: s.name).map(tuple)


def plan_or_refusal(text: str) -> Plan | str:
    """Return the plan, or what the refusal says; anything else that escapes fails the test."""
    try:
        return parse_plan(text, file="p.toml")
    except InputError as error:
        return str(error)


@given(st.text() | st.lists(TOML_SCRAPS, max_size=30).map("".join))
def test_short_text_is_never_a_plan(text: str) -> None:
    """Text without the tables of a plan is refused by name of the file, and breaks nothing."""
    refusal = plan_or_refusal(text)

    assert isinstance(refusal, str)
    assert refusal.startswith("p.toml: ")


@settings(max_examples=150)
@given(cuts, cuts, st.text(max_size=6) | TOML_SCRAPS)
def test_damaged_plan_is_a_plan_or_refused(start: int, end: int, scrap: str) -> None:
    """Whatever span is replaced, the rest reads or is refused, and each line names the file."""
    found = plan_or_refusal(TEXT[: min(start, end)] + scrap + TEXT[max(start, end) :])

    assert isinstance(found, Plan) or all(
        line.startswith("p.toml: ") for line in found.splitlines()
    )


@settings(max_examples=150)
@given(st.integers(0, len(TEXT) - 1), st.integers(0, 40), st.text(max_size=3) | TOML_SCRAPS)
def test_slightly_damaged_plan_is_a_plan_or_refused(at: int, length: int, scrap: str) -> None:
    """The same for a short span, which mostly leaves TOML that reads."""
    found = plan_or_refusal(TEXT[:at] + scrap + TEXT[at + length :])

    assert isinstance(found, Plan) or all(
        line.startswith("p.toml: ") for line in found.splitlines()
    )


@given(layouts)
def test_every_box_is_unique_and_in_one_case(sites: tuple[SiteHosts, ...]) -> None:
    """For any layout: no box twice, each in one case, and each row has a box or a reason."""
    matrix = build(default_plan(), sites)
    filled = Counter(box for case in matrix.cases for box in case.boxes)

    assert len(set(matrix.boxes)) == len(matrix.boxes)
    assert filled == Counter(matrix.boxes)
    assert all(bool(row.box) != bool(row.not_applicable) for row in matrix.rows)
    assert len({(case.step.id, case.target) for case in matrix.cases}) == len(matrix.cases)


@given(layouts)
def test_forms_are_told_apart_and_totals_add_up(sites: tuple[SiteHosts, ...]) -> None:
    """For any layout: form numbers and titles differ, and the last line counts what is there."""
    plan = default_plan()
    matrix = build(plan, sites)

    assert len({form.id for form in matrix.forms}) == len(matrix.forms)
    assert len({(form.part, form.title) for form in matrix.forms}) == len(matrix.forms)
    assert sum(matrix.count(part.id) for part in plan.parts) == len(matrix.boxes)
    assert as_text(matrix, plan)[-1] == f"{len(matrix.boxes)} boxes on {len(matrix.forms)} forms"


@given(layouts)
def test_forms_do_not_depend_on_how_kinds_of_hosts_are_mixed(sites: tuple[SiteHosts, ...]) -> None:
    """Only the order within one kind of host counts: listing the kinds apart changes nothing."""
    sorted_sites = tuple(
        SiteHosts(s.name, s.title, s.standby, tuple(sorted(s.hosts, key=lambda h: h.role)))
        for s in sites
    )

    assert build(default_plan(), sorted_sites) == build(default_plan(), sites)
