"""A restore or a rollback in a process of its own, for the tests to kill.

    python -S tests/fault/restore_child.py FILE VERB ID

FILE holds what `restore_lab.plain` makes of the settings. It starts in half the time without
site-packages, and needs none. Exit code: that of the `Stop`, or 1 for wrong input.
"""

import json
import logging
import sys
from pathlib import Path

from harness.clock import SystemClock
from harness.errors import HarnessError
from hasync.database import recover, restore, rollback
from hasync.failure import Stop
from hasync.sets.store import Store
from hasync.settings import Database, Folders, Limits, Service, Settings, Signing

LOG = logging.getLogger(__name__)


def store_of(settings: Settings) -> Store:
    """Return the catalogue of a site."""
    return Store(settings.folders, settings.signing, settings.site, SystemClock())


def settled(found: dict[str, object]) -> Settings:
    """Return the settings that `plain` has written."""
    database = dict(found["database"])  # type: ignore[call-overload]
    paths = {key: Path(database[key]) for key in ("bin", "data")}
    return Settings(
        site="west",
        folders=Folders(Path(str(found["base"]))),
        signing=Signing(Path(str(found["key"])), Path(str(found["signers"]))),
        database=Database(**(database | paths)),
        service=Service(status=tuple(found["service"])),  # type: ignore[arg-type]
        limits=Limits(**found["limits"]),  # type: ignore[arg-type]
    )


def main(argv: list[str]) -> int:
    """Carry one verb out, as a command would; return its exit code."""
    file, verb, chosen = argv
    settings = settled(json.loads(Path(file).read_text()))
    store, clock = store_of(settings), SystemClock()
    try:
        for line in recover.recover(settings, store, clock):
            sys.stdout.write(f"{line}\n")
        if verb == "restore":
            stored = store.scan().by_id(chosen)
            assert stored is not None
            restore.restore(settings, store, stored, clock, LOG, by_hand=True)
        elif verb == "rollback":
            rollback.rollback(settings, store, clock, LOG)
    except Stop as error:
        sys.stderr.write(f"{error}\n")
        return int(error.code)
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
