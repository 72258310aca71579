"""`--set`: values laid over a site file."""

import pytest

from fst.settings import lay_over, parse_settings
from harness.errors import InputError


def test_value_is_json_else_text() -> None:
    """Numbers, lists and true are read as such; anything else is text."""
    pairs = ["a.b=5", "c=[1]", "d=true", "e=hunt", "f=", "g=a=b"]

    assert parse_settings(pairs) == {
        "a.b": 5,
        "c": [1],
        "d": True,
        "e": "hunt",
        "f": "",
        "g": "a=b",
    }


@pytest.mark.parametrize("pair", ["", "x", "=5"])
def test_refuses_what_is_not_key_and_value(pair: str) -> None:
    """A setting without a key or an equals sign is an input error that shows it."""
    with pytest.raises(InputError) as caught:
        parse_settings([pair])

    assert caught.value.value == pair


def test_sbc_means_every_sbc_of_every_site() -> None:
    """The short form reaches each of them, and the document given is left as it was."""
    document = {"sites": [{"sbcs": [{"a": 1}, {"a": 2}]}, {"sbcs": [{"a": 3}]}]}

    changed = lay_over(document, {"sbc.a": 9})

    assert [sbc["a"] for site in changed["sites"] for sbc in site["sbcs"]] == [9, 9, 9]
    assert document["sites"][0]["sbcs"][0]["a"] == 1


def test_makes_missing_tables_but_not_missing_entries() -> None:
    """A table on the way is made; a list entry that is not there is refused with its number."""
    assert lay_over({}, {"lab.sbc.hold_down_ms": 5}) == {"lab": {"sbc": {"hold_down_ms": 5}}}
    with pytest.raises(InputError, match="1 entries"):
        lay_over({"sites": [{}]}, {"sites.1.name": "x"})
    with pytest.raises(InputError, match="below a plain value"):
        lay_over({"name": "x"}, {"name.part": "y"})
