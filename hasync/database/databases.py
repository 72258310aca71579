"""NAME and its companions as they stand in the server's catalogue: the facts, whatever a run says.

Read by OID and note, never from memory of ours: a run killed between a change and its record finds
here what was done.
"""

from dataclasses import dataclass
from typing import Final

from harness.errors import InputError
from hasync.database.companions import (
    MAKING,
    MARKER,
    REPLACED,
    TAIL,
    Companions,
    Marker,
    Place,
    Preserved,
    Replaced,
    is_making,
)
from hasync.database.psql import Psql, Session
from hasync.database.sql import ident
from hasync.failure import Exit, Stop
from hasync.settings import Database

MAINTENANCE: Final = "postgres"  # where we are connected while names change
_RESERVED: Final = frozenset({MAINTENANCE, "template0", "template1"})
_INVALID: Final = -2  # datconnlimit of a database whose DROP was cut short (15.4 and later)
_FACTS: Final = """
select d.oid::bigint as oid, d.datname as name, d.datallowconn as accepts,
 d.datconnlimit as connection_limit,
 (select array_agg(s) from pg_db_role_setting r, unnest(r.setconfig) s
   where r.setdatabase = d.oid and r.setrole = 0 and s like 'hasync.%') as notes
from pg_database d order by d.oid"""


@dataclass(frozen=True, slots=True)
class Known:
    """One database of ours."""

    oid: int
    name: str
    place: Place
    accepts: bool
    connection_limit: int
    marker: Marker | None
    replaced: Replaced | None
    preserved: Preserved | None
    making: bool = False  # made by a run of ours, which says so on it

    @property
    def invalid(self) -> bool:
        """Say whether it is the rest of an interrupted DROP."""
        return self.connection_limit == _INVALID


@dataclass(frozen=True, slots=True)
class Databases:
    """NAME and its companions at one moment."""

    all: tuple[Known, ...]

    @property
    def live(self) -> Known | None:
        """Return the database that clients see; None when there is none."""
        return next((one for one in self.all if one.place is Place.LIVE), None)

    def of(self, place: Place) -> tuple[Known, ...]:
        """Return all in one place; of the previous ones the one replaced last comes first."""
        found = [one for one in self.all if one.place is place]
        return tuple(sorted(found, key=_replaced_last, reverse=True))

    @property
    def replaced_last(self) -> Known | None:
        """Return what a rollback goes back to: a previous database, or a tail."""
        parked = (*self.of(Place.PREVIOUS), *(one for one in self.of(Place.TAIL) if one.replaced))
        return max((one for one in parked if not one.invalid), key=_replaced_last, default=None)

    def by_oid(self, oid: int) -> Known | None:
        """Return the database *oid*; None when it is gone, or not ours."""
        return next((one for one in self.all if one.oid == oid), None)


def _replaced_last(one: Known) -> tuple[int, tuple[int, int], int]:
    """Return the order in which databases ceased to be NAME."""
    xid = one.replaced.xid if one.replaced else -1
    return xid, one.marker.order if one.marker else (-1, -1), one.oid


def companions(database: Database) -> Companions:
    """Return the names beside NAME.

    Raises:
        InputError: NAME is one that the server itself needs, or too long.
    """
    if database.name in _RESERVED:
        why = "the server needs it itself"
        raise InputError(why, field="database.name", value=database.name)
    return Companions(database.name)


def read(session: Session, names: Companions) -> Databases:
    """Return what the catalogue has of NAME, now."""
    found = []
    for row in session.rows(_FACTS):
        place = names.place(row["name"], row["oid"])
        if place is not Place.FOREIGN:
            notes = dict(note.split("=", 1) for note in row["notes"] or ())
            found.append(
                Known(
                    row["oid"],
                    row["name"],
                    place,
                    row["accepts"],
                    row["connection_limit"],
                    Marker.parse(notes.get(MARKER, "")),
                    Replaced.parse(notes.get(REPLACED, "")),
                    Preserved.parse(notes.get(TAIL, "")),
                    is_making(notes.get(MAKING, ""), row["name"]),
                )
            )
    return Databases(tuple(found))


def look(database: Database) -> Databases:
    """Return what the catalogue has of NAME, through a connection of its own."""
    with Psql(database, MAINTENANCE).session() as session:
        return read(session, companions(database))


def drop(session: Session, one: Known, limit_s: float) -> None:
    """Remove a database for good, after its sessions; never NAME, never a tail.

    From 15 on it waits for every backend of the server, even one that is stuck in another database;
    cut short by *limit_s* it leaves a database that is invalid, and dropped by the next run.

    Raises:
        Stop: it may not be dropped, or the server refused.
    """
    if one.place not in {Place.NEW, Place.PREVIOUS}:
        raise Stop(Exit.FAILED, "is never dropped", fact=f"{one.name} is {one.place}")
    version = session.value("select current_setting('server_version_num')::int")
    force = " with (force)" if version >= 130000 else ""  # noqa: PLR2004 - since then
    session.do(
        f"select pg_terminate_backend(pid) from pg_stat_activity where datid = {one.oid:d};\n"  # noqa: S608 - quoted names, numbers
        f"drop database if exists {ident(one.name)}{force}",
        limit_s=limit_s,
    )
