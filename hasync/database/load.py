"""The edge that fills the new database from a decompressed set, and proves what is in it.

`SetRefusedError` says that the set itself is at fault, as far as one can see: it counts one failed
attempt. Whatever else goes wrong (no space, a lost server, a signal) says nothing of the set.
"""

import os
from pathlib import Path
from typing import Final

from hasync.database import provision
from hasync.database.companions import MAKING, MARKER, Marker, making
from hasync.database.databases import MAINTENANCE
from hasync.database.describe import describe
from hasync.database.facts import DatabaseFacts, compare
from hasync.database.psql import Psql, Session, connection, environment
from hasync.database.sql import ident, literal
from hasync.database.watched import ChildError, Watch
from hasync.failure import Exit, Stop
from hasync.settings import Database

_NOT_THE_SET: Final = (
    "server closed the connection",
    "the database system is",
    "could not connect",
)
# what is loaded is flushed by the first commit that waits for its log, long before the swap
_OPTIONS: Final = ("synchronous_commit=off", "lc_messages=C")
_MEMORY: Final = "maintenance_work_mem"  # kB
_HELPERS: Final = "max_parallel_maintenance_workers"  # since 11
_MEMORY_KB: Final = 256 << 10  # for each that sorts; more hardly helps
_SHARE: Final = 8  # of the machine's memory, for all of them: a standby's application is down


class SetRefusedError(Stop):
    """The set cannot be restored, or what came out of it is not what it says."""


def create(session: Session, name: str, facts: DatabaseFacts, limit_s: float) -> None:
    """Return once the empty database *name* is there, closed to clients, and noted as ours.

    By the note a later run knows that it may be dropped: the name alone may be anybody's.

    Raises:
        Stop: the server refused, for example an unknown locale.
    """
    version = session.value("select current_setting('server_version_num')::int")
    session.do(
        f"{provision.create(name, facts.properties, version)};\n"
        f"alter database {ident(name)} set {MAKING} = {literal(making(name))}",
        limit_s=limit_s,
    )


def load(database: Database, name: str, dump: Path, jobs: int, watch: Watch) -> None:
    """Return once pg_restore has read all of *dump* into the database *name*.

    Raises:
        SetRefusedError: pg_restore found an error.
        Stop: no space, no server, or no time left.
    """
    argv = [str(database.bin / "pg_restore"), "--exit-on-error", "-w", "-j", str(jobs), "-Fd"]
    argv += ["-d", connection(database, name), str(dump)]
    try:
        watch.carry_out([argv], _environment(*_sorting(database, jobs)))
    except ChildError as error:
        if error.code is Exit.NO_SPACE or any(words in error.said for words in _NOT_THE_SET):
            raise
        raise SetRefusedError(error.code, error.why, fact=error.fact) from error


def properties(session: Session, name: str, facts: DatabaseFacts) -> None:
    """Return once the database *name* has owner, rights, settings and comment of the source."""
    words = provision.properties(name, facts.properties)
    session.do(";\n".join(words), transaction=True)


def roles(session: Session, facts: DatabaseFacts) -> tuple[str, ...]:
    """Return the names of the roles that were missing here, and are there now, without password."""
    rows = session.rows("select rolname as name from pg_roles")
    existing = frozenset(row["name"] for row in rows)
    if words := provision.missing_roles(facts.roles, existing):
        session.do(";\n".join(words), transaction=True)
    return tuple(role.name for role in facts.roles if role.name not in existing)


def analyze(database: Database, name: str, jobs: int, watch: Watch) -> None:
    """Return once the planner has statistics of every table.

    Raises:
        Stop: vacuumdb failed.
    """
    argv = [str(database.bin / "vacuumdb"), "--analyze-only", "-q", "-w", "-j", str(jobs)]
    argv += ["-d", connection(database, name)]
    watch.carry_out([argv], _environment())


def verify(database: Database, name: str, facts: DatabaseFacts) -> None:
    """Return when the database *name* is, in every fact, what the set says.

    Raises:
        SetRefusedError: it is not; tells the differences.
        Stop: it cannot be read.
    """
    with Psql(database, name).session() as session:
        told = compare(facts, describe(session))
    if told:
        raise SetRefusedError(
            Exit.NOT_VERIFIED, "what was restored is not what the set says", fact="; ".join(told)
        )


def mark(database: Database, name: str, marker: Marker) -> Marker:
    """Return the marker that is now on the database *name*: from here on it is a proved one."""
    with Psql(database, MAINTENANCE).session() as session:
        xid = session.value("select txid_current()")
        proved = Marker(marker.set_id, marker.sequence, marker.epoch, marker.site, xid)
        session.do(f"alter database {ident(name)} set {MARKER} = {literal(proved.encode())}")
    return proved


def _sorting(database: Database, jobs: int) -> tuple[str, ...]:
    """Return the settings with which indexes are built: never less memory than the server gives."""
    rows = Psql(database, MAINTENANCE).rows(
        f"select name, setting from pg_settings where name in ('{_MEMORY}', '{_HELPERS}')"  # noqa: S608 - constants
    )
    given = {row["name"]: int(row["setting"]) for row in rows}
    processors = os.cpu_count() or 1
    machine_kb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 10
    memory_kb = max(given[_MEMORY], min(_MEMORY_KB, machine_kb // _SHARE // jobs))
    # with a job for each processor, helpers of one index would only be in the way of the others
    alone = (f"{_HELPERS}=0",) if _HELPERS in given and jobs >= processors else ()
    return (f"{_MEMORY}={memory_kb}kB", *alone)


def _environment(*more: str) -> dict[str, str]:
    found = dict(environment())
    options = " ".join(f"-c {option}" for option in (*_OPTIONS, *more))
    return found | {"PGOPTIONS": f"{found.get('PGOPTIONS', '')} {options}".strip()}
