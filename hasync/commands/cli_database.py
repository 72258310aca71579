"""The verbs of hasync that change what is live: restore, rollback, recover, install."""

from pathlib import Path

from harness.errors import InputError
from hasync import legacy
from hasync.commands import standby
from hasync.commands.active import Told, settings_role
from hasync.commands.choice import candidates
from hasync.commands.cli_look import store_of
from hasync.commands.command import Context, Outcome
from hasync.commands.plan import procedure_lines
from hasync.commands.status import rows_of
from hasync.commands.verbs import HasyncOptions
from hasync.database import eligible
from hasync.database.publish import database_of
from hasync.database.recover import planned, recover
from hasync.database.restore import cluster_of, restore
from hasync.database.rollback import RollbackResult, rollback
from hasync.database.rollback import planned as rollback_planned
from hasync.failure import Exit, Stop
from hasync.files import install as trees
from hasync.sets.backup import Catalogue, Kind, StoredSet
from hasync.sets.store import Store

_OWN_TREES = "this host's own trees, as they were before the first install"


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
    standby.refuse_unless_standby(context)
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
    standby.refuse_unless_standby(context)
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
    catalogue = store.scan()
    names = {one.id: one.name.text for one in catalogue.sets}
    live = names.get(result.set_id, result.set_id) or "of no set that is known"
    lines = [f"live again, in {result.took_s:.2f} s: the database {live}"]
    lines.append(f"the one before is {result.parked}; `hasync rollback` takes this back")
    lines += _held_lines(catalogue, result)
    facts = {
        "live": result.set_id,
        "parked": result.parked,
        "held": result.held,
        "blocked_s": round(result.blocked_s, 3),
        "took_s": round(result.took_s, 3),
    }
    return Outcome(Exit.OK, tuple(lines), {"rollback": facts})


def _held_lines(catalogue: Catalogue, result: RollbackResult) -> list[str]:
    """Return what becomes of the set that was live: it matters only when it is the newer one."""
    gone, live = catalogue.by_id(result.held), catalogue.by_id(result.set_id)
    if not result.held:
        return []
    name = gone.name.text if gone else result.held
    if gone and live and gone.order < live.order:
        return [f"runs go on from {live.name.text}; {name} is older, so none takes it"]
    return [f"no run takes {name} again until `hasync release {name}`; a newer set is taken"]


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
    store = store_of(context)
    if options.undo:
        result = trees.undo(settings, clock)
    else:
        result = trees.install(settings, store, store.scan().find(options.word), clock)
    names = {one.id: one.name.text for one in store.scan().sets}
    now = f"set {names.get(result.set_id, result.set_id)}" if result.set_id else _OWN_TREES
    lines = [f"live now: {now}"]
    lines += [f"live: {path}" for path in result.live]
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
