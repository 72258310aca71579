"""What the guides to runs tell people to type, and what they show, is true of the program."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from fst.answers import parse_answers
from fst.cli import app
from fst.event_table import TYPES
from fst.plan import default_plan
from fst.prompt import KEYS, Kind
from fst.prompt_screen import keys_line, wrapped
from fst.site import parse_site
from fst.site_reading import matrix_of

ROOT = Path(__file__).parents[2]
NIGHT, GUIDED, FORMATS = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("one-night", "guided-runs", "formats")
)
SCREENS: list[str] = re.findall(r"```text\n(.*?)```", NIGHT, re.DOTALL)
TYPED: list[str] = re.findall(r"^\$ (fst .*(?:\n> .*)*)$", NIGHT, re.MULTILINE)
INLINE: list[str] = re.findall(r"`(fst [^`]+)`", NIGHT + GUIDED + FORMATS)
COLUMNS = 80
ENOUGH = 12
DECIDED = "c = count it"  # keys of a decision are the hold's own


def understood(line: str) -> str:
    """Return the name of the command that takes *line*; nothing of it is carried out."""
    command: Any = get_command(app)
    line, _, _ = line.partition(" | ")
    words, name = shlex.split(line.replace("\\\n> ", ""))[1:], ""
    while isinstance(command, TyperGroup):
        with command.make_context("fst", words[:1], resilient_parsing=True) as context:
            found, command, words = command.resolve_command(context, words)
        name = f"{name} {found}".strip()
    command.make_context(name, words)
    return name


@pytest.mark.parametrize("line", sorted({*TYPED, *INLINE}))
def test_command_of_the_guides_is_understood(line: str) -> None:
    """Each command is there, with the options that are told; in a sentence it may stand alone."""
    try:
        understood(line)
    except TyperException as error:
        assert line in INLINE
        assert "Missing parameter" in str(error)  # noqa: PT017 - and nothing else is wrong


def test_the_night_shows_every_command_of_a_run() -> None:
    """From the doctor to the customer's consent, none is left out."""
    wanted = {"doctor", "run", "answer", "status", "abort", "handover", "caveat", "accept"}
    wanted |= {"witness", "declare", "comment"}

    assert len(TYPED) >= ENOUGH
    assert wanted <= {understood(line) for line in TYPED}


@pytest.mark.parametrize("screen", SCREENS)
def test_screen_fits_a_terminal(screen: str) -> None:
    """It was taken from one of 80 columns."""
    assert [line for line in screen.splitlines() if len(line) > COLUMNS] == []


def test_questions_on_the_screens_have_the_keys_that_they_have() -> None:
    """A key that is taken away, or another word for it, is a lie in the guide."""
    known = {"\n".join(wrapped(keys_line(KEYS[kind]), "keys:   ", COLUMNS)) for kind in KEYS}
    shown = re.findall(r"^keys:   .*(?:\n {8}.*)*", "\n".join(SCREENS), re.MULTILINE)

    assert shown
    assert [keys for keys in shown if keys not in known and DECIDED not in keys] == []


def test_keys_are_told() -> None:
    """The table in the guide to guided runs has each key of each question."""
    for kind, row in ((Kind.VERDICT, "verdict"), (Kind.DIAL, "to dial, or to do")):
        (line,) = re.findall(rf"^\| {row} \| (.*) \|$", GUIDED, re.MULTILINE)
        assert set(re.findall(r"`(\w)`", line)) == {choice.key for choice in KEYS[kind]}


def test_answers_file_of_the_guide_is_taken() -> None:
    """With the plan's hash in it, the file in the guide is good for the loopback lab."""
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDED, re.DOTALL)
    plan = default_plan()
    site_path = ROOT / "fixtures/sites/loopback.toml"
    site, _ = parse_site(site_path.read_text(encoding="utf-8"), file=str(site_path))
    content = text.replace('"..."', f'"{plan.sha256}"').encode()

    found = parse_answers(
        content, file="x", plan=plan, site=site.name, matrix=matrix_of(site, plan)
    )

    assert len(found.cases) == text.count("[[case]]")


def test_every_type_of_event_is_told() -> None:
    """The guide to the formats names each type that a journal may hold."""
    assert [name for name in TYPES if f"`{name}`" not in FORMATS] == []


@pytest.mark.parametrize("text", [NIGHT, GUIDED, FORMATS], ids=["night", "guided", "formats"])
def test_links_lead_somewhere(text: str) -> None:
    """Each document that is linked is there."""
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)

    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
