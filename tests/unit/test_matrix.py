"""The forms of a run: how many, in which order, and what each box stands for."""

from importlib import resources

import pytest

from fst.matrix import HostEntry, Matrix, Row, SiteHosts, as_text, build, lint_text
from fst.plan import HostRole, default_plan, parse_plan
from harness.errors import InputError

ROLES = {
    "med": HostRole.MEDIATION,
    "db": HostRole.DATABASE,
    "enum": HostRole.ENUM,
    "probe": HostRole.PROBE,
}


def site(number: int, *, standby: bool = False, enum: int = 2, title: str = "") -> SiteHosts:
    """Return a site with a mediation server, a database server, ENUM servers and two probes."""
    counts = {"probe": 2, "enum": enum, "db": 1, "med": 1}  # not in print order, on purpose
    hosts = tuple(
        HostEntry(f"{kind}{n}", ROLES[kind]) for kind in counts for n in range(1, counts[kind] + 1)
    )
    return SiteHosts(f"site{number}", title or f"Site {number}", standby, hosts)


TWO_SITES = (site(2, standby=True), site(1))  # standby listed first, on purpose


def built(*sites: SiteHosts) -> Matrix:
    """Return the matrix of the shipped plan."""
    return build(default_plan(), sites)


def row(matrix: Matrix, step_id: str) -> Row:
    """Return the first row of the step."""
    return next(row for row in matrix.rows if row.step.id == step_id)


def test_two_sites_give_the_forms_of_the_source() -> None:
    """20 forms with 128 boxes: 44 baseline, 64 ENUM and 20 probe; 8 rows are not applicable."""
    matrix = built(*TWO_SITES)

    assert len(matrix.forms) == 20
    assert len(matrix.boxes) == 128
    assert [matrix.count(part) for part in "ABC"] == [44, 64, 20]
    assert len(matrix.not_applicable) == 8


def test_forms_are_printed_part_by_part_and_primary_first() -> None:
    """Baseline of each host, then every ENUM server, then every probe; the primary site first."""
    titles = [f"{form.id} {form.part} {form.title}" for form in built(*TWO_SITES).forms]

    assert titles == [
        "F01 A Primary mediation server",
        "F02 A Primary database server",
        "F03 A Site 1 ENUM server 1",
        "F04 A Site 1 ENUM server 2",
        "F05 A Site 1 probe server 1",
        "F06 A Site 1 probe server 2",
        "F07 A Secondary mediation server",
        "F08 A Secondary database server",
        "F09 A Site 2 ENUM server 1",
        "F10 A Site 2 ENUM server 2",
        "F11 A Site 2 probe server 1",
        "F12 A Site 2 probe server 2",
        "F13 B Site 1 ENUM server 1",
        "F14 B Site 1 ENUM server 2",
        "F15 B Site 2 ENUM server 1",
        "F16 B Site 2 ENUM server 2",
        "F17 C Site 1 probe server 1",
        "F18 C Site 1 probe server 2",
        "F19 C Site 2 probe server 1",
        "F20 C Site 2 probe server 2",
    ]


def test_rows_of_each_kind_of_form() -> None:
    """Five rows on a mediation form, three and an exempt one on an ENUM baseline, 16 and 5."""
    forms = {form.id: form for form in built(*TWO_SITES).forms}

    assert [len(forms[name].rows) for name in ("F01", "F03", "F13", "F17")] == [5, 4, 16, 5]
    assert [r.step.id for r in forms["F03"].rows] == ["A.1.1", "A.1.2", "A.1.3", "A.2.1"]
    assert forms["F03"].rows[-1].box == ""
    assert "mediation and database" in forms["F03"].rows[-1].not_applicable


def test_every_step_of_the_plan_is_on_a_form() -> None:
    """No step is lost between plan and forms."""
    steps = {row.step.id for row in built(*TWO_SITES).rows if row.box}

    assert steps == {step.id for step in default_plan().steps}


def test_site_step_is_observed_once_and_shown_on_each_form() -> None:
    """Rotation at site 1 is one case with a box on both ENUM forms; a host step has one box."""
    cases = {(case.step.id, case.target): case.boxes for case in built(*TWO_SITES).cases}

    assert cases["B.3.4", "site1"] == ("F13:B.3.4", "F14:B.3.4")
    assert cases["B.1.2", "site2/enum1"] == ("F15:B.1.2",)
    assert cases["C.2.3", "site2"] == ("F19:C.2.3", "F20:C.2.3")
    assert len(cases) == 98


def test_system_step_is_observed_once_for_everything() -> None:
    """A step of system scope is one case, however many forms show it."""
    text = resources.files("fst").joinpath("data/plan.toml").read_text(encoding="utf-8")
    plan = parse_plan(text.replace('scope = "host"', 'scope = "system"', 1), file="p.toml")
    cases = [case for case in build(plan, TWO_SITES).cases if case.step.id == "A.1.1"]

    assert [(case.target, len(case.boxes)) for case in cases] == [("system", 12)]


