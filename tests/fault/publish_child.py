"""One `publish` in a process of its own, so that a test can kill it, trace it, or fill its disk.

    python tests/fault/publish_child.py '{"base": ..., "socket": ..., "bin": ..., "data": ...}'

The base folder is one that `DbHost.made` has prepared. Prints the set's id; ends with the exit code
of `Stop`. SIGUSR1 lets a failpoint that hangs go on.
"""

import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from harness.clock import SystemClock
from harness.errors import HarnessError
from hasync.database.publish import publish
from hasync.failure import Exit, Stop
from hasync.sets.store import Store
from hasync.settings import Database, Folders, Limits, Service, Settings, Signing


def main(orders: dict[str, str]) -> int:
    """Return the exit code."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    base, clock = Path(orders["base"]), SystemClock()
    database = Database(
        socket=orders["socket"],
        bin=Path(orders["bin"]),
        data=Path(orders["data"]),
        name=orders["name"],
        lock_wait_s=2.0,
        reserve_bytes=int(orders["reserve_bytes"]),
    )
    signing = Signing(base / "keys/east", base / "keys/allowed_signers")
    folders = Folders(base / "hasync")
    limits = Limits(dump_s=float(orders.get("dump_s", "60")))
    service = Service(status=("true",))
    settings = Settings("east", folders, signing, database, service=service, limits=limits)
    store = Store(folders, signing, "east", clock)
    try:
        stored = publish(settings, store, clock, jobs=int(orders["jobs"]))
    except Stop as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    except (OSError, HarnessError) as error:
        sys.stderr.write(f"{error}\n")
        return Exit.FAILED
    sys.stdout.write(f"{stored.id}\n")
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
