"""Who calls and who is called, row by row: the headers, the clause, the decision."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.dialplan import DialPlan
from harness.premises import NO_PLAN, DialledBy, Premises, network
from probetest.calls.parties import decide, hinted
from probetest.calls.party_decision import Parties
from probetest.sip.message import SipMessage, parse

FIXTURES = Path(__file__).parents[2] / "fixtures"
TABLE = tomllib.loads((FIXTURES / "parties" / "rows.toml").read_text())
ROWS: list[dict[str, Any]] = TABLE["rows"]
PLANS: dict[str, DialPlan] = {"none": NO_PLAN} | {
    path.stem: DialPlan.from_table(tomllib.loads(path.read_text()), file=path.name)
    for path in sorted((FIXTURES / "dialplans").glob("*.toml"))
}
INPUT = {"clause", "plan", "uri", "from", "to", "headers", "client", "trusted", "dialled"}
OUTPUT = {
    *("source", "source_rule", "kind_of_source", "shown", "hints"),
    *("destination", "destination_rule", "kind", "codes", "number", "rn", "npdi"),
    *("original", "diversions", "rejected"),
}


def invite(row: dict[str, Any]) -> SipMessage:
    """Return the INVITE of a row, read from its bytes."""
    given = TABLE["defaults"] | row
    lines = [
        f"INVITE {given['uri']} SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1",
        f"From: {given['from']};tag=a",
        f"To: {given['to']}",
        "Call-ID: 1@192.0.2.10",
        "CSeq: 1 INVITE",
        *given.get("headers", ()),
    ]
    return parse("".join(f"{line}\r\n" for line in [*lines, ""]).encode())


def site(row: dict[str, Any]) -> Premises:
    """Return the premises of a row."""
    given = TABLE["defaults"] | row
    trusted = tuple(network(text) for text in given.get("trusted", ()))
    by = DialledBy(given.get("dialled", "ruri"))
    return Premises(PLANS[given["plan"]], trusted=trusted, dialled=by)


def found(row: dict[str, Any], parties: Parties) -> dict[str, Any]:
    """Return what was decided, under the names of the table."""
    known = site(row)
    shown = decide(invite(row), known, client=row.get("client", ""), show_restricted=True)
    original = parties.called.original
    return {
        "source": parties.source.text,
        "source_rule": parties.source.rule,
        "kind_of_source": parties.source.kind.value,
        "shown": shown.source.text,
        "hints": [hint.header for hint in hinted(invite(row), known.plan)],
        "destination": parties.destination.text,
        "destination_rule": parties.destination.rule,
        "kind": parties.destination.kind.value,
        "codes": list(parties.called.service_codes),
        "number": dict(parties.called.number),
        "rn": parties.routing_number,
        "npdi": parties.npdi,
        "original": "" if original is None else original.text,
        "diversions": [one.text for one in parties.called.diversions],
        "rejected": [
            f"{one.header}: {one.why}"
            for one in parties.rejected
            if f"{one.header}: {one.why}" in row.get("rejected", ())
        ],
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["clause"])
def test_headers_give_the_decision(row: dict[str, Any]) -> None:
    """Each row of the table is decided as its clause says."""
    every = found(row, decide(invite(row), site(row), client=row.get("client", "")))
    expected = {name: value for name, value in row.items() if name in OUTPUT}

    assert {name: every[name] for name in expected} == expected


def test_the_table_is_whole() -> None:
    """At least 80 rows, each with a clause and an expectation, and no name misspelt."""
    assert len(ROWS) >= 80
    for row in ROWS:
        assert not row.keys() - INPUT - OUTPUT
        assert row["clause"]
        assert row.keys() & OUTPUT