@pytest.mark.parametrize(
    ("enum", "note"),
    [
        (2, "read as all but last of 2 servers: enum1 stopped; requests must go to enum2"),
        (3, "read as all but last of 3 servers: enum1, enum2 stopped; requests must go to enum3"),
        (
            4,
            "of 4 servers: enum1, enum2, enum3 stopped; requests must go to enum4",
        ),
    ],
)
def test_outage_is_read_for_the_servers_there_are(enum: int, note: str) -> None:
    """Two servers down of three becomes all but the last of however many the site has."""
    assert row(built(site(1, enum=enum)), "B.3.4").notes[0].endswith(note)


def test_two_servers_say_that_both_outages_stop_the_same_one() -> None:
    """With two servers a note admits that all but the last is the first one again."""
    assert "observed anew" in row(built(site(1, enum=2)), "B.3.4").notes[-1]
    assert "observed anew" not in row(built(site(1, enum=3)), "B.3.4").notes[-1]


def test_single_server_has_no_turns_and_no_partial_outage() -> None:
    """With one ENUM server four routing steps have no box, and the reason names the site."""
    matrix = built(site(1, enum=1), site(2, standby=True))
    without = [row for row in matrix.not_applicable if row.target == "site1"]

    assert [row.step.id for row in without] == ["B.3.2", "B.3.3", "B.3.4", "B.3.5"]
    assert "Needs 2 ENUM servers at a site, Site 1 has 1" in without[0].not_applicable
    assert "all of 1 server: enum1 stopped; no server is left" in row(matrix, "B.3.6").notes[0]
    assert "a single server takes no turns" in row(matrix, "B.3.7").notes[-1]


def test_no_standby_site_means_no_enhanced_availability() -> None:
    """With primary sites alone there is nothing to keep up to date, and the rows say so."""
    rows = [row for row in built(site(1)).rows if row.step.id == "A.2.2"]

    assert [row.box for row in rows] == ["", ""]
    assert "No standby site has a database server" in rows[1].not_applicable


def test_rows_carry_the_reading_in_force() -> None:
    """A row that is read otherwise than printed says so, with the name of the reading."""
    assert (
        row(built(*TWO_SITES), "B.2.3")
        .notes[0]
        .startswith("printed as a second allow in the source; read as redirect (reading redirect-")
    )


def test_forms_that_would_look_alike_name_their_host() -> None:
    """Two primary sites, or two sites of one title, still give titles that differ."""
    forms = built(site(1, title="North"), site(2, title="North")).forms
    titles = [(form.part, form.title) for form in forms]

    assert len(set(titles)) == len(titles)
    assert ("A", "Primary mediation server (site2/med1)") in titles


def test_text_ends_with_the_totals() -> None:
    """The last two lines are the split and the sum, for the user to hold against the source."""
    lines = as_text(built(*TWO_SITES), default_plan())

    assert lines[-2:] == [
        "44 baseline, 64 ENUM, 20 probe; 8 not applicable",
        "128 boxes on 20 forms",
    ]
    assert "F13  part B  Site 1 ENUM server 1  (site1/enum1)" in lines
    assert "  B.3.4  automatic  site1            All servers but the last down" in lines
    assert "  A.2.1  N/A        site1/enum1      Warm standby is set up" in lines


def test_lint_text_lists_readings_and_flaws() -> None:
    """Each reading shows source, reading and reason; the last line counts both kinds."""
    text = resources.files("fst").joinpath("data/plan.toml").read_text(encoding="utf-8")
    lines = lint_text(parse_plan(text.replace("seconds = 600", "seconds = 60"), file="p.toml"))

    assert lines[0] == "redirect-printed-as-allow (B.2.3)"
    assert lines[-2].startswith("flaw: A.1.2: the text says 600 s, waits say 60 s")
    assert lines[-1] == "9 readings in force, 1 flaw"
    assert lint_text(default_plan())[-1] == "9 readings in force, 0 flaws"


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", " a"])
def test_name_that_blurs_a_target_is_refused(name: str) -> None:
    """Hosts and sites are told apart by `site/host`, so neither may hold a slash or nothing."""
    with pytest.raises(InputError):
        HostEntry(name, HostRole.ENUM)
    with pytest.raises(InputError):
        SiteHosts(name, "Site", standby=False, hosts=())


def test_sites_that_cannot_be_told_apart_are_refused() -> None:
    """No site, one name twice, a host twice, a site called system or without title: all refused."""
    host = HostEntry("enum1", HostRole.ENUM)
    with pytest.raises(InputError, match="no site to test"):
        built()
    with pytest.raises(InputError, match="'site1': used 2 times"):
        built(site(1), site(1))
    with pytest.raises(InputError, match="'enum1': used 2 times"):
        SiteHosts("site1", "Site 1", standby=False, hosts=(host, host))
    with pytest.raises(InputError, match="means the whole system"):
        SiteHosts("system", "Site 1", standby=False, hosts=(host,))
    with pytest.raises(InputError, match="a form needs a title"):
        SiteHosts("site1", " ", standby=False, hosts=(host,))
