"""The edge that dumps a database into a folder, with the facts of the very same content.

    snapshot ─▶ lock all tables ─▶ pg_dump -Fd -Z0 -j ─▶ count rows ─▶ archive's facts ─▶ zstd

pg_dump compresses each table on one processor, so it does not: `zstd` does, on all of them.

A lock that is asked for queues behind an ALTER, DROP or TRUNCATE that waits, and that one waits for
us. So pg_dump starts right after our locks, gives up soon, and all is tried again; the last time
with one job, because the workers of several ask for every table anew, as long as the dump lasts.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness import child
from harness.clock import Clock
from hasync import durable
from hasync.database import dump_archive
from hasync.database.describe import dump_encoding, facts
from hasync.database.facts import DatabaseFacts
from hasync.database.psql import Psql, Session, SqlError, connection, environment
from hasync.database.snapshot import LOCK_TIMEOUT, VANISHED, Snapshot, blockers, frozen, locked
from hasync.database.watched import ChildError, Watch, disk
from hasync.failure import Exit, Stop
from hasync.settings import Database

DUMP: Final = "dump"  # the folder in a set's data/; each file in it ends with SUFFIX
SUFFIX: Final = ".zst"
LEVEL: Final = 3
TRIES: Final = 5  # while somebody else's DDL comes between
LOCK_TRIES: Final = 20  # of these cost next to nothing: no file has been written yet
OWN_LOCK_S: Final = (
    10.0  # for pg_dump's locks: we have them all, so it waits for DDL that waits for us
)
LARGE_BYTES: Final = 32 << 20  # from here on one file keeps all processors busy
BATCH: Final = 500  # files for one zstd: a command line has its limits
WIDTH: Final = max(1, min(8, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Dumped:
    """What was dumped, and when it was true."""

    facts: DatabaseFacts
    at_ns: int  # wall time of the snapshot


class _Disturbed(Exception):  # noqa: N818 - never leaves this module
    """DDL of somebody else came between; `stop` is what to tell if it always does."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        super().__init__(str(stop))


def dump(  # noqa: PLR0913 - one dump, its limits and its clock
    database: Database, name: str, data: Path, *, jobs: int, limit_s: float, clock: Clock
) -> Dumped:
    """Return the facts of the database *name* once its dump lies in *data*/dump.

    Raises:
        Stop: a table stayed locked (who holds it), no space, no time, or pg_dump failed.
    """
    watch = Watch(disk(database, data), clock, clock.monotonic_ns() + round(limit_s * 1e9))
    last = Stop(Exit.FAILED, "no dump was tried")
    for jobs_now in (*[jobs] * (TRIES - 1), 1):
        try:
            found, at_ns = _dumped(Psql(database, name), data / DUMP, jobs_now, watch)
        except _Disturbed as error:
            durable.remove_tree(data / DUMP)
            last = error.stop
            continue
        archive = dump_archive.read(database.bin, data / DUMP)
        told = replace(
            found,
            fingerprint=archive.fingerprint,
            sequences=archive.sequences,
            archive_version=archive.version,
        )
        return Dumped(told, at_ns)
    raise last


def _dumped(psql: Psql, archive: Path, jobs: int, watch: Watch) -> tuple[DatabaseFacts, int]:
    """Return the facts of what is now in the folder *archive*, and when it was true.

    Raises:
        _Disturbed: try again.
        Stop: as `dump`.
    """
    database = psql.database
    wait_s = min(database.lock_wait_s, OWN_LOCK_S)
    with psql.session() as session:
        at_ns = watch.clock.wall_ns()
        try:
            with _held(session) as snapshot:
                # --no-sync: these files become others, which are flushed before they are a set
                argv = [str(database.bin / "pg_dump"), "-Fd", "-Z0", "--no-sync", "-w"]
                argv += [f"-j{jobs:d}", f"--snapshot={snapshot.id}", f"--file={archive}"]
                argv += [f"--lock-wait-timeout={round(wait_s * 1e3)}"]
                argv += [
                    f"--encoding={dump_encoding(session)}",
                    "-d",
                    connection(database, psql.name),
                ]
                watch.carry_out([argv], environment())
                return facts(session, snapshot, ""), at_ns
        except SqlError as error:
            if error.sqlstate not in {VANISHED, LOCK_TIMEOUT}:
                raise
            raise _Disturbed(error) from error
        except ChildError as error:
            told = _blockers(psql)  # our session still has its locks: whoever waits, waits
            if not told:
                raise
            raise _Disturbed(locked(told, wait_s)) from error


@contextmanager
def _held(session: Session) -> Iterator[Snapshot]:
    """Give a `frozen` snapshot, tried again while tables vanish between it and their locks."""
    with ExitStack() as stack:
        for _ in range(LOCK_TRIES - 1):
            try:
                snapshot = stack.enter_context(frozen(session))
            except SqlError as error:
                if error.sqlstate != VANISHED:
                    raise
                session.do("rollback")
                continue
            break
        else:
            snapshot = stack.enter_context(frozen(session))
        yield snapshot


def _blockers(psql: Psql) -> tuple[str, ...]:
    """Return who is in the way; () when the server is: then that is not why."""
    try:
        return blockers(psql)
    except Stop:
        return ()


def compress(database: Database, data: Path, *, limit_s: float, clock: Clock) -> None:
    """Return once each file of *data*/dump is compressed, and ends with `.zst`.

    Raises:
        Stop: no space, no time, or zstd failed.
    """
    deadline_ns = clock.monotonic_ns() + round(limit_s * 1e9)
    watch = Watch(disk(database, data), clock, deadline_ns)
    with durable.telling("read", data / DUMP):
        sizes = {path: path.stat().st_size for path in sorted((data / DUMP).iterdir())}
    large = [path for path, size in sizes.items() if size >= LARGE_BYTES]
    small = [path for path, size in sizes.items() if size < LARGE_BYTES]
    small.sort(key=lambda path: sizes[path], reverse=True)
    words = ["zstd", "-q", f"-{LEVEL}", "--rm"]
    lines = [[*words, "-T0", "--", *map(str, some)] for some in _batches(large)]
    for line in lines:
        watch.carry_out([line], child.environment())
    shares = [list(_batches(small[share::WIDTH])) for share in range(WIDTH)]
    while any(shares):
        some = [share.pop(0) for share in shares if share]
        watch.carry_out(
            [[*words, "-T1", "--", *map(str, one)] for one in some], child.environment()
        )


def _batches(paths: Sequence[Path]) -> Iterable[Sequence[Path]]:
    return (paths[at : at + BATCH] for at in range(0, len(paths), BATCH))
