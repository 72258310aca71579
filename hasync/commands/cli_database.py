"""The verbs of hasync that change what is live: restore, rollback, recover, install; and tails."""

from pathlib import Path

from harness.errors import InputError
from hasync import legacy
from hasync.commands import standby
from hasync.commands.active import Told, settings_role
from hasync.commands.choice import candidates
from hasync.commands.cli_look import store_of
from hasync.commands.cli_sets import person
from hasync.commands.command import Context, Outcome
from hasync.commands.plan import procedure_lines
from hasync.commands.status import rows_of, utc
from hasync.commands.verbs import HasyncOptions
from hasync.database import eligible, tail_diff, tails
from hasync.database.publish import database_of
from hasync.database.recover import planned, recover
from hasync.database.restore import cluster_of, restore
from hasync.database.rollback import planned as rollback_planned
from hasync.database.rollback import rollback
from hasync.failure import Exit, Stop
from hasync.files import install as trees
from hasync.sets.backup import Kind, StoredSet
from hasync.sets.store import Store


def restore_set(context: Context, options: HasyncOptions) -> Outcome:
    """Return once the set that a person chose is live.

    Raises:
        Stop: nothing to restore, or what stands against it.
        InputError: no such set, or none of a database.
    """
    store = store_of(context)
    if options.dry_run:
        return _restore_shown(context, store, options)
    recover(context.settings, store, context.clock, context.log)
    stored = _chosen(context, store, options.word)
    told = Told()
    result = restore(
        context.settings,
        store,
        stored,
        context.clock,
        context.log,
        jobs=options.jobs,
        peer=standby.known_peer(context),
        by_hand=bool(options.word),
    )
    standby.tell(told, store, stored, result)
    return told.outcome()


def _restore_shown(context: Context, store: Store, options: HasyncOptions) -> Outcome:
    """Return what a restore would do now; all that can be asked without a change is asked."""
    settings = context.settings
    lines = [*planned(settings, store, context.clock)]
    stored = _chosen(context, store, options.word)
    asked = eligible.examine(
        settings,
        cluster_of(settings, database_of(settings)),
        stored,
        peer=standby.known_peer(context),
        by_hand=bool(options.word),
    )
    lines.append(f"would restore {stored.name.text}")
    lines += [] if asked else ["PostgreSQL is down: what it would say is known only then"]
    return Outcome(Exit.OK, (*lines, *procedure_lines("restore")), {"set": stored.id})


def _rollback_shown(context: Context, store: Store, options: HasyncOptions) -> Outcome:
    lines = [*planned(context.settings, store, context.clock)]
    pair = rollback_planned(context.settings, context.clock, force=options.force)
    if pair is None:
        lines.append("would start PostgreSQL; what there is to go back to is known only then")
    else:
        names = {one.id: one.name.text for one in store.scan().sets}
        marker = pair[1].marker
        back = names.get(marker.set_id, marker.set_id) if marker else "of no set that is known"
        lines.append(f"would make {pair[1].name} live again, the database {back}")
    return Outcome(Exit.OK, (*lines, *procedure_lines("rollback")))


def roll_back(context: Context, options: HasyncOptions) -> Outcome:
    """Return once the database before is live again."""
    store = store_of(context)
    if options.dry_run:
        return _rollback_shown(context, store, options)
    recover(context.settings, store, context.clock, context.log)
    result = rollback(context.settings, store, context.clock, context.log, force=options.force)
    names = {one.id: one.name.text for one in store.scan().sets}
    live = names.get(result.set_id, result.set_id) or "of no set that is known"
    lines = [f"live again, in {result.took_s:.2f} s: the database {live}"]
    lines.append(f"the one before is {result.parked}; `hasync rollback` takes this back")
    if result.held:
        lines.append(f"held back: {names.get(result.held, result.held)}")
    facts = {
        "live": result.set_id,
        "parked": result.parked,
        "held": result.held,
        "blocked_s": round(result.blocked_s, 3),
        "took_s": round(result.took_s, 3),
    }
    return Outcome(Exit.OK, tuple(lines), {"rollback": facts})


def settle(context: Context, options: HasyncOptions) -> Outcome:
    """Return what an interrupted run has left, settled."""
    settings, store = context.settings, store_of(context)
    if options.dry_run:
        lines = [*planned(settings, store, context.clock)]
        cut = trees.interrupted(settings) if settings.application is not None else ()
        lines += [f"would settle an interrupted {name}" for name in cut]
        return Outcome(Exit.OK, tuple(lines or ["nothing to settle"]))
    found = [*recover(settings, store, context.clock, context.log)]
    if settings.application is not None:
        found += trees.settle_install(settings, context.clock)
    return Outcome(Exit.OK, tuple(found or ["nothing to settle"]), {"found": found})


