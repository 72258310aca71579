"""One step on a mediation server, in a process of its own, for the tests to kill.

Exit code 0: done; else that of the `Stop`, or 9 for wrong input.
"""

import sys
from pathlib import Path

from harness.clock import SystemClock
from harness.errors import InputError, ToolError
from hasync.failure import Stop
from hasync.files.application import install, publish, settle_install, undo
from tests.application_bench import host, store_of


def main(verb: str, base: str, keys: str, site: str, set_id: str) -> int:
    settings = host(Path(base), Path(keys), site)
    store, clock = store_of(settings), SystemClock()
    try:
        if verb == "publish":
            publish(settings, store, clock)
        elif verb == "install":
            install(settings, store, store.scan().find(set_id), clock, reserve_bytes=0)
        elif verb == "undo":
            undo(settings, clock)
        else:
            settle_install(settings, clock)
    except Stop as error:
        sys.stderr.write(f"{error}\n")
        return int(error.code)
    except (InputError, ToolError) as error:
        sys.stderr.write(f"{error}\n")
        return 9
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
