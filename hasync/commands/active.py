"""The edge of pgsync on the active site: publish, send, keep; each told truly when it fails.

A set that could not be sent is still a set: the run says so by its exit code, and the next one
sends it.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from harness.errors import HarnessError
from hasync.commands.choice import backlog
from hasync.commands.command import Context, Outcome
from hasync.commands.options import PgsyncOptions
from hasync.commands.plan import procedure_lines
from hasync.database.publish import publish
from hasync.failure import Exit, Stop
from hasync.peer.address import PeerAddress
from hasync.peer.delivery import Delivery
from hasync.peer.peer_file import remembered
from hasync.role import RoleFact, SiteFact, may_publish
from hasync.role_file import read
from hasync.service import probe
from hasync.sets.backup import Kind
from hasync.sets.keep import keep, planned
from hasync.sets.store import Store

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Told:
    """What a run has done so far, and the first trouble in it: what its exit code comes from."""

    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    trouble: Stop | None = None
    attention: list[str] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """Return the run's outcome: the first trouble, else what to look at, else success."""
        if self.trouble is not None:
            why = "; ".join((str(self.trouble), *self.attention))
            return Outcome(self.trouble.code, tuple(self.lines), self.facts, why)
        code = Exit.WARNING if self.attention else Exit.OK
        return Outcome(code, tuple(self.lines), self.facts, "; ".join(self.attention))


def run(context: Context, store: Store, options: PgsyncOptions, address: PeerAddress) -> Outcome:
    """Return how publishing and sending went.

    Raises:
        Stop: no set was made.
    """
    settings, clock = context.settings, context.clock
    delivery = Delivery(settings, store, address, clock)
    told = Told()
    told.trouble = delivery.distrusted()  # first of all: a higher epoch forbids even to publish
    peer = delivery.known_peer()
    _refuse(settings_role(context), context, peer)
    begun_ns = clock.monotonic_ns()
    seen = delivery.seen_sequence(Kind.DATABASE)
    stored = publish(settings, store, clock, jobs=options.jobs, peer=peer, seen=seen)
    took_s = round((clock.monotonic_ns() - begun_ns) / 1e9, 3)
    stored = store.note(stored, publish_s=took_s)
    told.lines.append(f"published {stored.name.text} in {took_s:.1f} s")
    told.facts["published"] = {"id": stored.id, "name": stored.name.text, "took_s": took_s}
    if told.trouble is None:
        deliver(context, delivery, Kind.DATABASE, told)
    prune(context, store, options.backups, told)
    return told.outcome()


def settings_role(context: Context) -> RoleFact:
    """Return this site's role as it is on the disk now."""
    return read(context.settings.folders.state)


def deliver(context: Context, delivery: Delivery, kind: Kind, told: Told) -> None:
    """Bring what the peer does not have to it, and tell."""
    sent = delivery.deliver(
        kind,
        lambda peer: may_publish(settings_role(context), probe(context.settings.service), peer),
    )
    told.facts["sent"] = sent.to_json()
    told.lines += [f"sent {name}" for name in sent.sets]
    told.trouble = told.trouble or sent.trouble


def prune(context: Context, store: Store, backups: int, told: Told) -> None:
    """Remove what no rule keeps, last of all; a failure of it is no failure of the run."""
    try:
        kept = keep(context.settings, store, backups, context.clock)
    except HarnessError as error:
        logger.warning("nothing pruned why=%s", error)
        told.attention.append(f"not pruned: {error}")
        return
    told.facts["removed"] = list(kept.removed)
    told.lines += kept.lines
    if kept.unsent:
        first = f"for example {kept.unsent[0]} (retention.max_bytes)"
        told.attention.append(f"removed {len(kept.unsent)} that the other site never had, {first}")
    if kept.refused:
        told.attention.append(f"nothing removed: {kept.refused}")


def shown(context: Context, store: Store, options: PgsyncOptions) -> Outcome:
    """Return what `run` would do now, without asking the peer."""
    settings = context.settings
    hello = remembered(settings.folders.state)
    peer = hello.fact if hello else None
    stop = may_publish(settings_role(context), probe(settings.service), peer)
    if stop is not None:
        raise stop
    lines = [*procedure_lines("publish"), *procedure_lines("send")]
    there, rotten = (hello.ids, hello.corrupt) if hello else ((), ())
    waiting = backlog(store.scan().sets, Kind.DATABASE, settings.site, there, rotten)
    lines += [f"would send after the new set: {one.name.text}" for one in waiting]
    plan = planned(settings, store, options.backups, context.clock)
    lines += [*procedure_lines("keep"), *(f"would remove {one.name.text}" for one in plan.remove)]
    return Outcome(Exit.OK, tuple(lines), {"backlog": [one.name.text for one in waiting]})


def _refuse(role: RoleFact, context: Context, peer: SiteFact | None) -> None:
    stop = may_publish(role, probe(context.settings.service), peer)
    if stop is not None:
        raise stop
