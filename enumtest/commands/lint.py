"""The commands `enumtest lint` and `enumtest explain`: what clients make of records, before a call.

`lint` exits with 0 when no client lets a terminate through, 1 when one does, 2 for bad input.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from enumtest.naptr.dialect_file import parse_client, shipped_client, shipped_clients
from enumtest.naptr.lint import (
    Entry,
    Linted,
    Lookup,
    Prediction,
    Verdict,
    lint,
    policy_entries,
    policy_hosts,
)
from enumtest.naptr.naptr import NaptrRecord, presentation
from enumtest.naptr.naptr_dialect import NaptrDialect
from enumtest.naptr.reading import Effect, RecordReading, Uri, Void, read_record
from enumtest.naptr.zone import parse_record, parse_zone, zone_entries
from enumtest.profiles.profile_file import parse_profile, shipped_names, shipped_profile
from enumtest.sbc.decision import DEFAULT_RULES, Decision, DecisionRule, classify, services_read
from enumtest.sbc.decision_file import parse_decisions
from enumtest.stub.policy import parse_policy, parse_toml
from harness.errors import InputError
from harness.number import PhoneNumber
from harness.regex_worker import PosixRegex

EXIT_LETS_THROUGH = 1
EPILOG = "Example: enumtest lint fixtures/policies/three-actions.toml --profile kamailio"
EXPLAIN_EPILOG = (
    r"""Example: enumtest explain '10 100 "u" "E2U+sip" "!^.*$!sip:\\0@x!" .' +16505550112"""
)
_SHOWN = {
    Verdict.TERMINATES: "terminates",
    Verdict.LETS_THROUGH: "LETS THROUGH",
    Verdict.UNKNOWN: "unknown",
}
_Profiles = Annotated[
    list[str] | None, typer.Option("--profile", metavar="NAME|FILE", help="A client; once each.")
]
Decisions = Annotated[
    Path | None, typer.Option("--decisions", metavar="FILE", help="What URIs mean at a site.")
]


def lint_(  # noqa: PLR0913 - each option is a parameter
    file: Annotated[Path, typer.Argument(metavar="POLICY|ZONE", help=".toml: a policy.")],
    *,
    profile: _Profiles = None,
    origin: Annotated[str | None, typer.Option(help="Of a zone without $ORIGIN.")] = None,
    terminate_host: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Host of URIs that end a call.")
    ] = None,
    decisions: Decisions = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what each record does in each kind of client, and which let a terminate through.

    Exit 1 when one would; "unknown" where nobody knows the client's ways does not count.
    """
    hosts = (DecisionRule(Decision.TERMINATE, host=host) for host in terminate_host or ())
    rules = (*hosts, *read_decisions(decisions))
    with PosixRegex() as engine:
        entries, lookup, rules = _entries(file, origin, rules, engine)
        clients = _clients(profile, rules, [one for entry in entries for one in entry.records])
        found = lint(entries, clients, engine, lookup, rules)
    through = [one for one in found if one.with_verdict(Verdict.LETS_THROUGH)]
    if as_json:
        told = {
            "file": str(file),
            "clients": list(clients),
            "entries": [one.event() for one in found],
            "let_through": [
                {"name": one.entry.name, "clients": one.with_verdict(Verdict.LETS_THROUGH)}
                for one in through
            ],
        }
        typer.echo(json.dumps(told, indent=1))
    else:
        typer.echo(_printable(_lines(file, found)))
    if through:
        raise typer.Exit(EXIT_LETS_THROUGH)


