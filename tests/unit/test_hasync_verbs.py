"""The words of `hasync`: which verb, and what belongs to it."""

import re
from pathlib import Path

import pytest

from harness.errors import InputError
from hasync.commands.acts import ACTS
from hasync.commands.cli import main
from hasync.commands.client_versions import affected, parse, table
from hasync.commands.options import VERSION
from hasync.commands.plan import procedure_lines
from hasync.commands.verbs import VERBS, HasyncOptions, hasync_options
from hasync.steps import PROCEDURES

HERE = Path(__file__).parents[2]


def test_options_stand_anywhere() -> None:
    """Before the verb, after it, between its words; a value that looks like a verb is a value."""
    wanted = HasyncOptions("restore", word="abc", config="status", jobs=2, dry_run=True)

    for words in (
        "restore abc -j 2 --dry-run --config status",
        "--config status restore --dry-run -j 2 abc",
        "--dry-run -j 2 restore abc --config=status",
    ):
        assert hasync_options(words.split()) == wanted
    assert hasync_options(["--why", "hold", "hold", "x"]).word == "x"


BAD = [
    "",
    "frobnicate",
    "status extra",
    "restore a b",
    "restore -j 0",
    "rollback abc",
    "tail",
    "tail diff",
    "tail ack",
    "tail list x",
    "tail ack x --export /tmp/x",
    "tail drop x",
    "tail restore",
    "tail diff x --unseen",
    "tail diff x --as y",
    "tail list -j 2",
    "tail ack x --dry-run",
    "tail restore x --export /tmp/x",
    "role set",
    "role set active",
    "role set unknown --epoch 3",
    "role set active --epoch 0",
    "role show active",
    "verify",
    "verify x --all",
    "install",
    "install x --undo",
    "hold x",
    "keep -b 0",
    "init --site a",
    "agent x",
]


@pytest.mark.parametrize("words", BAD)
def test_bad_words_are_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 10 and one line; nothing was read or touched."""
    with pytest.raises(InputError):
        hasync_options(words.split())

    assert main(["--config", "/nonexistent", *words.split()]) == 10
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""


def test_check_is_unknown_whatever_goes_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Nagios knows 0 to 3 and shows stdout; a broken set-up is no code 10 to it."""
    assert main(["check", "--config", "/nonexistent"]) == 3
    assert main(["check", "-w", "9", "-c", "x"]) == 3

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("HASYNC UNKNOWN - /nonexistent: cannot read the settings")
    assert second.startswith("HASYNC UNKNOWN - ")


def test_every_verb_has_an_act_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """No verb is only a word."""
    assert set(ACTS) | {"agent", "init"} == set(VERBS)
    for verb in VERBS:
        assert main([verb, "--help"]) == 0
    assert main(["--help"]) == 0
    assert all(verb in capsys.readouterr().out for verb in ("rollback",))


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_dry_run_shows_every_step(procedure: str) -> None:
    """It is the list that runs."""
    shown = [line.partition(":")[0] for line in procedure_lines(procedure)]

    assert shown == [f"{procedure}.{step.name}" for step in PROCEDURES[procedure]]


def test_version_is_that_of_the_package() -> None:
    """The zipapp has no metadata, so the number stands in the code."""
    text = (HERE / "pyproject.toml").read_text(encoding="utf-8")

    assert re.search(r'^version = "(.*)"$', text, re.MULTILINE)[1] == VERSION  # type: ignore[index]


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("pg_restore (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("psql (PostgreSQL) 9.3.25", (9, 3)),
        ("pg_dump (PostgreSQL) 18beta2", (18, 0)),
        ("pg_dump (EDB) 15.18", None),
        ("", None),
    ],
)
def test_programs_tell_their_version(said: str, version: tuple[int, int] | None) -> None:
    """As Debian, the PGDG and old releases write it."""
    assert parse(said) == version


@pytest.mark.parametrize("safe", [(18, 7), (17, 12), (16, 16), (15, 20), (14, 25), (19, 0)])
def test_minors_with_the_fixes_are_known(safe: tuple[int, int]) -> None:
    """Below each of them a crafted archive runs code."""
    major, minor = safe

    assert not affected(safe)
    assert minor == 0 or affected((major, minor - 1))
    assert minor == 0 or f"{major}.{minor}" in table()
