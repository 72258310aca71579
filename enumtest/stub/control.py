r"""Requests to a running stub server and its replies: one JSON object a line, either way.

    {"set_faults": {"enum1": [{"kind": "delay", "delay_ms": 400}], "enum2": []}}
    {"install": [{"name": "block", "destination": "+16505550112", "action": "terminate"}]}
    {"uninstall": ["block"]}
    {"status": true}

Each is answered `{"ok": true, ...}` or `{"ok": false, "error": "..."}`. Laws: a request is taken
whole or not at all; anything else than these four is an error line, and the server goes on.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from enumtest.stub.faults import Fault, kind, parse_fault_rows
from enumtest.stub.policy import Policy, Rule, parse_rules
from harness.errors import HarnessError, InputError

MAX_LINE_BYTES = 1_000_000
FILE = "request"  # what an error names as its place


@dataclass(frozen=True, slots=True)
class SetFaults:
    """Give the named servers these faults in place of those they have."""

    faults: Mapping[str, tuple[Fault, ...]]


@dataclass(frozen=True, slots=True)
class Install:
    """Put *rules* on top of the policy, or in place of those of the same name."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Uninstall:
    """Take the rules of these *names* out of the policy."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """Say what the servers are doing."""


Request = SetFaults | Install | Uninstall | Status


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server as it is now."""

    name: str
    endpoint: str
    queries: int
    faults: tuple[Fault, ...]
    carried: tuple[tuple[str, int], ...] = ()  # how queries carried the source, and how many


def parse_request(line: bytes) -> Request:
    """Return the request on *line*.

    Raises:
        InputError: not one of the four requests.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})", file=FILE) from error
    if not isinstance(found, dict) or len(found) != 1:
        fix = "send set_faults, install, uninstall or status"
        raise InputError("not one request", file=FILE, value=found, fix=fix)
    [(verb, content)] = found.items()
    match verb, content:
        case "set_faults", dict():
            return SetFaults(_faults(content))
        case "install", list():
            return Install(parse_rules(content, FILE))
        case "uninstall", list() if all(isinstance(name, str) for name in content):
            return Uninstall(tuple(content))
        case "status", True:
            return Status()
        case _:
            fix = "send set_faults, install, uninstall or status"
            raise InputError("no such request", file=FILE, field=verb, value=content, fix=fix)


def _faults(content: dict[str, object]) -> dict[str, tuple[Fault, ...]]:
    """Return the faults of each named server; an empty list makes a server sound again."""
    rows: list[object] = []
    for server, listed in content.items():
        if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
            raise InputError("not a list of faults", file=FILE, field=server, value=listed)
        rows += [row | {"server": server} for row in listed]
    found = parse_fault_rows({"faults": rows}, FILE)
    return {server: found.get(server, ()) for server in content}


def encode_done(**content: object) -> bytes:
    """Return the line that says a request was carried out."""
    return json.dumps({"ok": True} | content, default=str).encode() + b"\n"


def encode_error(error: HarnessError) -> bytes:
    """Return the line that says why a request was not carried out."""
    return json.dumps({"ok": False, "error": str(error)}).encode() + b"\n"


def encode_status(policy: Policy, servers: tuple[ServerStatus, ...]) -> bytes:
    """Return the line that answers `Status`."""
    return encode_done(
        default=policy.default,
        rules=[rule.name for rule in policy.rules],
        servers={
            server.name: {
                "endpoint": server.endpoint,
                "queries": server.queries,
                "faults": [{"kind": kind(fault)} | asdict(fault) for fault in server.faults],
                "sources": dict(server.carried),
            }
            for server in servers
        },
    )
