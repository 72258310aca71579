"""`--set KEY=VALUE`: values laid over a site file for one run, recorded in its journal.

A key is a dotted path as in the error messages (`sites.0.sbcs.0.timeout_ms=500`). `sbc.` is short
for every SBC of every site (`sbc.selection=hunt`), `*` stands for every entry of a list.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from harness.errors import InputError

SHORT = {"sbc": ("sites", "*", "sbcs", "*")}


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Return key to value for *pairs* of the form KEY=VALUE; values are JSON, else plain text.

    >>> parse_settings(["sbc.selection=hunt", "lab.sbc.hold_down_ms=960"])
    {'sbc.selection': 'hunt', 'lab.sbc.hold_down_ms': 960}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InputError(
                "not KEY=VALUE",
                field="--set",
                value=pair,
                fix="write for example --set sbc.selection=hunt",
            )
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def lay_over(
    document: Mapping[str, Any], settings: Mapping[str, Any], *, file: str = ""
) -> dict[str, Any]:
    """Return a copy of *document* with each of *settings* in its place.

    Raises:
        InputError: a path that leads through something that is not there.
    """
    changed = copy.deepcopy(dict(document))
    for key, value in settings.items():
        path = tuple(key.split("."))
        path = SHORT.get(path[0], (path[0],)) + path[1:]
        _put(changed, path, value, key, file)
    return changed


def _put(node: Any, path: tuple[str, ...], value: object, key: str, file: str) -> None:  # noqa: ANN401 - TOML values
    """Set *path* below *node*; a missing table on the way is made, a missing list entry is not."""
    step, rest = path[0], path[1:]
    if isinstance(node, list):
        if step == "*":
            places = range(len(node))
        elif step.isdecimal() and int(step) < len(node):
            places = range(int(step), int(step) + 1)
        else:
            raise InputError(
                "no such entry",
                file=file,
                field=f"--set {key}",
                value=step,
                fix=f"the list has {len(node)} entries, counted from 0, or use *",
            )
        for at in places:
            if rest:
                _put(node[at], rest, value, key, file)
            else:
                node[at] = value
    elif isinstance(node, dict):
        if rest:
            _put(node.setdefault(step, {}), rest, value, key, file)
        else:
            node[step] = value
    else:
        raise InputError(f"{step!r} lies below a plain value", file=file, field=f"--set {key}")
