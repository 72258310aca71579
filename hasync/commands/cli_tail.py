"""The verb `hasync tail`: what was written where it should not be, looked at and taken note of."""

from pathlib import Path

from harness.errors import InputError
from hasync.commands.cli_look import store_of
from hasync.commands.cli_sets import person
from hasync.commands.command import Context, Outcome
from hasync.commands.plan import procedure_lines
from hasync.commands.status import utc
from hasync.commands.verbs import HasyncOptions
from hasync.database import tail_copy, tail_diff, tails
from hasync.database.publish import database_of
from hasync.database.recover import planned, recover
from hasync.database.restore import cluster_of
from hasync.failure import Exit, Stop
from hasync.sets.backup import Kind, StoredSet
from hasync.sets.store import Store
from hasync.settings import Database


def tail(context: Context, options: HasyncOptions) -> Outcome:
    """Return the tails, what one of them holds, or that a person took note of it."""
    store = store_of(context)
    _up(context)
    if options.action == "list":
        return _listed(tails.tails(context.settings, store))
    one = tails.tail(context.settings, store, options.word)
    if options.action == "ack":
        if not options.unseen:
            tails.refuse_unseen(one)
        sql = tails.acknowledge(store, one, person(), context.clock)
        lines = (f"{one.label} is acknowledged", *((f"to drop it by hand: {sql}",) if sql else ()))
        return Outcome(Exit.OK, lines, {"tail": one.label, "sql": sql})
    if options.export:
        paths = tail_diff.export(context.settings, one, Path(options.export))
        tails.seen(store, one, context.clock)
        facts = {"tail": one.label, "files": [str(path) for path in paths]}
        return Outcome(Exit.OK, tuple(f"wrote {path}" for path in paths), facts)
    found = tail_diff.diff(context.settings, one)
    tails.seen(store, one, context.clock)
    return _differs(found)


def restore(context: Context, options: HasyncOptions) -> Outcome:
    """Return once a tail set is a database again, beside the live one."""
    settings, store = context.settings, store_of(context)
    database = database_of(settings)
    stored = _tail_set(store, options.word)
    name = tail_copy.name_for(database, stored, options.name)
    if options.dry_run:
        lines = [*planned(settings, store, context.clock), f"would make the database {name}"]
        return Outcome(Exit.OK, (*lines, *procedure_lines("tail")), {"database": name})
    recover(settings, store, context.clock, context.log)
    made = tail_copy.restore_copy(
        settings, store, stored, context.clock, context.log, name=name, jobs=options.jobs
    )
    lines = [f"restored {stored.name.text} as {made.name}: {made.rows} rows, counted"]
    lines.append(f"to compare it with the live database: hasync tail diff {made.name}")
    if made.server_stopped:
        lines.append(f"PostgreSQL was started for this, and is stopped again: {_start(database)}")
    facts = {"tail": made.name, "set": stored.id, "rows": made.rows, "roles": list(made.roles)}
    if made.roles:
        why = f"roles created without a password: {', '.join(made.roles)}"
        return Outcome(Exit.WARNING, tuple(lines), facts, why)
    return Outcome(Exit.OK, tuple(lines), facts)


def _up(context: Context) -> None:
    """Return when the server can be asked; on a standby it is down between two runs.

    Raises:
        Stop: it is down.
    """
    database = database_of(context.settings)
    if not cluster_of(context.settings, database).is_up():
        fix = f"{_start(database)}; stop it when you have looked"
        raise Stop(Exit.FAILED, "PostgreSQL is down, and tails are databases of it", fix=fix)


def _start(database: Database) -> str:
    return f"start it with {database.bin}/pg_ctl start -w -D {database.data}"


def _tail_set(store: Store, word: str) -> StoredSet:
    """Return the tail set that a person means.

    Raises:
        InputError: there is none, or there are two; tells those that are here.
    """
    found = store.scan()
    fit = [one for one in found.of(Kind.TAIL) if word in {one.id, one.name.id8, one.name.text}]
    if len(fit) != 1:
        known = ", ".join(one.name.text for one in found.of(Kind.TAIL)) or "there are none"
        why = "names two sets" if fit else "no such set of a tail"
        raise InputError(why, field="tail", value=word, fix=f"known: {known}")
    return fit[0]


def _differs(found: tail_diff.TailDifference) -> Outcome:
    lines = [f"{found.tail}: {found.rows} rows that the live database does not have"]
    if found.since_xid is None:
        lines.append("all rows were compared: what was deleted since is among them")
    lines += [_table_line(one) for one in found.tables]
    lines += [f"sequence {name} is further on" for name in found.sequences]
    lines += [f"{found.large_objects} large objects"] if found.large_objects else []
    facts = {
        "tail": found.tail,
        "rows": found.rows,
        "tables": [
            {name: getattr(one, name) for name in tail_diff.TableDifference.__slots__}
            for one in found.tables
        ],
        "tables_equal": found.equal,
        "sequences": list(found.sequences),
        "large_objects": found.large_objects,
    }
    return Outcome(Exit.OK, tuple(lines), {"diff": facts})


def _table_line(one: tail_diff.TableDifference) -> str:
    rows = f"{one.looked_at} row{'' if one.looked_at == 1 else 's'} compared by {one.by}"
    there = "" if one.in_live else "; the live database has no such table"
    return (
        f"{one.table}: {one.missing} missing, {one.changed} with another content ({rows}){there};"
        f" for example {', '.join(one.keys)}"
    )


def _listed(found: tuple[tails.Tail, ...]) -> Outcome:
    lines = []
    for one in found:
        name = one.stored.name.text if one.stored else "no set yet"
        taken = one.acknowledged_at_ns
        note = f"acknowledged {utc(taken)}" if taken else "waits for you"
        if not one.name:
            note += "; its database is gone: hasync tail restore"
        lines.append(f"{one.label}  {one.size_bytes} bytes  {name}  {note}")
    facts = [
        {
            "tail": one.label,
            "oid": one.oid,
            "size_bytes": one.size_bytes,
            "set": one.stored.id if one.stored else "",
            "acknowledged_at_ns": one.acknowledged_at_ns,
        }
        for one in found
    ]
    return Outcome(Exit.OK, tuple(lines or ["no tails"]), {"tails": facts})
