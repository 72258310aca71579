"""`enumtest profiles` and `enumtest call --profile`: lists, shows, refuses."""

import json
from pathlib import Path

import pytest

from enumtest.cli import main
from enumtest.profiles.profile_file import encode_profile, shipped_names, shipped_profile


def test_lists_every_profile(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, with how much is known of it."""
    assert main(["profiles"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert tuple(line.split()[0] for line in lines) == shipped_names()
    assert all("values known" in line for line in lines)


def test_lists_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Names and titles."""
    assert main(["profiles", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert tuple(one["name"] for one in found) == shipped_names()


def test_shows_values_with_their_sources_and_what_is_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Times in milliseconds, as the file has them."""
    assert main(["profiles", "oracle-hunt"]) == 0
    shown = capsys.readouterr().out

    assert "retransmission.schedule_ms = [0.0, 1000.0, 3000.0, 7000.0]\n    Oracle " in shown
    assert 'reactions.SERVFAIL.then: unknown (simulated: "final")' in shown
    assert "naptr.delimiters: unknown\n" in shown


def test_shows_all_of_a_profile_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Each field with path, value, source and whether it is known."""
    assert main(["profiles", "libc", "--json"]) == 0
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)["fields"]}

    assert rows["selection.rounds"]["value"] == 2
    assert rows["selection.rounds"]["known"]
    assert rows["reactions.late.then"] == {
        "path": "reactions.late.then", "value": "ignore", "source": None, "known": False,
    }  # fmt: skip


def test_shows_the_profile_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one's own, or one that was measured."""
    path = tmp_path / "mine.toml"
    text = encode_profile(shipped_profile("ribbon")).replace('name = "ribbon"', 'name = "mine"')
    path.write_text(text, encoding="utf-8")

    assert main(["profiles", str(path)]) == 0
    assert capsys.readouterr().out.startswith("mine: Ribbon")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("sonus", "profile = 'sonus': no such profile; there are fixed-hold-down, "),
        ("absent.toml", "absent.toml: cannot be read: No such file or directory"),
        ("bad.toml", "bad.toml: not TOML"),
        ("latin.toml", "latin.toml: not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("verb", [["profiles"], ["call", "+16505550112", "--server", "127.0.0.1:9",
                                                 "--profile"]])  # fmt: skip
def test_refuses_what_is_no_profile(  # noqa: PLR0913, PLR0917 - fixtures and cases
    verb: list[str],
    name: str,
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit 2, and one line that says what to do."""
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("name = ", encoding="utf-8")
    Path("latin.toml").write_bytes(b"name = '\xe9'")

    assert main([*verb, name]) == 2
    assert part in capsys.readouterr().err


def test_shows_a_profile_with_another_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    """By the rule of its maker, with the source."""
    assert main(["profiles", "oracle-hunt", "--timeout", "2"]) == 0

    out = capsys.readouterr().out
    assert "retransmission.schedule_ms = [0.0, 250.0, 750.0, 1400.0]\n    Oracle" in out


def test_timeout_is_that_of_one_profile(capsys: pytest.CaptureFixture[str]) -> None:
    """A list has none."""
    assert main(["profiles", "--timeout", "2"]) == 2
    assert "of which profile?" in capsys.readouterr().err
