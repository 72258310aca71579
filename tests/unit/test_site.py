"""The site file: what is good, and every bad field at once."""

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import AllDown, Selection
from enumtest.sbc.decision import DEFAULT_RULES, Decision, DecisionRule
from fst.site import SbcTable, parse_site
from harness.errors import InputError

SITES = Path(__file__).parent.parent.parent / "fixtures" / "sites"
LOOPBACK = (SITES / "loopback.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(SITES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_site_files_are_good(path: Path) -> None:
    """Every site file of the repository parses, and names only numbers reserved for fiction."""
    site, plan = parse_site(path.read_text(encoding="utf-8"), file=path.name)

    numbers = [
        number
        for one in site.sites
        if one.numbers is not None
        for group in one.numbers.model_dump().values()
        for number in group
    ]
    assert plan.name
    assert all("55501" in number or number.startswith("+442079460") for number in numbers)


def test_names_every_bad_field_at_once() -> None:
    """Five faults of five kinds give five lines, each with file, field and value."""
    text = (
        LOOPBACK.replace('address = "127.0.0.12"', 'address = "enum2.example"')
        .replace("timeout_ms = 200", "timeout_ms = 0")
        .replace('selection = "round-robin"', 'selection = "robin"')
        .replace('tester = "Lab engineer"', 'testr = "Lab engineer"')
        .replace('callers = ["+16505550100"', 'callers = ["650-CALL"')
    )

    with pytest.raises(InputError) as caught:
        parse_site(text, file="s.toml")

    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert all(line.startswith("s.toml: ") for line in lines)
    for part in ("people.testr", "hosts.1.address = 'enum2.example'", "timeout_ms = 0",
                 "selection = 'robin'", "callers.0 = '650-CALL'"):  # fmt: skip
        assert any(part in line for line in lines), part


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('enum_servers = ["enum1",', 'enum_servers = ["enum9",', "'enum9': no ENUM server"),
        ('enum_servers = ["enum1", "enum2"', 'enum_servers = ["enum1", "enum1"', "stands 2 times"),
        ('name = "enum2"', 'name = "enum1"', "stands 2 times"),
        ('use = "redirected"', 'use = "terminated"', "must arrive"),
        ('allow = ["+12125550120"]', 'allow = ["+12125550110"]', "stands 2 times"),
        ("[lab]\n", "[labs]\n", "lab"),
        ('next_hop = "127.0.0.20:15060"', 'next_hop = "somewhere"', "somewhere"),
        ('country_code = "1"', "country_code = 1", "dial_plan"),
    ],
)
def test_refuses_tables_that_contradict_each_other(old: str, new: str, part: str) -> None:
    """What is good alone but wrong together is named too."""
    assert old in LOOPBACK
    with pytest.raises(InputError, match=r"s\.toml") as caught:
        parse_site(LOOPBACK.replace(old, new), file="s.toml")

    assert part in str(caught.value)


def test_decisions_default_to_the_usual_idioms() -> None:
    """Without a table a sentinel host terminates; with one only that table counts."""
    site, _ = parse_site(LOOPBACK)
    own, _ = parse_site(
        LOOPBACK, settings={"sbc.decisions": [{"decision": "terminate", "user": "other"}]}
    )

    assert site.sites[0].sbcs[0].rules == DEFAULT_RULES
    assert [rule.decision for rule in own.sites[0].sbcs[0].rules] == [Decision.TERMINATE]


@given(st.text(max_size=200))
def test_any_text_is_a_site_or_an_input_error(text: str) -> None:
    """No text gets past the parser as anything else."""
    with pytest.raises(InputError):
        parse_site(text, file="s.toml")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=5), st.integers()),
)  # fmt: skip


def _places(node: object, path: str = "") -> list[str]:
    items = node.items() if isinstance(node, dict) else enumerate(node)  # type: ignore[arg-type, var-annotated]
    found = []
    for key, value in items:
        place = f"{path}.{key}" if path else str(key)
        found.append(place)
        if isinstance(value, dict | list):
            found += _places(value, place)
    return found


@given(st.sampled_from(_places(tomllib.loads(LOOPBACK))), VALUES)
def test_any_value_in_any_field_is_good_or_an_input_error(place: str, value: object) -> None:
    """A wrong type anywhere is reported, never a crash."""
    with contextlib.suppress(InputError):
        parsed, _ = parse_site(LOOPBACK, file="s.toml", settings={place: value})
        assert parsed.sites


