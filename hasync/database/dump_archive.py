"""The edge to a dump in directory format: what `pg_restore` would write of it, without a server.

The fingerprint and the sequences of a set are the archive's own: `pg_dump` reads sequences as they
stand, outside every snapshot, so what another session read of them would be another number.
Law: an archive is code (its reader has had holes); a peer's is authenticated first.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from harness import child
from harness.command import CommandOutput
from hasync.database.facts import SequenceValue
from hasync.database.psql import environment
from hasync.database.schema import fingerprint, sequence_values
from hasync.failure import Exit, Stop

READ_S = 3600.0
MAX_BYTES = 256 << 20  # of a schema's text
_VERSION = re.compile(r"^; +Dump Version: ([0-9.-]+)$", re.MULTILINE)
_SEQUENCE = re.compile(r"^\d+; \d+ \d+ SEQUENCE SET .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What an archive says of itself."""

    version: str  # of its format, "1.14-0"
    fingerprint: str  # of the schema it restores
    sequences: dict[str, SequenceValue]


def read(bin_folder: Path, archive: Path) -> ArchiveFacts:
    """Return the facts of the dump in the folder *archive*.

    Raises:
        Stop: pg_restore cannot read it.
    """
    listed = _pg_restore(bin_folder, ("-l",), archive)
    version = _VERSION.search(listed)
    wanted = "\n".join(_SEQUENCE.findall(listed))
    values = _pg_restore(bin_folder, ("-f", "-", "-L", "/dev/stdin"), archive, wanted + "\n")
    return ArchiveFacts(
        version[1] if version else "",
        fingerprint(_pg_restore(bin_folder, ("-s", "-f", "-"), archive)),
        {name: SequenceValue(*value) for name, value in sequence_values(values).items()},
    )


def _pg_restore(bin_folder: Path, words: tuple[str, ...], archive: Path, stdin: str = "") -> str:
    argv = [str(bin_folder / "pg_restore"), *words, str(archive)]
    done = child.run(
        argv, limit_s=READ_S, stdin=stdin.encode(), env=environment(), output_bytes=MAX_BYTES
    )
    if done.exit_code != 0 or done.cut:
        raise _refused(done)
    return done.stdout.decode("utf-8", "backslashreplace")


def _refused(done: CommandOutput) -> Stop:
    code = Exit.TIMEOUT if done.exit_code is None else Exit.FAILED
    return Stop(code, "the dump cannot be read", fact=done.complaint)
