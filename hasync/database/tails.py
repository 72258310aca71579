"""The edge of tails: what was written on a standby, or on an active site that failed.

    NAME ──(written to since its last restore)──▶ NAME__tail_<oid>, and a set of kind tail
    the set, its database dropped ──(tail restore)──▶ a copy, by default NAME__tail_<id8>

A tail is never replaced and never dropped by any run: not even by `acknowledge`, after which a
person may drop the database by hand. `tail_diff` says what is in it and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.clock import Clock
from harness.errors import InputError
from hasync import role_file
from hasync.database import databases
from hasync.database.companions import Place, Preserved
from hasync.database.dump import compress
from hasync.database.psql import Psql
from hasync.database.publish import composed, database_of, dumped_into, fits
from hasync.database.sql import ident
from hasync.failure import Exit, Stop
from hasync.sets.backup import Kind, StoredSet
from hasync.sets.store import Store
from hasync.settings import Database, Settings

ACKNOWLEDGED: Final = "acknowledged_at_ns"  # among the measurements of a tail set
BY: Final = "acknowledged_by"
SEEN: Final = "diffed_at_ns"  # when a diff of it was made last
COPY: Final = "hasync.copy"  # the note on a copy: which tail set it was made of
_COPIES: Final = f"""
select d.oid::bigint as oid, d.datname as name, s as note, pg_database_size(d.oid) as size_bytes
from pg_database d join pg_db_role_setting r on r.setdatabase = d.oid and r.setrole = 0,
 unnest(r.setconfig) s where s like '{COPY}=%' order by d.oid"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Tail:
    """One tail: its database, its set, or both."""

    name: str  # of the database, or of a copy of it; "" when only the set is left
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
        return self._measured_ns(ACKNOWLEDGED)

    @property
    def seen_at_ns(self) -> int:
        """Return when somebody compared it with the live database (wall time); 0: nobody did."""
        return self._measured_ns(SEEN)

    def _measured_ns(self, name: str) -> int:
        found = self.stored.state.measurements.get(name, 0) if self.stored else 0
        return found if isinstance(found, int) else 0


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
    for name, oid, size, set_id in _copies(database):
        found.append(Tail(name, oid, size, catalogue.by_id(set_id)))
        told.add(set_id)
    alone = (stored for stored in catalogue.of(Kind.TAIL) if stored.id not in told)
    return (*found, *(Tail("", 0, stored.size_bytes, stored) for stored in alone))


def _copies(database: Database) -> Iterator[tuple[str, int, int, str]]:
    """Give name, OID, size and set of each copy on the server, whatever it is called."""
    for row in Psql(database, databases.MAINTENANCE).rows(_COPIES):
        note = Preserved.parse(str(row["note"]).partition("=")[2])
        if note is not None:
            yield row["name"], row["oid"], int(row["size_bytes"]), note.set_id


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


def seen(store: Store, one: Tail, clock: Clock) -> None:
    """Put on record that the tail was compared with the live database."""
    if one.stored is not None:
        store.note(one.stored, **{SEEN: clock.wall_ns()})


def refuse_unseen(one: Tail) -> None:
    """Return when somebody has looked at what is in the tail.

    Raises:
        Stop: REFUSED while nobody has.
    """
    if one.stored is None or one.seen_at_ns:
        return
    look = f"hasync tail diff {one.label}"
    if not one.name:
        look = f"hasync tail restore {one.label}, then {look}"
    raise Stop(
        Exit.REFUSED,
        f"nobody has looked at what is in {one.label}",
        fix=f"{look}; or say --unseen",
    )


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
    return names | (
        {one.stored.name.text, one.stored.name.id8, one.stored.id} if one.stored else set()
    )
