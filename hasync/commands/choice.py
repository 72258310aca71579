"""Which sets a run takes: what a standby restores next, and what an active site still has to send.

Laws: only a set of the site that the settings name as the peer, of an epoch not below ours, newer
than any restored here; the newest first; never one that is held back, and a failed one only when
its back-off is over. What is newer and not taken is named, with the reason.
"""

from collections.abc import Collection, Iterable

from hasync.sets.backup import SENT, Kind, State, StoredSet, may_retry


def restored_order(sets: Iterable[StoredSet]) -> tuple[int, int] | None:
    """Return the order of the newest set that was ever live here; None: none was."""
    orders = [one.order for one in _database(sets) if one.state.state is State.RESTORED]
    return max(orders, default=None)


def live_set(sets: Iterable[StoredSet]) -> StoredSet | None:
    """Return the set that was made live last and not taken back, as far as the records say."""
    found = [one for one in _database(sets) if one.state.state is State.RESTORED]
    return max(
        (one for one in found if not one.state.held), key=lambda one: one.order, default=None
    )


def candidates(  # noqa: PLR0913 - each is a fact that decides
    sets: Iterable[StoredSet],
    site: str,
    epoch: int,
    now_ns: int,
    tried: Collection[str] = (),
    *,
    peer: str = "",
) -> tuple[StoredSet, ...]:
    """Return the sets that a standby *site* of *epoch* may restore, the newest first.

    One that is NEW has yet to be verified. *tried* are ids that this run has given up. *peer* is
    the only site whose sets are taken ("": any other; no settings file says that).
    """
    found = [
        one
        for one in _newer(sets, site)
        if not _stranger(one, peer)
        and one.name.epoch >= epoch
        and one.id not in tried
        and _may_be_tried(one, now_ns)
    ]
    return tuple(sorted(found, key=lambda one: (*one.order, one.id), reverse=True))


def doubtful(sets: Iterable[StoredSet], site: str, peer: str = "") -> tuple[StoredSet, ...]:
    """Return the sets newer than any restored here that are called CORRUPT, to look at again."""
    corrupt = [one for one in _newer(sets, site) if one.state.state is State.CORRUPT]
    return tuple(one for one in corrupt if not _stranger(one, peer))


def passed_over(
    sets: Iterable[StoredSet], site: str, epoch: int, now_ns: int, *, peer: str = ""
) -> tuple[str, ...]:
    """Return the sets newer than any restored here that no run takes now, each with the reason."""
    found = sorted(_newer(sets, site), key=lambda one: (*one.order, one.id), reverse=True)
    told = [(one, _why_not(one, epoch, now_ns, peer)) for one in found]
    return tuple(f"{one.name.text}: {why}" for one, why in told if why)


def _why_not(one: StoredSet, epoch: int, now_ns: int, peer: str) -> str:
    """Return why a set is not taken; "" when it is."""
    if _stranger(one, peer):
        return f"made at {one.site}, and the peer is {peer} (peer.site)"
    if one.name.epoch < epoch:
        return f"of epoch {one.name.epoch}, below ours ({epoch})"
    if one.state.held:
        return f"held back: {one.state.held}"
    if one.manifest is None or one.state.state is State.CORRUPT:
        return f"corrupt: {one.state.why}"
    if one.state.state is State.FAILED and not may_retry(one.state, now_ns):
        return f"failed {one.state.attempts} times, tried again later: {one.state.why}"
    return ""


def backlog(
    sets: Iterable[StoredSet],
    kind: Kind,
    site: str,
    there: Collection[str],
    rotten: Collection[str] = (),
) -> tuple[StoredSet, ...]:
    """Return the sets of *kind* made at *site* that the peer has to get, the newest first.

    What it has taken once is not sent again after its own retention has removed it; what it says
    to be *rotten* there is.
    """
    found = [
        one
        for one in sets
        if one.kind is kind
        and one.site == site
        and one.proved
        and one.id not in there
        and (SENT not in one.state.measurements or one.id in rotten)
    ]
    return tuple(sorted(found, key=lambda one: (*one.order, one.id), reverse=True))


def _may_be_tried(one: StoredSet, now_ns: int) -> bool:
    if one.state.state is State.NEW:
        return one.manifest is not None and not one.state.held
    return one.may_be_taken(now_ns)


def _newer(sets: Iterable[StoredSet], site: str) -> tuple[StoredSet, ...]:
    """Return the sets of other sites that are newer than any restored here."""
    sets = tuple(sets)
    live = restored_order(sets)
    return tuple(
        one for one in _database(sets) if one.site != site and (live is None or one.order > live)
    )


def _stranger(one: StoredSet, peer: str) -> bool:
    return peer not in {"", one.site}


def _database(sets: Iterable[StoredSet]) -> tuple[StoredSet, ...]:
    return tuple(one for one in sets if one.kind is Kind.DATABASE)
