"""Which sets a run takes: what a standby restores next, and what an active site still has to send.

Laws: only a set of another site, of an epoch not below ours, newer than any restored here; the
newest first; never one that is held back, and a failed one only when its back-off is over.
"""

from collections.abc import Collection, Iterable

from hasync.sets.backup import Kind, State, StoredSet

SENT = "sent_at_ns"  # measured when the peer had taken a set into its catalogue


def restored_order(sets: Iterable[StoredSet]) -> tuple[int, int] | None:
    """Return the order of the newest set that was ever live here; None: none was."""
    orders = [one.order for one in _database(sets) if one.state.state is State.RESTORED]
    return max(orders, default=None)


def candidates(
    sets: Iterable[StoredSet], site: str, epoch: int, now_ns: int, tried: Collection[str] = ()
) -> tuple[StoredSet, ...]:
    """Return the sets that a standby *site* of *epoch* may restore, the newest first.

    One that is NEW has yet to be verified. *tried* are ids that this run has given up.
    """
    sets = tuple(sets)
    live = restored_order(sets)
    found = [
        one
        for one in _database(sets)
        if one.site != site
        and one.name.epoch >= epoch
        and (live is None or one.order > live)
        and one.id not in tried
        and _may_be_tried(one, now_ns)
    ]
    return tuple(sorted(found, key=lambda one: (*one.order, one.id), reverse=True))


def backlog(
    sets: Iterable[StoredSet], kind: Kind, site: str, there: Collection[str]
) -> tuple[StoredSet, ...]:
    """Return the sets of *kind* made at *site* that the peer never had, the newest first.

    What it has taken once is not sent again after its own retention has removed it.
    """
    found = [
        one
        for one in sets
        if one.kind is kind
        and one.site == site
        and one.proved
        and one.id not in there
        and SENT not in one.state.measurements
    ]
    return tuple(sorted(found, key=lambda one: (*one.order, one.id), reverse=True))


def _may_be_tried(one: StoredSet, now_ns: int) -> bool:
    if one.state.state is State.NEW:
        return one.manifest is not None and not one.state.held
    return one.may_be_taken(now_ns)


def _database(sets: Iterable[StoredSet]) -> tuple[StoredSet, ...]:
    return tuple(one for one in sets if one.kind is Kind.DATABASE)
