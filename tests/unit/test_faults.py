"""Faults are records, and a fault file says which server has which."""

from pathlib import Path

import pytest

from enumtest.stub.faults import (
    Delay,
    Fault,
    Garbled,
    Instead,
    PortClosed,
    Rcode,
    Selector,
    Silence,
    Truncated,
    WrongId,
    kind,
    parse_fault_rows,
    parse_faults,
)
from enumtest.stub.policy import Action
from harness.errors import InputError
from harness.number import PhoneNumber

FAULTS = Path(__file__).parent.parent.parent / "fixtures" / "faults"


@pytest.mark.parametrize("path", sorted(FAULTS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_fault_file_that_is_shipped_is_sound(path: Path) -> None:
    """Each file in fixtures/faults parses, and names a server."""
    assert parse_faults(path.read_text(encoding="utf-8"), str(path))


def test_a_file_gives_each_server_its_faults_in_order() -> None:
    """One of each kind, from the shipped example."""
    found = parse_faults((FAULTS / "one-of-each.toml").read_text(encoding="utf-8"))

    assert dict(found) == {
        "enum1": (PortClosed(),),
        "enum2": (Delay(400), Rcode("SERVFAIL", Selector(every=3))),
        "enum3": (Silence(Selector(first=2)),),
        "enum4": (WrongId(),),
        "enum5": (Truncated(),),
        "enum6": (Garbled(7),),
        "enum7": (Instead(Action.TERMINATE, Action.ALLOW),),
    }


def test_the_example_has_every_kind() -> None:
    """A new kind of fault goes into fixtures/faults/one-of-each.toml."""
    found = parse_faults((FAULTS / "one-of-each.toml").read_text(encoding="utf-8"))

    kinds = {kind(fault) for faults in found.values() for fault in faults}
    assert kinds == {kind(cls.__new__(cls)) for cls in Fault.__args__}


@pytest.mark.parametrize(
    ("selector", "picked"),
    [
        (Selector(), [1, 2, 3, 4, 5, 6]),
        (Selector(every=3), [3, 6]),
        (Selector(first=2), [1, 2]),
        (Selector(every=2, first=4), [2, 4]),
    ],
)
def test_a_selector_picks_queries_by_their_number(selector: Selector, picked: list[int]) -> None:
    """Each so-many-th, up to the last."""
    assert [count for count in range(1, 7) if selector.picks(count)] == picked


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kind": "silence"}, "server: Field required"),
        ({"server": "a"}, "kind"),
        ({"server": "a", "kind": "explode"}, "'explode'"),
        ({"server": "a", "kind": "port-closed", "every": 2}, "every = 2: Extra inputs"),
        ({"server": "a", "kind": "delay"}, "delay_ms: Field required"),
        ({"server": "a", "kind": "delay", "delay_ms": -1}, "delay_ms = -1: not 0 to"),
        ({"server": "a", "kind": "delay", "delay_ms": True}, "valid integer"),
        ({"server": "a", "kind": "rcode", "name": "servfail"}, "no such DNS return code"),
        ({"server": "a", "kind": "rcode", "name": "BADVERS"}, "needs EDNS"),
        ({"server": "a", "kind": "silence", "every": 0}, "every = 0: not 1 or more"),
        ({"server": "a", "kind": "silence", "first": -1}, "first = -1: not 0 or more"),
        (
            {"server": "a", "kind": "instead", "action": "allow", "instead": "redirect"},
            'needs "to"',
        ),
        (
            {"server": "a", "kind": "instead", "action": "allow", "instead": "allow", "to": "+1"},
            'needs "to"',
        ),
    ],
)
def test_a_wrong_fault_names_its_field(fields: dict[str, object], why: str) -> None:
    """One line with file, field and reason."""
    with pytest.raises(InputError, match=r"f\.toml") as caught:
        parse_fault_rows({"faults": [fields]}, "f.toml")

    assert why in str(caught.value)


def test_a_fault_file_that_is_no_toml_is_refused() -> None:
    """With the line at which reading stopped."""
    with pytest.raises(InputError, match="not TOML"):
        parse_faults("[[faults]", "f.toml")


def test_a_redirect_instead_carries_its_number() -> None:
    """A policy defect may lead calls astray."""
    rows = [
        {"server": "a", "kind": "instead", "action": "allow", "instead": "redirect", "to": "+1 650"}
    ]

    assert parse_fault_rows({"faults": rows})["a"] == (
        Instead(Action.ALLOW, Action.REDIRECT, PhoneNumber("1650")),
    )
