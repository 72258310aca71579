"""The commands `enumtest lint` and `enumtest explain`."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from enumtest.cli import main
from enumtest.naptr.dialect_file import parse_client, shipped_clients
from enumtest.naptr.naptr_dialect import IFlag, NaptrDialect

ROOT = Path(__file__).parent.parent.parent
THREE = str(ROOT / "fixtures" / "policies" / "three-actions.toml")
ZONE = (
    "$TTL 60\n"
    '2.1.1.0.5.5.5.0.5.6.1 NAPTR 10 10 "u" "E2U+sip" "!^.*$!sip:no@blocked.invalid!i" .\n'
    '3.1.1.0.5.5.5.0.5.6.1 NAPTR 10 10 "u" "E2U+sip" "!^.*$!sip:no@closed.example!" .\n'
)
EXAMPLE = r'10 100 "u" "E2U+sip" "!^.*$!sip:\\0@blocked.invalid!" .'


DOC = (ROOT / "docs" / "enum-lint.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```console\n\$ enumtest (.*?)\n(.*?)\n```", DOC, re.DOTALL)


@pytest.mark.parametrize(("line", "output"), SHOWN, ids=["lint", "explain"])
def test_the_page_shows_what_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, output: str
) -> None:
    """Each command of docs/enum-lint.md prints what stands below it."""
    monkeypatch.chdir(ROOT)
    main(shlex.split(line))

    assert capsys.readouterr().out == output + "\n"


def test_the_page_names_every_client_and_every_field() -> None:
    """Nobody has to read the source to find one."""
    names = [*shipped_clients(), *(field.name for field in fields(NaptrDialect))]

    assert [name for name in names if f"`{name}`" not in DOC] == []


def test_the_clients_file_of_the_page_is_one() -> None:
    """It is read, and its values have sources."""
    [text] = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)

    assert parse_client(text).naptr == NaptrDialect(delimiters="!", i_flag=IFlag.DELIMITER_KEPT)


def zone(tmp_path: Path) -> str:
    path = tmp_path / "numbers.zone"
    path.write_text(ZONE, encoding="utf-8")
    return str(path)


def test_a_policy_that_a_client_lets_through_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The client, the rule and the reason are named."""
    assert main(["lint", THREE, "--profile", "kamailio", "--profile", "cisco"]) == 1

    out = capsys.readouterr().out
    assert "block-caller: terminate for +16505550112" in out
    assert "  terminates: kamailio\n  LETS THROUGH: cisco\n" in out
    assert "not understood: services E2U+sip: E2U first [cisco]" in out
    assert "4 answers, 2 to terminate; let through by some client: 2;" in out


def test_a_policy_that_every_asked_client_obeys_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    """By name of a client or of an SBC profile."""
    assert main(["lint", THREE, "--profile", "kamailio", "--profile", "libc"]) == 0
    assert "terminates: kamailio, libc" in capsys.readouterr().out


def test_a_lint_in_json_holds_every_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Entries, clients, records, and who lets what through."""
    arguments = ["--origin", "e164.arpa", "--profile", "strict", "--profile", "asterisk", "--json"]
    assert main(["lint", zone(tmp_path), *arguments]) == 1

    told = json.loads(capsys.readouterr().out)
    assert told["clients"] == ["strict", "asterisk"]
    owner = "2.1.1.0.5.5.5.0.5.6.1.e164.arpa"
    assert told["let_through"] == [{"name": owner, "clients": ["asterisk"]}]
    first = told["entries"][0]
    assert (first["name"], first["number"], first["ordered"]) == (
        owner,
        "+16505550112",
        "terminate",
    )
    assert first["clients"]["strict"]["verdict"] == "terminates"
    assert first["clients"]["asterisk"]["decisions"] == ["redirect"]
    assert told["entries"][1]["ordered"] == "redirect"


def test_the_hosts_that_end_a_call_are_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A site's own sentinel is a terminate too."""
    arguments = ["--origin", "e164.arpa", "--profile", "strict", "--terminate-host"]
    assert main(["lint", zone(tmp_path), *arguments, "Closed.example"]) == 0
    assert "2 answers, 2 to terminate; let through by some client: 0;" in capsys.readouterr().out


def test_a_client_of_ones_own_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is measured of an SBC can be linted against."""
    path = tmp_path / "ours.toml"
    path.write_text(
        'name = "ours"\ntitle = "Ours"\n[naptr]\ndelimiters = "/"\n[source]\ndelimiters = "here"\n',
        encoding="utf-8",
    )
    assert main(["lint", THREE, "--profile", str(path)]) == 0
    assert "terminates: ours" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["lint", "/nowhere.toml"], "cannot be read"),
        (["lint", THREE, "--profile", "acme"], "no such profile"),
        (["lint", THREE, "--profile", "/nowhere.toml"], "cannot be read"),
        (["lint", "{zone}"], "neither $ORIGIN nor --origin"),
        (["lint", "{empty}"], "no NAPTR record of a number"),
        (["lint", "{binary}"], "not UTF-8"),
        (["explain", "10 100", "+16505550112"], "no NAPTR record"),
        (["explain", EXAMPLE, "x"], "not an E.164 number"),
    ],
)
def test_bad_input_exits_2_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    """File, field and reason; no stack trace."""
    places = {"zone": zone(tmp_path)}
    for name, content in {"empty": b"$ORIGIN a.\n", "binary": b"\xff"}.items():
        (tmp_path / name).write_bytes(content)
        places[name] = str(tmp_path / name)
    filled = [places.get(one.strip("{}"), one) for one in arguments]

    assert main(filled) == 2
    err = capsys.readouterr().err
    assert why in err
    assert err.startswith("enumtest: ")


def test_explain_shows_each_step_of_a_client(capsys: pytest.CaptureFixture[str]) -> None:
    """Flags, services, expression, match, and what the client then does."""
    assert main(["explain", EXAMPLE, "+16505550112", "--profile", "kamailio"]) == 0

    assert capsys.readouterr().out.splitlines()[1:] == [
        "number    +16505550112",
        "kamailio",
        "  flags 'u': terminal",
        "  services E2U+sip: wanted",
        "  expression: delimiter !, ERE ^.*$",
        "  matches +16505550112, gives sip:+16505550112@blocked.invalid",
        (
            r"  terminate: chosen: !^.*$!sip:\0@blocked.invalid! on +16505550112 gives "
            "sip:+16505550112@blocked.invalid"
        ),
    ]


def test_explain_reads_as_the_rfcs_do_when_no_client_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """There is no back-reference 0 in RFC 3402."""
    assert main(["explain", EXAMPLE, "+16505550112", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["clients"]["strict"]["ends"][0]["decision"] == "no-instruction"
    assert "back-reference 0" in told["clients"]["strict"]["ends"][0]["why"]


def test_a_record_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are shown, not sent."""
    assert main(["explain", "!\x1b[2J!sip:\x07@x!", "+16505550112"]) == 0
    assert "\x1b" not in capsys.readouterr().out
