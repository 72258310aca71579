"""The verbs of hasync about sets and the role: verify, pin, hold, keep, role set."""

import os
import pwd

from harness.errors import InputError
from hasync.commands.cli_look import store_of
from hasync.commands.command import Context, Outcome
from hasync.commands.plan import procedure_lines
from hasync.commands.run_log import logging_to
from hasync.commands.verbs import HasyncOptions
from hasync.database.rollback import HELD
from hasync.failure import Exit
from hasync.peer import peer_file
from hasync.role import Role, unheard
from hasync.role_file import declare, read
from hasync.sets import base_folder, keep
from hasync.sets.backup import State, StoredSet
from hasync.sets.store import Store


def verify(context: Context, options: HasyncOptions) -> Outcome:
    """Return what signature and content of each set say now; 12 when one is corrupt."""
    store = store_of(context)
    catalogue = store.scan()
    wanted = catalogue.sets if options.all else (catalogue.find(options.word),)
    found = [store.verify(one) for one in wanted]
    corrupt = [one for one in found if one.state.state is State.CORRUPT]
    lines = tuple(f"{one.name.text}  {one.state.state}  {one.state.why}".rstrip() for one in found)
    facts = {"verified": {one.name.text: one.state.state for one in found}}
    if not corrupt:
        return Outcome(Exit.OK, lines or ("no sets",), facts)
    why = f"{len(corrupt)} corrupt: {corrupt[0].path}: {corrupt[0].state.why}"
    return Outcome(Exit.NOT_VERIFIED, lines, facts, why)


def pin(context: Context, options: HasyncOptions) -> Outcome:
    """Return the set, never to be removed."""
    store, stored = _found(context, options)
    return _told(store.pin(stored), "is pinned: never removed")


def unpin(context: Context, options: HasyncOptions) -> Outcome:
    """Return the set, left to retention again."""
    store, stored = _found(context, options)
    return _told(store.unpin(stored), "is left to retention")


def hold(context: Context, options: HasyncOptions) -> Outcome:
    """Return the set, that no run takes by itself."""
    store, stored = _found(context, options)
    if not options.why.strip():
        raise InputError("say why", field="--why", fix="the reason is shown with the set")
    return _told(store.hold(stored, options.why.strip()), "is held back")


def release(context: Context, options: HasyncOptions) -> Outcome:
    """Return the set, that runs may take again."""
    store, stored = _found(context, options)
    rolled_back = stored.state.held == HELD and stored.state.state is State.RESTORED
    stored = store.hold(stored, "")
    if rolled_back:  # else it would count as what was live, and nothing newer than that is taken
        stored = store.mark(stored, State.VERIFIED)
    return _told(stored, "may be taken again")


def prune(context: Context, options: HasyncOptions) -> Outcome:
    """Return what no rule keeps, removed; with --dry-run each set with the reasons it stays for."""
    store = store_of(context)
    if not options.dry_run:
        kept = keep.keep(context.settings, store, options.backups, context.clock)
        code = Exit.WARNING if kept.refused else Exit.OK
        return Outcome(code, kept.lines, {"removed": list(kept.removed)}, kept.refused)
    plan = keep.planned(context.settings, store, options.backups, context.clock)
    names = {one.id: one.name.text for one in store.scan().sets}
    lines = list(procedure_lines("keep"))
    lines += [f"keeps {names.get(one, one)}: {', '.join(why)}" for one, why in plan.keep.items()]
    lines += [f"would remove {one.name.text}" for one in plan.remove]
    lines += [f"would remove nothing: {plan.refused}"] if plan.refused else []
    return Outcome(Exit.OK, tuple(lines), {"remove": [one.name.text for one in plan.remove]})


def declare_role(context: Context, options: HasyncOptions) -> Outcome:
    """Return the role that this site has from now on.

    It takes no run lock: a person must be able to promote a site while a run waits or restores
    there, and that run sees it before its swap.
    """
    folders, own = context.settings.folders, context.settings.site
    base_folder.prepare(folders)
    found = store_of(context).scan().sets
    hello = peer_file.remembered(folders.state)
    known = hello.epoch if hello else 0
    seen = max(0, known, *(one.name.epoch for one in found))
    if Role(options.word) is Role.STANDBY and not options.force:
        stop = unheard(read(folders.state), options.epoch, seen)
        if stop is not None:
            raise stop
    rival = known if hello and hello.fact.role is Role.ACTIVE else 0  # a standby's epoch is ours
    with logging_to(folders.log, "hasync"):
        fact = declare(
            folders.state,
            Role(options.word),
            options.epoch,
            clock=context.clock,
            by=person(),
            why=options.why,
            own_seen=max(0, known, *(one.name.epoch for one in found if one.site == own)),
            peer_seen=max(0, rival, *(one.name.epoch for one in found if one.site != own)),
        )
        context.log.info("role=%s epoch=%d by=%s why=%s", fact.role, fact.epoch, fact.by, fact.why)
    line = f"this site is {fact.role} with epoch {fact.epoch}"
    return Outcome(Exit.OK, (line,), {"role": fact.role, "epoch": fact.epoch})


def _found(context: Context, options: HasyncOptions) -> tuple[Store, StoredSet]:
    store = store_of(context)
    return store, store.scan().find(options.word)


def _told(stored: StoredSet, what: str) -> Outcome:
    facts = {"set": stored.id, "pinned": stored.state.pinned, "held": stored.state.held}
    return Outcome(Exit.OK, (f"{stored.name.text} {what}",), facts)


def person() -> str:
    """Return the account that we run as; a number when it has no name."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"
