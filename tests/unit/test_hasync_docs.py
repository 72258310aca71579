"""What the guide tells people to type is what the programs understand."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.cron import parse_crontab
from hasync.commands.client_versions import table
from hasync.commands.options import ngpsync_options, pgsync_options
from hasync.commands.verbs import VERBS, hasync_options

HERE = Path(__file__).parents[2]
GUIDE = (HERE / "docs/warm-standby.md").read_text(encoding="utf-8")
PARSERS: dict[str, Callable[[Sequence[str]], object]] = {
    "hasync": hasync_options,
    "pgsync": pgsync_options,
    "ngpsync": ngpsync_options,
}
LINES = re.findall(r"^ *(?:\$ )?((?:hasync|pgsync|ngpsync) .*)$", GUIDE, re.MULTILINE)
INLINE = re.findall(r"`((?:hasync|pgsync|ngpsync) [^`]+)`", GUIDE)
CRON = re.findall(r"^ *([0-9*]+ [0-9*]+ \* \* \* .*)$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("line", sorted({*LINES, *INLINE}))
def test_command_of_the_guide_is_understood(line: str) -> None:
    """Each line is read whole by its own parser."""
    program, *words = shlex.split(line)
    if words == ["agent"]:
        return  # the forced command
    PARSERS[program](words)


def test_guide_has_commands() -> None:
    """The patterns above still find them."""
    assert len(LINES) >= 10
    assert len(INLINE) >= 10


@pytest.mark.parametrize("line", CRON)
def test_cron_line_of_the_guide_is_one(line: str) -> None:
    """The line can be put into a crontab as it stands."""
    (entry,) = parse_crontab(line, with_user=False)
    program, *words = shlex.split(entry.command.partition(" >")[0])

    PARSERS[program](words)


def test_both_programs_have_a_cron_line() -> None:
    """The guide shows one for each kind of server."""
    assert len(CRON) == 2


def test_guide_names_the_safe_minors() -> None:
    """The list in the guide is the one that doctor uses."""
    assert table() in GUIDE


def test_every_verb_a_person_types_is_in_the_guide() -> None:
    """Nobody has to read the source to find one."""
    missing = [verb for verb in VERBS if not re.search(rf"hasync {verb}\b", GUIDE)]

    assert missing == []
