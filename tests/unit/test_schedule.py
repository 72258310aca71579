"""Order of cases beside holds, the change window, and what is shown of both."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from fst.hold import Gap
from fst.hold_panel import HoldPanel, HoldView, MarkView, status_line, window_line
from fst.host_history import watched_hosts
from fst.matrix import Case
from fst.plan import default_plan
from fst.rehearsal import rehearsed
from fst.schedule import Place, disturbed, ordered, position, refusal
from fst.session import matrix_of, read_site_file
from fst.site import SiteFile, parse_site
from fst.window import Window
from harness.errors import InputError

SITE = Path(__file__).parents[2] / "fixtures/sites/two-site.toml"
FILE = read_site_file(SITE)[0]
HOSTS = watched_hosts(FILE)
CASES = matrix_of(FILE, default_plan()).cases
NS, MIN_NS = 1_000_000_000, 60_000_000_000
BEGINS = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
WINDOW = Window(begins=BEGINS, ends=BEGINS + timedelta(hours=4), restore_minutes=45)


def case(step: str, target: str) -> Case:
    return next(one for one in CASES if (one.step.id, one.target) == (step, target))


def wall_ns(**after: float) -> int:
    return round((BEGINS + timedelta(**after)).timestamp()) * NS


def test_part_a_is_judged_last_and_disturbing_cases_wait() -> None:
    """B.1, B.3.1, B.3.2 and C go on inside the holds; what stops servers comes after them."""
    steps = list(dict.fromkeys(one.step.id for one in ordered(CASES)))

    assert steps == [
        *("B.1.1", "B.1.2", "B.1.3", "B.1.4", "B.3.1", "B.3.2"),
        *("C.1.1", "C.1.2", "C.2.1", "C.2.2", "C.2.3"),
        *("B.2.1", "B.2.2", "B.2.3", "B.2.4", "B.2.5"),
        *("B.3.3", "B.3.4", "B.3.5", "B.3.6", "B.3.7"),
        *("A.1.1", "A.1.2", "A.1.3", "A.2.1", "A.2.2"),
    ]
    assert position(case("B.3.3", "site1")) is Place.AFTER


def test_without_part_a_the_order_is_the_plans() -> None:
    """There is nothing to wait for, so nothing is moved."""
    own = tuple(one for one in CASES if one.step.id[0] == "B")

    assert ordered(own) == own


@pytest.mark.parametrize(
    ("step", "target", "hosts"),
    [
        ("B.3.3", "site1", {"site1/enum1", "site1/enum2"}),
        ("B.3.1", "site1/enum1", set()),
        ("A.1.1", "site2/med", {"site2/med"}),
    ],
)
def test_case_disturbs_the_hosts_that_it_is_about(step: str, target: str, hosts: set[str]) -> None:
    """A site's case disturbs that site's hosts of its kinds, no other site's, and no probes."""
    assert disturbed(case(step, target), HOSTS) == hosts


@pytest.mark.parametrize(
    ("after", "word"),
    [
        ({"minutes": -1}, "begins only at"),
        ({"hours": 1}, ""),
        ({"hours": 3, "minutes": 16}, "point of no return"),
        ({"hours": 5}, "ended at"),
    ],
)
def test_nothing_is_disturbed_outside_the_window(after: dict[str, float], word: str) -> None:
    """Before it begins, past the point of no return, and after its end; looking is always free."""
    found = refusal(case("B.3.3", "site1"), WINDOW, wall_ns(**after))

    assert word in found
    assert bool(found) is bool(word)
    assert refusal(case("B.3.1", "site1/enum1"), WINDOW, wall_ns(**after)) == ""
    assert refusal(case("B.3.3", "site1"), None, wall_ns(**after)) == ""


def windowed(table: str) -> SiteFile:
    text = SITE.read_text(encoding="utf-8").replace("[judging]", f"[window]\n{table}\n\n[judging]")
    return parse_site(text, file="site.toml")[0]


def test_window_of_a_site_file_is_read() -> None:
    """Begin and end with their zone; restoring takes 30 minutes unless it is said otherwise."""
    found = windowed("begins = 2026-11-22T23:00:00+01:00\nends = 2026-11-23T03:00:00+01:00").window

    assert found is not None
    assert found.left(wall_ns(hours=1)).ends_in_ns == 180 * MIN_NS
    assert found.left(wall_ns(hours=1)).no_return_in_ns == 150 * MIN_NS
    assert found.left(wall_ns(hours=1)).is_open


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("begins = 2026-11-22T23:00:00\nends = 2026-11-23T03:00:00+01:00", "window.begins"),
        ("begins = 2026-11-23T03:00:00Z\nends = 2026-11-22T23:00:00Z", "ends before it begins"),
        ("begins = 2026-11-20T03:00:00Z\nends = 2026-11-23T23:00:00Z", "longer than 48 hours"),
        (
            "begins = 2026-11-22T23:00:00Z\nends = 2026-11-22T23:30:00Z\nrestore_minutes = 30",
            "fill the whole window",
        ),
        ("ends = 2026-11-22T23:30:00Z", "window.begins"),
        ("begins = 2026-11-22T23:00:00Z\nends = 2026-11-23T03:00:00Z\nx = 1", "window.x"),
    ],
)
def test_window_that_can_not_be_is_refused(table: str, why: str) -> None:
    """A time without a zone, the wrong way round, too long, or with no time left to disturb."""
    with pytest.raises(InputError, match=why):
        windowed(table)


