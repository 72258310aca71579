"""packages.debian is the one list of peers: what it names is used, and what is used it names."""

import re
from pathlib import Path

from tests.lab.peers import packages

TESTS = Path(__file__).parents[1]
LINE = re.compile(r"(#.*|[a-z0-9][a-z0-9.+-]+ +# \S.*)")


def test_every_line_names_a_package_and_what_it_is_for() -> None:
    """A line is a comment, or a package with a comment."""
    text = (TESTS.parent / "packages.debian").read_text()

    assert [line for line in text.splitlines() if not LINE.fullmatch(line)] == []


def test_packages_are_those_that_the_tests_ask_for() -> None:
    """No package is installed for nothing, and none that a test asks for is forgotten."""
    asked = {
        package
        for folder in ("lab", "fault")
        for path in (TESTS / folder).glob("*.py")
        for package in re.findall(
            r'\b(?:need|missing)\("[^"]+", "([^"]+)"\)', path.read_text(encoding="utf-8")
        )
    }

    assert packages() == asked
