"""The edge that keeps the last hello of the other site: state/peer.json.

A standby asks nobody, so this is where it learns the epoch of the active site from. It is a claim
of that moment: it can forbid, and never allow.
"""

import json
from pathlib import Path

from harness.errors import HarnessError
from hasync import durable
from hasync.peer.hello import MAX_ANSWER_BYTES, Hello, parse_json

NAME = "peer.json"


def remember(state: Path, hello: Hello) -> None:
    """Keep *hello* as the last one.

    Raises:
        Stop: the disk did not take it.
    """
    text = json.dumps(hello.to_json(), sort_keys=True, separators=(",", ":"))
    durable.make_folder(state)
    durable.write(state / NAME, text.encode() + b"\n")


def remembered(state: Path) -> Hello | None:
    """Return the last hello of the other site; None when there is none that can be read."""
    try:
        raw = durable.read(state / NAME, MAX_ANSWER_BYTES)
        return Hello.from_json(parse_json(raw, MAX_ANSWER_BYTES))
    except HarnessError:
        return None
