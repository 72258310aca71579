"""The facts of one database that its set carries, and that a restored one must have again.

Laws
- The rows are counted in the dump's own snapshot, the sequences are the dump's own: a set whose
  counts differ from its content cannot be published while somebody writes.
- Exit code 0 of `pg_restore` proves nothing; `compare` giving () does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hasync.database.properties import DatabaseRole, Properties, differences
from hasync.shape import from_json, to_json

MAX_DIFFERENCES = 20  # told one by one; the rest is a number
LARGE_OBJECTS = "large objects"  # beside the names of tables, in what `describe` tells


@dataclass(frozen=True, slots=True)
class SequenceValue:
    """Where a sequence stands."""

    last: int
    called: bool  # False: the next value is `last` itself


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """Everything told; relations by their name as `hasync.database.sql.qualified` writes it."""

    tables: Mapping[str, int]  # rows of each table whose rows are dumped, without its children's
    unlogged: tuple[str, ...]  # of these tables; a crash empties them
    sequences: Mapping[str, SequenceValue]
    large_objects: int
    fingerprint: str  # of the schema, see hasync.database.schema
    properties: Properties
    extensions: Mapping[str, str]
    roles: tuple[DatabaseRole, ...]  # all of the cluster but PostgreSQL's own
    tablespaces: tuple[str, ...]  # that the database uses, but the two of every cluster
    matviews: Mapping[str, bool]  # populated
    unvalidated: tuple[str, ...]  # constraints
    invalid_indexes: tuple[str, ...]
    disabled_triggers: tuple[str, ...]
    server_version: int  # 150018
    pg_dump_version: int  # 150018
    archive_version: str  # of the dump's format, "1.14-0"; "" for a live database
    size_bytes: int  # pg_database_size

    def to_json(self) -> dict[str, Any]:
        """Return the facts as they stand in a manifest."""
        found: dict[str, Any] = to_json(self)
        return found

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the facts in a manifest's *value*.

        Raises:
            InputError: a field is missing, unknown, or of another type.
        """
        return from_json(cls, value, "facts")

    @property
    def rows(self) -> int:
        """Return the rows of all tables."""
        return sum(self.tables.values())

    @property
    def empty(self) -> bool:
        """Say whether there is nothing to lose: no table, sequence, view or large object."""
        return not (self.tables or self.sequences or self.matviews or self.large_objects)


def content_differences(wanted: DatabaseFacts, found: DatabaseFacts) -> tuple[str, ...]:
    """Return in words where the rows, sequences, large objects or the schema differ.

    For "was it written to?": *wanted* from the manifest, *found* in the live database.
    """
    told = _told("table", _rows(wanted), _rows(found))
    told += _told("sequence", _sequences(wanted), _sequences(found))
    if wanted.large_objects != found.large_objects:
        told.append(f"large objects: wanted {wanted.large_objects}, found {found.large_objects}")
    if _same_writer(wanted, found) and wanted.fingerprint != found.fingerprint:
        told.append("schema: another fingerprint")
    return _bounded(told)


def compare(wanted: DatabaseFacts, found: DatabaseFacts) -> tuple[str, ...]:
    """Return in words all in which a restored database is not what the set says; () proves it."""
    told = [*content_differences(wanted, found), *differences(wanted.properties, found.properties)]
    told += [f"extension {name}: missing" for name in wanted.extensions.keys() - found.extensions]
    told += [
        f"materialized view {name}: {'not populated' if populated else 'populated'}"
        for name, populated in sorted(wanted.matviews.items())
        if found.matviews.get(name, populated) != populated
    ]
    told += [f"index {name}: invalid" for name in found.invalid_indexes]
    told += _names("unvalidated constraint", wanted.unvalidated, found.unvalidated)
    told += _names("disabled trigger", wanted.disabled_triggers, found.disabled_triggers)
    return _bounded(told)


def _same_writer(wanted: DatabaseFacts, found: DatabaseFacts) -> bool:
    """Say whether the two schema texts were written by the same major version.

    Another one may word the same schema differently; then the fingerprints tell nothing.
    """
    return all(
        getattr(wanted, name) // 10_000 == getattr(found, name) // 10_000
        for name in ("server_version", "pg_dump_version")
    )


def _told(what: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return a line for each name that one side lacks, or says otherwise."""
    told = [f"{what} {name}: missing, wanted {wanted[name]}" for name in _less(wanted, found)]
    told += [f"{what} {name}: not in the set, {found[name]}" for name in _less(found, wanted)]
    told += [
        f"{what} {name}: wanted {wanted[name]}, found {found[name]}"
        for name in sorted(wanted.keys() & found)
        if wanted[name] != found[name]
    ]
    return told


def _rows(facts: DatabaseFacts) -> Mapping[str, str]:
    return {name: f"{count} rows" for name, count in facts.tables.items()}


def _sequences(facts: DatabaseFacts) -> Mapping[str, str]:
    return {
        name: f"{value.last}{'' if value.called else ' (not called)'}"
        for name, value in facts.sequences.items()
    }


def _names(what: str, wanted: tuple[str, ...], found: tuple[str, ...]) -> list[str]:
    told = [f"{what} {name}: missing" for name in sorted(set(wanted) - set(found))]
    return told + [f"{what} {name}: not in the set" for name in sorted(set(found) - set(wanted))]


def _less(these: Mapping[str, object], those: Mapping[str, object]) -> list[str]:
    return sorted(these.keys() - those)


def _bounded(told: list[str]) -> tuple[str, ...]:
    """Return the first of them, and how many more there are."""
    if len(told) <= MAX_DIFFERENCES:
        return tuple(told)
    return (*told[:MAX_DIFFERENCES], f"and {len(told) - MAX_DIFFERENCES} more differences")
