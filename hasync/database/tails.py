"""The edge of tails: what was written on a standby, or on an active site that failed.

    NAME ──(written to since its last restore)──▶ NAME__tail_<oid>, and a set of kind tail

A tail is never replaced and never dropped by any run: not even by `acknowledge`, after which a
person may drop the database by hand. `tail_diff` says what is in it and nowhere else.
"""

from dataclasses import dataclass
from typing import Final

from harness.clock import Clock
from harness.errors import InputError
from hasync import role_file
from hasync.database import databases
from hasync.database.companions import Place
from hasync.database.dump import compress
from hasync.database.psql import Psql
from hasync.database.publish import composed, database_of, dumped_into, fits
from hasync.database.sql import ident
from hasync.failure import Exit, Stop
from hasync.sets.backup import Kind, StoredSet
from hasync.sets.store import Store
from hasync.settings import Settings

ACKNOWLEDGED: Final = "acknowledged_at_ns"  # among the measurements of a tail set
BY: Final = "acknowledged_by"


@dataclass(frozen=True, slots=True)
class Tail:
    """One tail: its database, its set, or both."""

    name: str  # of the database; "" when only the set is left
    oid: int  # 0 then
    size_bytes: int  # of the database; of the set when only that is left
    stored: StoredSet | None  # None: no set holds it yet

    @property
    def label(self) -> str:
        """Return what the commands call it: the database's name, or the set's."""
        return self.name or (self.stored.name.text if self.stored else "")

    @property
    def acknowledged_at_ns(self) -> int:
        """Return when a person took note of it (wall time); 0: nobody has."""
        found = self.stored.state.measurements.get(ACKNOWLEDGED, 0) if self.stored else 0
        return int(found)


def dump(settings: Settings, store: Store, name: str, *, clock: Clock, jobs: int = 1) -> StoredSet:
    """Return the tail set, VERIFIED, of the database *name* as it is now.

    Raises:
        Stop: no space, no time, a lock, or a program failed; there is no set then.
    """
    fits(settings, name)
    database = database_of(settings)
    epoch = role_file.read(settings.folders.state).epoch
    with store.begin(Kind.TAIL) as draft:
        dumped = dumped_into(settings, name, draft, jobs, clock)
        compress(database, draft.data, limit_s=settings.limits.dump_s, clock=clock)
        return store.publish(draft, composed(store, draft, dumped, epoch))


def tails(settings: Settings, store: Store) -> tuple[Tail, ...]:
    """Return every tail of this host; PostgreSQL must be up.

    Raises:
        Stop: the server cannot be asked.
    """
    database = database_of(settings)
    catalogue = store.scan()
    found, told = [], set()
    for one in databases.look(database).of(Place.TAIL):
        stored = catalogue.by_id(one.preserved.set_id) if one.preserved else None
        size = Psql(database, databases.MAINTENANCE).value(f"select pg_database_size({one.oid:d})")
        found.append(Tail(one.name, one.oid, int(size), stored))
        told |= {stored.id} if stored else set()
    alone = (stored for stored in catalogue.of(Kind.TAIL) if stored.id not in told)
    return (*found, *(Tail("", 0, stored.size_bytes, stored) for stored in alone))


def tail(settings: Settings, store: Store, label: str) -> Tail:
    """Return the tail that *label* names: its database, its OID, its set's name or id.

    Raises:
        InputError: there is none, or there are two.
        Stop: the server cannot be asked.
    """
    every = tails(settings, store)
    fit = [one for one in every if label in _labels(one)]
    if len(fit) != 1:
        known = ", ".join(one.label for one in every) or "there are none"
        why = "no such tail" if not fit else "names two tails"
        raise InputError(why, field="tail", value=label, fix=f"known: {known}")
    return fit[0]


def acknowledge(store: Store, one: Tail, by: str, clock: Clock) -> str:
    """Return the SQL that a person may now run to drop the tail's database; "" without one.

    Raises:
        Stop: REFUSED while no set holds the tail's content: it would be gone with its database.
    """
    stored = one.stored
    if stored is None or not stored.proved:
        state = "none" if stored is None else str(stored.state.state)
        raise Stop(
            Exit.REFUSED,
            f"no sound set holds {one.label}",
            fact=f"set: {state}",
            fix="run pgsync once more (it dumps tails that have no set), or hasync verify",
        )
    store.note(stored, **{ACKNOWLEDGED: clock.wall_ns(), BY: by})  # type: ignore[arg-type] # int and str
    return f"drop database {ident(one.name)};" if one.name else ""


def _labels(one: Tail) -> set[str]:
    names = {one.name, str(one.oid)} if one.name else set()
    return names | ({one.stored.name.text, one.stored.id} if one.stored else set())