def install(context: Context, options: HasyncOptions) -> Outcome:
    """Return once an application set is live, or the trees before it again."""
    procedure = "undo" if options.undo else "install"
    settings, clock = context.settings, context.clock
    if options.dry_run:
        return _install_shown(context, procedure, options.word)
    if options.undo:
        result = trees.undo(settings, clock)
    else:
        store = store_of(context)
        result = trees.install(settings, store, store.scan().find(options.word), clock)
    lines = [f"live: {path}" for path in result.live]
    lines += [f"before: {path}; `hasync install --undo` takes it back" for path in result.previous]
    facts = {"set": result.set_id, "live": list(result.live), "previous": list(result.previous)}
    return Outcome(Exit.OK, tuple(lines), {procedure: facts})


def _install_shown(context: Context, procedure: str, word: str) -> Outcome:
    """Return what an install or undo would do now, its set and guards looked at for real."""
    store, settings = store_of(context), context.settings
    stored = None if procedure == "undo" else store.scan().find(word)
    live = trees.allowed(settings, store, stored, context.clock)
    lines = [f"would install {stored.name.text}"] if stored else []
    lines += [f"would exchange {path}" for path in live]
    return Outcome(Exit.OK, (*lines, *procedure_lines(procedure)))


def import_old(context: Context, options: HasyncOptions) -> Outcome:
    """Return the set that a backup of the scripts before has become, by restoring it."""
    if options.dry_run:
        return Outcome(Exit.OK, procedure_lines("import"))
    settings, clock = context.settings, context.clock
    store = store_of(context)
    recover(settings, store, clock, context.log)
    path = Path(options.word)
    stored = legacy.import_backup(
        settings, store, path, clock, context.log, jobs=options.jobs, trusted=options.trusted
    )
    name = stored.name.text
    lines = (
        f"imported {path.name} as {name}: {rows_of(stored)} rows, restored and counted",
        f"it is pinned, and no run takes it by itself; to make it live: hasync restore {name}",
    )
    return Outcome(Exit.OK, lines, {"set": stored.id, "name": name, "rows": rows_of(stored)})


def tail(context: Context, options: HasyncOptions) -> Outcome:
    """Return the tails, what one of them holds, or that a person took note of it."""
    store = store_of(context)
    if options.action == "list":
        return _listed(tails.tails(context.settings, store))
    one = tails.tail(context.settings, store, options.word)
    if options.action == "ack":
        sql = tails.acknowledge(store, one, person(), context.clock)
        lines = (f"{one.label} is acknowledged", *((f"to drop it by hand: {sql}",) if sql else ()))
        return Outcome(Exit.OK, lines, {"tail": one.label, "sql": sql})
    if options.export:
        paths = tail_diff.export(context.settings, one, Path(options.export))
        facts = {"tail": one.label, "files": [str(path) for path in paths]}
        return Outcome(Exit.OK, tuple(f"wrote {path}" for path in paths), facts)
    return _differs(tail_diff.diff(context.settings, one))


def _differs(found: tail_diff.TailDifference) -> Outcome:
    lines = [f"{found.tail}: {found.rows} rows that the live database does not have"]
    lines += [
        f"{one.table}: {one.missing} missing, {one.changed} changed of {one.looked_at}"
        f" ({one.by}{'' if one.in_live else ', no such table there'}), first {', '.join(one.keys)}"
        for one in found.tables
    ]
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


def _listed(found: tuple[tails.Tail, ...]) -> Outcome:
    lines = []
    for one in found:
        name = one.stored.name.text if one.stored else "no set yet"
        taken = one.acknowledged_at_ns
        note = f"acknowledged {utc(taken)}" if taken else "waits for you"
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


def _chosen(context: Context, store: Store, word: str) -> StoredSet:
    """Return the set that a person named, or the newest that a run would take."""
    found = store.scan()
    if word:
        stored = found.find(word)
        if stored.kind is Kind.APPLICATION:
            fix = f"hasync install {stored.name.text}"
            raise InputError("a set of the application", field="set", value=word, fix=fix)
        return stored
    role, now_ns = settings_role(context), context.clock.wall_ns()
    settings = context.settings
    fit = candidates(found.sets, settings.site, role.epoch, now_ns, peer=settings.peer.site)
    if not fit:
        fix = "name one of `hasync sets` to restore it all the same"
        raise Stop(Exit.FAILED, "no set is newer than what is live", fix=fix)
    return fit[0]
