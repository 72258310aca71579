"""One step on a store, in a process of its own, for strace to disturb: publish, receive, remove.

Exit code 0: done; else that of the `Stop`, or 9 for wrong input.
"""

import sys
from pathlib import Path

from harness.errors import InputError, ToolError
from hasync.failure import Stop
from tests.set_bench import make_store, publish


def main(verb: str, base: str, keys: str, site: str, set_id: str) -> int:
    store = make_store(Path(base), Path(keys), site)
    try:
        if verb == "publish":
            publish(store)
        elif verb == "receive":
            store.receive(set_id)
        else:
            store.remove(store.scan().find(set_id))
    except Stop as error:
        sys.stderr.write(f"{error}\n")
        return int(error.code)
    except (InputError, ToolError) as error:
        sys.stderr.write(f"{error}\n")
        return 9
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
