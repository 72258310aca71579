"""A process that writes rows into one database, and keeps a ledger of those acknowledged elsewhere.

    python -m tests.fault.writer FOLDER_OF_SOCKET NAME LEDGER [RATE_HZ]

It imports nothing of what is tested. A row is in the ledger only after the server said COMMIT, so
each line is a promise: that row must be found again. It ends when its standard input does, and
then says on standard output how many rows it wrote and how often it was refused.
"""

import json
import select
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.fault.postgres_wire import Address, Connection, ServerError

STEP, MODULUS = 2_654_435_761, 1 << 32  # as in tests.fault.content: a promise between the two
ROW = """
insert into calls values ('{name}', {n}, {crc});
insert into parties values ('{name}', {n}, '+12025550{tail:03}');
insert into totals values ('{name}', 1, {crc})
  on conflict (writer) do update set n = totals.n + 1, crc = totals.crc + excluded.crc;
"""


@dataclass(slots=True)
class Writer:
    """Writes rows 1, 2, 3 … of *name*, going on where the database stands."""

    address: Address
    name: str
    ledger: TextIO
    written: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def work(self, rate_hz: float) -> None:
        """Write until standard input ends; a session that breaks is begun again."""
        while not _told_to_end(1.0 / rate_hz):
            try:
                with Connection(self.address) as connection:
                    self._session(connection, rate_hz)
            except ServerError as error:
                self.refused[error.sqlstate] = self.refused.get(error.sqlstate, 0) + 1

    def _session(self, connection: Connection, rate_hz: float) -> None:
        last = f"select coalesce(max(n), 0) from calls where writer = '{self.name}'"  # noqa: S608
        n = int(connection.query(last)[0][0] or 0)
        due = time.monotonic()
        while not _told_to_end(max(0.0, due - time.monotonic())):
            n, due = n + 1, due + 1.0 / rate_hz
            crc = n * STEP % MODULUS
            connection.query(ROW.format(name=self.name, n=n, crc=crc, tail=100 + n % 100))
            self.ledger.write(f"{self.name} {n}\n")
            self.ledger.flush()
            self.written += 1


def _told_to_end(within_s: float) -> bool:
    return bool(select.select([sys.stdin], [], [], within_s)[0])


def main(argv: Sequence[str]) -> int:
    """Write rows until standard input ends."""
    folder, name, ledger, *rate = argv
    with Path(ledger).open("a", encoding="utf-8") as file:
        writer = Writer(Address(Path(folder), "ngp"), name, file)
        writer.work(float(rate[0]) if rate else 100.0)
    sys.stdout.write(json.dumps({"written": writer.written, "refused": writer.refused}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
