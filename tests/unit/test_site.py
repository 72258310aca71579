"""The site file: what is good, and every bad field at once."""

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enumtest.decision import DEFAULT_RULES, Decision
from fst.site import parse_site
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
