"""The edge to state/restored/: the facts of each set that a database here was made from.

They stay when retention has removed the set: without them nobody could tell whether the database
was written to since, and it would be kept as a tail.
"""

import json
from pathlib import Path
from typing import Final

from harness.errors import InputError
from harness.manifest import canonical
from hasync import durable
from hasync.database.facts import DatabaseFacts

FOLDER: Final = "restored"
MAX_BYTES: Final = 64 << 20  # of one file: half a million tables


def keep(state: Path, set_id: str, facts: DatabaseFacts) -> None:
    """Return once the facts of set *set_id* are on the disk.

    Raises:
        Stop: the disk did not take them.
    """
    durable.make_folder(state / FOLDER)
    durable.write(state / FOLDER / f"{set_id}.json", canonical(facts.to_json()))


def recall(state: Path, set_id: str) -> DatabaseFacts | None:
    """Return the facts of set *set_id*; None when they are lost, or not readable."""
    try:
        content = durable.read(state / FOLDER / f"{set_id}.json", MAX_BYTES)
        return DatabaseFacts.parse(json.loads(content))
    except (InputError, ValueError, RecursionError):
        return None


def forget_all_but(state: Path, set_ids: frozenset[str]) -> None:
    """Remove the facts of sets that no database here was made from."""
    folder = state / FOLDER
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        if path.stem not in set_ids:
            path.unlink(missing_ok=True)
