"""The edge of the command ngpsync: the application's files as sets, sent to the other site.

    active:   hello ─▶ archive ─▶ send what the peer has not ─▶ keep
    standby:  take in what lies whole in the inbox ─▶ keep

On the standby nothing becomes live by itself: `hasync install` does that during a failover, and
`hasync install --undo` takes it back. Cron runs the same line on both sites.
"""

import sys
from collections.abc import Iterator, Sequence

from hasync.commands.active import Told, deliver, prune
from hasync.commands.command import Command, Context, Outcome, run
from hasync.commands.options import NgpsyncOptions, ngpsync_options
from hasync.commands.plan import procedure_lines
from hasync.commands.standby import take_in
from hasync.failure import Exit
from hasync.files.application import application, listed, publish, settle_install
from hasync.peer.address import PeerAddress
from hasync.peer.delivery import Delivery
from hasync.role import Role, RoleFact, may_publish
from hasync.role_file import read
from hasync.service import probe
from hasync.sets.backup import Kind
from hasync.sets.keep import planned
from hasync.sets.store import Store

MAX_WARNINGS = 5  # of a set, on the one line that says why the exit code is not 0


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of ngpsync with the words *argv* (None: those of this process)."""
    return run(Command("ngpsync", ngpsync_options, act, _recorded_as), argv)


def _recorded_as(options: NgpsyncOptions) -> str:
    return "" if options.list or options.dry_run else "ngpsync"


def act(context: Context, options: NgpsyncOptions) -> Outcome:
    """Return what one run did.

    Raises:
        InputError: no application on this host, or no such host.
        Stop: the role is not known, or no set could be made.
    """
    settings = context.settings
    application(settings)
    if options.list:
        return _listed(context)
    address = PeerAddress.parse(options.host)
    store = Store(settings.folders, settings.signing, settings.site, context.clock)
    role = read(settings.folders.state)
    if role.role is Role.UNKNOWN:
        refusal = may_publish(role, probe(settings.service))
        assert refusal is not None  # noqa: S101 - an unknown site may do nothing
        raise refusal
    if options.dry_run:
        return _shown(context, store, options, role)
    told = Told()
    told.lines += settle_install(settings, context.clock)
    if role.role is Role.ACTIVE:
        _active(context, store, address, told)
    else:
        _standby(context, store, told)
    prune(context, store, options.backups, told)
    return told.outcome()


def _standby(context: Context, store: Store, told: Told) -> None:
    """Take in what lies whole in the inbox, and say what is here."""
    before = {one.id for one in store.scan().sets}
    take_in(context, store)
    here = store.scan().of(Kind.APPLICATION)
    told.lines += [f"taken in {one.name.text}" for one in here if one.id not in before]
    proved = [one for one in here if one.proved]
    newest = f"{len(proved)}, the newest {proved[-1].name.text}" if proved else "none yet"
    told.lines.append(
        f"this site is the standby; sets of the application here: {newest}; "
        "none goes live but by `hasync install`"
    )


def _active(context: Context, store: Store, address: PeerAddress, told: Told) -> None:
    """Publish and send; a peer that is not reached leaves the set for a later run."""
    settings, clock = context.settings, context.clock
    delivery = Delivery(settings, store, address, clock)
    told.trouble = delivery.distrusted() or delivery.trouble  # first: a higher epoch forbids all
    begun_ns = clock.monotonic_ns()
    seen = delivery.seen_sequence(Kind.APPLICATION)
    made = publish(settings, store, clock, peer=delivery.known_peer(), seen=seen)
    took_s = round((clock.monotonic_ns() - begun_ns) / 1e9, 3)
    stored = store.note(made.stored, publish_s=took_s)
    told.lines.append(
        f"published {stored.name.text}: {made.files} files, {made.size_bytes} bytes, {took_s:.1f} s"
    )
    told.facts["published"] = {
        "id": stored.id,
        "name": stored.name.text,
        "files": made.files,
        "size_bytes": made.size_bytes,
        "took_s": took_s,
        "warnings": list(made.warnings[:MAX_WARNINGS]),
    }
    told.attention += made.warnings[:MAX_WARNINGS]
    if len(made.warnings) > MAX_WARNINGS:
        told.attention.append(f"and {len(made.warnings) - MAX_WARNINGS} more, in the manifest")
    if told.trouble is None:
        deliver(context, delivery, Kind.APPLICATION, told)


def _listed(context: Context) -> Outcome:
    found = tuple(listed(context.settings))
    paths = [{"path": path, "left_out": why, "bytes": size} for path, why, size in found]
    return Outcome(Exit.OK, tuple(_lines(found)), {"paths": paths})


def _lines(found: Sequence[tuple[str, str, int]]) -> Iterator[str]:
    for path, why, _ in found:
        shown = path if path.isprintable() else ascii(path)
        yield f"-  {shown}  ({why})" if why else f"+  {shown}"
    inside = [size for _, why, size in found if not why]
    yield f"{len(inside)} go in, {sum(inside)} bytes; {len(found) - len(inside)} stay out"


def _shown(context: Context, store: Store, options: NgpsyncOptions, role: RoleFact) -> Outcome:
    """Return what a run would do now, without asking the peer."""
    lines: list[str] = []
    if role.role is Role.ACTIVE:
        lines += [*procedure_lines("application"), *procedure_lines("send")]
    else:
        lines += [f"would take in {set_id}" for set_id in store.waiting()]
    plan = planned(context.settings, store, options.backups, context.clock)
    lines += [*procedure_lines("keep"), *(f"would remove {one.name.text}" for one in plan.remove)]
    return Outcome(Exit.OK, tuple(lines), {})


if __name__ == "__main__":
    sys.exit(main())