GAP = Gap("gap-3", "site1/enum1", 10 * NS, 32 * NS, "no sample was taken")
VIEW = HoldView(
    hosts=12,
    running=11,
    marks=(
        MarkView("10-min", 10 * MIN_NS, 192 * NS, 0, 12),
        MarkView("30-min", 30 * MIN_NS, 1392 * NS, 0, 12),
    ),
    restarts=0,
    alarms=1,
    last_ns=2_400_000_000,
    behind="site1/enum1",
    behind_ns=22 * NS,
    undecided=(GAP,),
    stepped_ns=(-3600 * NS,),
    window=WINDOW.left(wall_ns(hours=1, minutes=48, seconds=56)),
)


def test_panel_shows_one_line_of_numbers_the_window_and_what_to_look_at() -> None:
    """All that a tester at night must see, in words that the forms use too."""
    console = Console(width=120, record=True, file=None, force_terminal=False, quiet=False)
    with console.capture() as shown:
        console.print(HoldPanel(lambda: VIEW))
    lines = [line.rstrip() for line in shown.get().splitlines()]

    assert lines[0] == (
        "RUNNING 11/12 | 10-min mark in 03:12 | 30-min mark in 23:12 | restarts 0 | "
        "log alarms 1 | last sample 2 s ago"
    )
    assert lines[1].startswith("10-min ")
    assert lines[1].endswith(" 0/12")
    assert lines[3] == "window ends in 2:11:04 | point of no return in 1:26:04"
    assert lines[4:] == [
        "nothing seen of site1/enum1 for 22 s",
        "gap-3: site1/enum1 was not seen for 22.0 s (no sample was taken): count or restart?",
        "this machine's clock was set by -3600.0 s",
    ]


def test_panel_before_the_hosts_are_up_says_so() -> None:
    """There are no numbers yet."""
    panel = HoldPanel(lambda: None)

    assert str(panel.__rich__()) == "hosts are being started"
    assert panel.news() == []


def test_news_are_told_once() -> None:
    """Without a terminal, what is new is a line; what was said is not said again."""
    over = MarkView("10-min", 10 * MIN_NS, 0, 12, 12)
    views = [VIEW, HoldView(12, 12, (over,), 0, 0, 0)]
    panel = HoldPanel(lambda: views[0])

    assert len(panel.news()) == 2
    assert panel.news() == []
    views.pop(0)
    assert panel.news() == ["10-min mark passed"]
    assert "10-min mark passed" in status_line(views[0])


def test_window_line_after_the_point_of_no_return() -> None:
    """It says for how long it has been passed, and then that the window is over."""
    assert window_line(WINDOW.left(wall_ns(hours=3, minutes=20))) == (
        "window ends in 40:00 | point of no return passed 05:00 ago"
    )
    assert window_line(WINDOW.left(wall_ns(hours=5))) == "window ended 1:00:00 ago"
    assert window_line(WINDOW.left(wall_ns(minutes=-2))) == "window begins in 02:00"


def test_rehearsal_of_a_real_site_stays_on_this_machine() -> None:
    """Every address is loopback, each host keeps one of its own, no port needs root."""
    text = SITE.read_text(encoding="utf-8").replace('mode = "lab"', 'mode = "site"')
    text = text.replace('"127.0.', '"192.0.').replace("enum_port = 15353", "enum_port = 53")
    real = parse_site(text.partition("[lab]")[0] + "[[sites]]" + text.partition("[[sites]]")[2])[0]

    made = rehearsed(real)

    addresses = [host.address for site in made.sites for host in site.hosts]
    assert len(set(addresses)) == 12
    assert all(one.startswith("127.9.") for one in addresses)
    sbc = made.sites[0].sbcs[0]
    assert (sbc.enum_port, sbc.next_hop.partition(".")[0]) == (15353, "127")
    assert made.mode == "lab"
    assert made.lab is not None
    assert made.lab.waits_scale == 60
    assert [host.name for site in made.sites for host in site.hosts] == [
        host.name for site in real.sites for host in site.hosts
    ]
    declared = real.sites[0].sbcs[0]
    assert sbc.hold_down_ms / sbc.timeout_ms == pytest.approx(
        declared.hold_down_ms / declared.timeout_ms, rel=0.05
    )


def test_rehearsal_of_a_lab_keeps_its_addresses() -> None:
    """It only waits less long; a window is no part of it."""
    made = rehearsed(windowed("begins = 2026-11-22T23:00:00Z\nends = 2026-11-23T03:00:00Z"))

    assert made.window is None
    assert made.sites == FILE.sites
    assert made.lab is not None
    assert made.lab.waits_scale == 300