def sbc_of(*rows: str) -> SbcTable:
    """Return the SBC of the loopback site with *rows* in place of its times and its selection."""
    lines, times = LOOPBACK.splitlines(), ("selection", "timeout_ms", "retrans", "hold_down_ms",
                                           "failures", "all_down", "source_")  # fmt: skip
    at = next(n for n, line in enumerate(lines) if line.startswith("timeout_ms"))
    lines[at:at] = rows
    kept = [line for line in lines if line in rows or not line.startswith(times)]
    return parse_site("\n".join(kept), file="s.toml")[0].sites[0].sbcs[0]


def test_sbc_behaves_as_the_profile_that_it_names() -> None:
    """What the file leaves out is the profile's, in the old keys too."""
    table = sbc_of('profile = "oracle-hunt"')

    assert table.behaviour == shipped_profile("oracle-hunt")
    assert (table.timeout_ms, table.retransmissions, table.hold_down_ms) == (11_000, 3, 30_000)
    assert (table.selection, table.all_down) == (Selection.HUNT, AllDown.FAIL_CLOSED)


def test_key_of_the_file_beats_the_profile() -> None:
    """The schedule is drawn out to the other time-out; the site file is the source."""
    behaviour = sbc_of('profile = "oracle-hunt"', "timeout_ms = 5500").behaviour

    assert [at_ns // 1_000_000 for at_ns in behaviour.retransmission.schedule_ns] == [
        0, 500, 1500, 3500,
    ]  # fmt: skip
    assert behaviour.source_of("retransmission.expire_ns") == "the site file"
    assert [stage.length_ns // 10**9 for stage in behaviour.hold_down.stages] == [30, 600]


def test_key_of_the_file_is_known_even_when_it_is_the_profiles_value() -> None:
    """Nobody knew it before; now the SBC's engineer says so."""
    behaviour = sbc_of("timeout_ms = 2000", "hold_down_ms = 30000").behaviour

    assert behaviour.source_of("hold_down.stages.0.length_ns") == "the site file"
    assert behaviour.source_of("hold_down.stages.0.share") is None


def test_without_a_profile_the_times_must_be_in_the_file() -> None:
    """The plan gives none."""
    with pytest.raises(InputError) as caught:
        sbc_of()

    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "sites.0.sbcs.0.timeout_ms",
        "sites.0.sbcs.0.hold_down_ms",
    ]


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        (['profile = "sonus"', "timeout_ms = 9000", "hold_down_ms = 0"], "no such profile; there"),
        (['profile = "libc"', "hold_down_ms = 10"], "hunt is what is meant"),
        (['profile = "libc"', "retransmissions = 11"], "retransmissions = 11"),
    ],
)  # fmt: skip
def test_profile_that_cannot_be_is_refused(rows: list[str], part: str) -> None:
    """Its name, or what the file makes of it."""
    with pytest.raises(InputError, match=part):
        sbc_of(*rows)


def test_decisions_match_on_service_user_text_and_parameters() -> None:
    """All of a matcher's keys arrive in the rule."""
    rows = """
[[sites.sbcs.decisions]]
decision = "terminate"
service = "pstn"
user_text = "term*"
parameters = { cause = "603" }
"""
    site, _ = parse_site(_with_decisions(rows), file="s.toml")
    (rule,) = site.sites[0].sbcs[0].rules

    assert rule == DecisionRule(
        Decision.TERMINATE, user_text="term*", service="pstn", parameters=(("cause", "603"),)
    )


def test_decision_that_allows_everything_is_refused() -> None:
    """It would let through what nobody agreed on."""
    rows = '\n[[sites.sbcs.decisions]]\ndecision = "allow"\n'
    with pytest.raises(InputError, match="would allow every URI"):
        parse_site(_with_decisions(rows), file="s.toml")


def _with_decisions(rows: str) -> str:
    """Return the loopback site with *rows* at the end of its first SBC."""
    head, key, rest = LOOPBACK.partition("\n[[sites.sbcs]]")
    table, blank, after = rest.partition("\n\n")
    return head + key + table + "\n" + rows + blank + after
