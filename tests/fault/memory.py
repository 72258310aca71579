"""A folder that costs no disk: for tests that flush often, and ask for the order of calls alone."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture(name="place")
def make_place() -> Iterator[Path]:
    """Give a folder in memory, where there is one: what counts is the order of the calls."""
    memory = Path("/dev/shm")  # noqa: S108 - a fresh folder of our own in it
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
