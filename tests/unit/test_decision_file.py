"""The matchers of a site in a file of their own, for the commands that read records."""

import json
from pathlib import Path

import pytest

from enumtest.cli import main
from enumtest.sbc.decision import Decision, DecisionRule, UserMatch
from enumtest.sbc.decision_file import parse_decisions
from harness.errors import InputError

BY_SERVICE = """
[[decisions]]
decision = "terminate"
service = "pstn"

[[decisions]]
decision = "allow"
user = "same"
"""
PSTN = '10 100 "u" "E2U+pstn:tel" "!^.*$!tel:+16505550112!" .'
SIP = '10 100 "u" "E2U+sip" "!^.*$!sip:+16505550112@gate.example!" .'


@pytest.fixture
def by_service(tmp_path: Path) -> str:
    """Return a file whose first matcher is about the service of the record."""
    path = tmp_path / "decisions.toml"
    path.write_text(BY_SERVICE, encoding="utf-8")
    return str(path)


def test_matchers_are_read_in_their_order() -> None:
    """Each key of a table is a part that has to fit."""
    text = (
        '[[decisions]]\ndecision = "redirect"\nscheme = "tel"\nuser = "other"\n'
        'parameters = { npdi = "*" }\n[[decisions]]\ndecision = "terminate"\nhost = "no.example"\n'
    )

    assert parse_decisions(text) == (
        DecisionRule(Decision.REDIRECT, "tel", user=UserMatch.OTHER, parameters=(("npdi", "*"),)),
        DecisionRule(Decision.TERMINATE, host="no.example"),
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "decisions.*missing|Field required"),
        ("decisions = []", "decisions"),
        ('[[decisions]]\ndecision = "perhaps"', "decisions.0.decision"),
        ('[[decisions]]\ndecision = "allow"', "would allow every URI"),
        ('[[decisions]]\ndecision = "allow"\nhots = "x"', "decisions.0.hots"),
        ("[[decisions", "not TOML"),
    ],
)
def test_bad_matchers_are_refused_with_their_place(text: str, part: str) -> None:
    """File and field are named."""
    with pytest.raises(InputError, match=part) as caught:
        parse_decisions(text, "decisions.toml")

    assert str(caught.value).startswith("decisions.toml: ")


@pytest.mark.parametrize(
    ("record", "decision"), [(PSTN, Decision.TERMINATE), (SIP, Decision.ALLOW)]
)
def test_explain_matches_on_the_service_of_the_record(
    capsys: pytest.CaptureFixture[str], by_service: str, record: str, decision: Decision
) -> None:
    """The URIs name the same number: only the service tells one from the other."""
    arguments = ["explain", record, "+16505550112", "--decisions", by_service, "--json"]
    assert main(arguments) == 0

    [end] = json.loads(capsys.readouterr().out)["clients"]["strict"]["ends"]
    assert end["decision"] == decision


def test_lint_of_a_zone_matches_on_the_service_of_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], by_service: str
) -> None:
    """A terminate by service is let through by a client that does not read that service."""
    path = tmp_path / "numbers.zone"
    path.write_text(f"$ORIGIN e164.arpa.\n$TTL 60\n2.1.1.0.5.5.5.0.5.6.1 NAPTR {PSTN}\n")
    arguments = ["--profile", "strict", "--profile", "kamailio", "--decisions", by_service]

    assert main(["lint", str(path), *arguments]) == 1
    out = capsys.readouterr().out
    assert "terminate for +16505550112" in out
    assert "  terminates: strict\n  LETS THROUGH: kamailio\n" in out


def test_without_a_file_the_usual_matchers_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """The service alone then means nothing, and a strict client reads sip only."""
    assert main(["explain", PSTN, "+16505550112"]) == 0
    assert "no-instruction: not wanted: services E2U+pstn:tel" in capsys.readouterr().out
