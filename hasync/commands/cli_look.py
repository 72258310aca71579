"""The verbs of hasync that only look: status, check, sets, doctor, role show."""

from dataclasses import replace
from typing import Any

from hasync.commands import doctor, logins
from hasync.commands.checks import Level, Thresholds, check
from hasync.commands.command import Context, Outcome
from hasync.commands.gather import gather
from hasync.commands.status import Gathered, of, rows_of, utc
from hasync.commands.verbs import HasyncOptions
from hasync.failure import Exit
from hasync.role_file import read
from hasync.sets.backup import Catalogue, StoredSet
from hasync.sets.store import Store


def store_of(context: Context) -> Store:
    """Return the sets of this host."""
    settings = context.settings
    return Store(settings.folders, settings.signing, settings.site, context.clock)


def status(context: Context, options: HasyncOptions) -> Outcome:
    """Return what is true of this site."""
    del options
    found = of(_gathered(context))
    return Outcome(Exit.OK, found.lines(), {"status": found.to_json()})


def checked(context: Context, options: HasyncOptions) -> Outcome:
    """Return the same for monitoring; the exit code is Nagios's."""
    limits = Thresholds(options.warning_s, options.critical_s)
    found = of(_gathered(context))
    judged = check(found, limits)
    said = [{"level": level.name, "text": text} for level, text in judged.said]
    facts = {"level": judged.level.name, "said": said, "perfdata": judged.perfdata}
    return Outcome(judged.level, (judged.line,), facts)


def _gathered(context: Context) -> Gathered:
    settings, store = context.settings, store_of(context)
    missing = logins.without_password(settings, store)
    return replace(gather(settings, store, context.clock), logins=missing)


def sets(context: Context, options: HasyncOptions) -> Outcome:
    """Return the catalogue, the newest set first, and what lies among the sets."""
    del options
    store = store_of(context)
    catalogue, refused = store.scan(), store.quarantined()
    lines = [_line(one) for one in reversed(catalogue.sets)]
    lines += [f"old format, not proved: {name}" for name in catalogue.legacy]
    lines += [f"foreign, never touched: {name}" for name in catalogue.foreign]
    lines += [f"refused, remove it when you have looked: {path}" for path in refused]
    facts = _json(catalogue) | {"quarantined": list(refused)}
    return Outcome(Exit.OK, tuple(lines or ["no sets"]), facts)


def examine(context: Context, options: HasyncOptions) -> Outcome:
    """Return what would make the next run fail; 1 for warnings, 2 for faults."""
    found = doctor.examine(context, options.word)
    lines = tuple(f"{level.name:8} {text}" for level, text in found)
    codes = {Level.OK: Exit.OK, Level.WARNING: Exit.WARNING}
    code = codes.get(doctor.worst(found), Exit.FAILED)
    facts = {"found": [{"level": level.name, "text": text} for level, text in found]}
    return Outcome(code, lines, facts)


def role(context: Context, options: HasyncOptions) -> Outcome:
    """Return this site's role as it is on the disk."""
    del options
    fact = read(context.settings.folders.state)
    line = f"{fact.role}, epoch {fact.epoch}, since {utc(fact.since_ns)}, by {fact.by}: {fact.why}"
    facts = {
        "role": fact.role,
        "epoch": fact.epoch,
        "since_ns": fact.since_ns,
        "role_why": fact.why,
    }
    return Outcome(Exit.OK, (line,), facts)


def _line(one: StoredSet) -> str:
    state = one.state
    words = [one.name.text, one.kind, one.site, str(state.state), f"{one.size_bytes} bytes"]
    words += [f"{rows} rows"] if (rows := rows_of(one)) is not None else []
    words += ["pinned"] if state.pinned else []
    words += [f"held ({state.held})"] if state.held else []
    words += [f"({state.why})"] if state.why else []
    return "  ".join(words)


def _json(catalogue: Catalogue) -> dict[str, Any]:
    return {
        "sets": [
            {
                "id": one.id,
                "name": one.name.text,
                "kind": one.kind,
                "site": one.site,
                "state": one.state.state,
                "why": one.state.why,
                "attempts": one.state.attempts,
                "pinned": one.state.pinned,
                "held": one.state.held,
                "size_bytes": one.size_bytes,
                "rows": rows_of(one),
                "snapshot_at_ns": one.manifest.snapshot_at_ns if one.manifest else None,
                "measurements": dict(one.state.measurements),
            }
            for one in catalogue.sets
        ],
        "legacy": list(catalogue.legacy),
        "foreign": list(catalogue.foreign),
    }
