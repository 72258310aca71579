"""The edge that puts on record which set is live: after a swap, or an interruption of one."""

from collections.abc import Mapping

from harness.clock import Clock
from hasync.database import databases, live
from hasync.sets.backup import State
from hasync.sets.store import Store
from hasync.settings import Database, Settings

UNCONFIRMED = frozenset({State.NEW, State.VERIFIED, State.FAILED})  # not CORRUPT: that is of files


def confirm(
    settings: Settings,
    database: Database,
    store: Store,
    clock: Clock,
    seconds: Mapping[str, float],
) -> str:
    """Return the id of the set that is live, recorded as restored; "" when none is.

    From the catalogue alone, so that it can be said again after any interruption. A set whose files
    are corrupt stays that: what was made of them once says nothing of them now.
    """
    one = databases.look(database).live
    if one is None:
        return ""
    live.record(settings.folders.state, database, one, clock)
    if one.marker is None:
        return ""
    stored = store.scan().by_id(one.marker.set_id)
    known = stored.state.state if stored else State.CORRUPT
    if stored is not None and (known in UNCONFIRMED or (known is State.RESTORED and seconds)):
        told = {f"{name}_s": round(took_s, 3) for name, took_s in seconds.items()}
        store.mark(stored, State.RESTORED, "", **told)
    return one.marker.set_id
