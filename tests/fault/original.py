"""A test double of the original workflow: what the guide describes, hazards and all.

    python3 original.py [-h] [-t TIMEOUT] [-j JOBS] [-b BACKUPS] REMOTE_HOST

Written anew from the guide's description, to be run in a site of the lab and nowhere else: it
drops the database before the new one exists. It works on a clean day. The oracles have to find
what is wrong with it on every other day; a comment names the hazard at each such place.

A minute is as long as $MINUTE_S says, so that a test need not wait; $STAMP stands in for the clock.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

DATABASE = "ngp"
STABLE_MINUTES = 5
START_MINUTES = 1
LOOK_MINUTES = 1 / 12
OPTIONS = {"t": 3600, "j": 1, "b": 14}


@dataclass(slots=True)
class Workflow:
    """One run on one host."""

    home: Path
    host: str
    options: dict[str, int]
    minute_s: float = field(default_factory=lambda: float(os.environ.get("MINUTE_S", "60")))

    @property
    def backups(self) -> Path:
        """Return the folder that own backups and received ones share (H66)."""
        return self.home / "pgbackups" / "backups"

    def log(self, text: str) -> None:
        """Append a line to the log, opened anew each time (H76)."""
        with (self.home / "pgbackups" / "pgsync.log").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} pgsync: {text}\n")

    def command(self, *words: str | Path) -> int:
        """Return the exit code of *words*, however long they take (H32)."""
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.stderr:
            self.log(f"ERROR: {done.stderr.strip()}")
        return done.returncode

    def wait(self, minutes: float) -> None:
        """Let time pass."""
        time.sleep(minutes * self.minute_s)  # noqa: TID251 - the original waits by the clock

    def run(self) -> int:
        """Return the exit code of the whole run."""
        if self.command("service", DATABASE, "status") == 0:
            return self.active()
        try:  # whatever else the probe said is taken for "standby" (H10)
            return self.standby()
        finally:
            if self.database("status") == 0:
                self.database("stop")  # even when it ran before us (H11)

    def active(self) -> int:
        """Dump, pack, prune, send."""
        self.wait(START_MINUTES)
        stamp = os.environ.get("STAMP") or time.strftime("%Y%m%d%H%M%S")  # local time (H27)
        dump = self.backups / f"pgbackup.{stamp}"  # the same name on both sites (H14)
        jobs = ["-j", str(self.options["j"])] if self.options["j"] > 1 else []
        if self.command("pg_dump", DATABASE, "-F", "directory", "-f", dump, *jobs):
            return 1
        packed = dump.with_name(f"{dump.name}.tgz")  # its final name from the first byte (H40)
        self.command("tar", "-C", self.backups, "-czf", packed, dump.name)
        shutil.rmtree(dump)
        self.prune()  # before the new one is sent (H60)
        self.command("rsync", "-a", packed, f"{os.environ['USER']}@{self.host}:{self.backups}")
        self.log("INFO: sync completed")  # whatever came of it (H30)
        return 0

    def standby(self) -> int:
        """Wait for a file, and replace the database by what is in it."""
        if self.database("start"):
            return 1
        if not self.arrived():
            self.log("ERROR: timeout waiting for new import")
            return 1
        packed = max(self.backups.glob("pgbackup*"))  # by name (H26, H27)
        self.wait_until_whole(packed)
        self.command("tar", "-C", self.backups, "-xzf", packed)  # unauthenticated (H41, H52)
        dump = packed.with_suffix("")
        if self.command("dropdb", DATABASE):  # before the restore is known to work (H01)
            self.log("ERROR: failed to drop ngp database")
        if self.command("createdb", DATABASE):
            return 1
        jobs = ["-j", str(self.options["j"])] if self.options["j"] > 1 else []
        failed = self.command("pg_restore", "-d", DATABASE, *jobs, dump)  # no -e (H03)
        shutil.rmtree(dump)
        if failed:
            self.log("ERROR: latest import failed")
            return 1
        self.log("INFO: latest import succeeded")
        self.prune()
        return 0

    def arrived(self) -> bool:
        """Say whether the number of files grew in time (H21, H22)."""
        before = self.count()
        self.log("INFO: waiting for new import")
        due = time.monotonic() + self.options["t"] * self.minute_s / 60
        while self.count() <= before:
            if time.monotonic() > due:
                return False  # for ever: tomorrow this file is not new any more (H06)
            self.wait(LOOK_MINUTES)
        return True

    def count(self) -> int:
        """Return the number of files, of whatever kind; what rsync hides meanwhile is not seen."""
        return sum(not path.name.startswith(".") for path in self.backups.iterdir())

    def wait_until_whole(self, packed: Path) -> None:
        """Wait until the file has not grown for five minutes."""
        size, still = packed.stat().st_size, 0
        while still < STABLE_MINUTES:
            self.wait(1)
            grown = packed.stat().st_size
            still = 0 if grown > size else still + 1
            size = max(size, grown)

    def prune(self) -> None:
        """Remove all but the last files by name (H61), none at all with -b 0 (H62)."""
        for old in sorted(self.backups.glob("pgbackup*.tgz"), reverse=True)[self.options["b"] :]:
            old.unlink()

    def database(self, action: str) -> int:
        """Return the exit code of `pg_ctl action`."""
        log = self.home / "pgbackups" / "postgres.log"
        return self.command("pg_ctl", action, "-s", "-w", "-t", "60", "-l", log)


def parse(argv: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Return the last word as the host, wherever it stands, and the options found (H79, H62)."""
    options = dict(OPTIONS)
    for place, word in enumerate(argv):
        if word.strip("-") in options:
            options[word.strip("-")] = int(argv[place + 1])
    return argv[-1], options


def main(argv: Sequence[str]) -> int:
    """Run the workflow once."""
    host, options = parse(argv)
    return Workflow(Path(os.environ["HOME"]), host, options).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