def explain(
    record: Annotated[str, typer.Argument(help="As dig shows it, or a regexp alone.")],
    number: Annotated[str, typer.Argument(help="Called number, such as +16505550112.")],
    *,
    profile: _Profiles = None,
    decisions: Decisions = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show step by step what one NAPTR record does for a number, as the RFCs say or in a client."""
    read, called = parse_record(record), PhoneNumber.parse(number)
    rules = read_decisions(decisions)
    clients = _clients(profile or ["strict"], rules, [read])
    with PosixRegex() as engine:
        readings = {
            name: read_record(read, str(called), engine, dialect)
            for name, dialect in clients.items()
        }
    if as_json:
        told = {
            "record": presentation(read),
            "number": str(called),
            "clients": {name: _event(one, called, rules) for name, one in readings.items()},
        }
        typer.echo(json.dumps(told, indent=1))
        return
    lines = [f"record    {presentation(read)}", f"number    {called}"]
    for name, one in readings.items():
        lines.append(name)
        lines += [f"  {step}" for step in one.steps]
        lines += [f"  {text}: {words}" for text, words in _ends(one, called, rules)]
    typer.echo(_printable(lines))


def read_decisions(path: Path | None) -> tuple[DecisionRule, ...]:
    """Return the matchers of the file at *path*, or the usual ones when none is given.

    Raises:
        InputError: it cannot be read, or holds no matchers.
    """
    return DEFAULT_RULES if path is None else parse_decisions(_read(path), str(path))


def _event(
    reading: RecordReading, called: PhoneNumber, rules: tuple[DecisionRule, ...]
) -> dict[str, object]:
    ends = [{"decision": decision, "why": why} for decision, why in _ends(reading, called, rules)]
    return {"steps": list(reading.steps), "ends": ends}


def _ends(
    reading: RecordReading, called: PhoneNumber, rules: tuple[DecisionRule, ...]
) -> list[tuple[Decision, str]]:
    """Return each decision that the record can bring about, and how."""
    found = []
    for effect in reading.effects:
        decision = Decision.NO_INSTRUCTION
        if isinstance(effect, Uri):
            decision = classify(effect.text, called, rules, effect.services)
        elif isinstance(effect, Void):
            decision = Decision.TERMINATE
        found.append((decision, effect.how))
    return found


def _entries(
    path: Path, origin: str | None, rules: tuple[DecisionRule, ...], engine: PosixRegex
) -> tuple[tuple[Entry, ...], Lookup, tuple[DecisionRule, ...]]:
    """Return what the file holds, how its other names are looked up, and what its URIs mean."""
    text, file = _read(path), str(path)
    if path.suffix == ".toml":
        policy = parse_policy(text, file)
        hosts = policy_hosts(policy, engine)
        known = (DecisionRule(Decision.TERMINATE, host=host) for host in hosts)
        return policy_entries(policy, engine), lambda _: None, (*known, *rules)
    zone = parse_zone(text, file, origin)
    entries = zone_entries(zone, engine, rules)
    if not entries:
        raise InputError("no NAPTR record of a number", file=file)
    return entries, zone.lookup, rules


def _clients(
    wanted: list[str] | None, rules: tuple[DecisionRule, ...], records: list[NaptrRecord]
) -> dict[str, NaptrDialect]:
    """Return the dialects of the clients that are *wanted*, of all that are known when None.

    The strict one is nobody's: it acts on the services that a site's matchers name.
    """
    found = dict(map(_client, wanted or shipped_clients()))
    if "strict" in found:
        found["strict"] = replace(found["strict"], services=services_read(rules, records))
    return found


def _client(name: str) -> tuple[str, NaptrDialect]:
    """Return name and dialect of a client, an SBC profile, or a file of either."""
    if name in shipped_clients():
        return name, shipped_client(name).naptr
    if name in shipped_names():
        return name, shipped_profile(name).naptr
    if not name.endswith(".toml"):
        fix = f"use a .toml file or one of {', '.join([*shipped_clients(), *shipped_names()])}"
        raise InputError("no such profile", field="--profile", value=name, fix=fix)
    text = _read(Path(name))
    if "selection" in parse_toml(text, name):
        profile = parse_profile(text, name)
        return profile.name, profile.naptr
    client = parse_client(text, name)
    return client.name, client.naptr


def _lines(file: Path, found: tuple[Linted, ...]) -> list[str]:
    """Return the report for people."""
    lines = []
    for one in found:
        entry = one.entry
        lines += [f"{entry.name}: {entry.ordered} for {entry.number}"]
        if entry.remark:
            lines.append(f"  ({entry.remark})")
        for at, record in enumerate(sorted(entry.records, key=lambda r: (r.order, r.preference))):
            lines.append(f"  {presentation(record)}")
            grouped = _grouped(
                (" or ".join(map(_shown, reading.records[at].effects)), reading.client)
                for reading in one.predictions
            )
            lines += [f"    {words} [{', '.join(names)}]" for words, names in grouped.items()]
        if entry.ordered is Decision.TERMINATE:
            grouped = _grouped((_words(each), each.client) for each in one.predictions)
            lines += [f"  {words}: {', '.join(names)}" for words, names in grouped.items()]
    terminates = [one for one in found if one.entry.ordered is Decision.TERMINATE]
    through = [one for one in terminates if one.with_verdict(Verdict.LETS_THROUGH)]
    unknown = [one for one in terminates if one.with_verdict(Verdict.UNKNOWN)]
    told = f"{_count(len(found), 'answer')}, {len(terminates)} to terminate"
    lines.append(f"{file}: {told}; let through by some client: {len(through)}; "
                 f"where a client's ways are not known: {len(unknown)}")  # fmt: skip
    return lines


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _shown(effect: Effect) -> str:
    return f"gives {effect.text}" if isinstance(effect, Uri) else effect.how


def _words(prediction: Prediction) -> str:
    return "" if prediction.verdict is None else _SHOWN[prediction.verdict]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names of each text."""
    found: dict[str, list[str]] = {}
    for words, name in pairs:
        found.setdefault(words, []).append(name)
    return found


def _printable(lines: list[str]) -> str:
    """Return *lines* as one text that no record can drive a terminal with."""
    return "\n".join(
        "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line) for line in lines
    )


def _read(path: Path) -> str:
    """Return the text of the file at *path*."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path)) from error
