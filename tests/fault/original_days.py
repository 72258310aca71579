"""Days in the life of two hosts that run the stand-in of the original workflow."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fault.content import drop_all, look, reset
from tests.fault.oracles import Rows, rows_in_dump
from tests.fault.postgres_wire import Connection
from tests.fault.site import LIMIT_S, Result, Site, Started, python, until
from tests.fault.two_sites import TwoSites, acquaint

RUNNING, STOPPED, NO_PERMISSION = "0", "3", "4"  # of `service ngp status`
MINUTE_S = "0.02"  # long enough that files arrive one after the other, as short as can be
LONG = "90000"  # seconds of a minute_s as above: 30 s here
LATER = "20310101060000"  # for a second backup: two of one second would have one name
KEPT = "pgbackups/backups"
PROGRAM = Path(__file__).with_name("original.py")
ROW = "insert into calls values ('{0}', {1}, {1} * 2654435761 % 4294967296)"


@dataclass(frozen=True, slots=True)
class Days:
    """Both hosts, set up as the guide says: a active, b on warm standby with PostgreSQL down."""

    lab: TwoSites

    @property
    def a(self) -> Site:
        """Return the active host."""
        return self.lab.a

    @property
    def b(self) -> Site:
        """Return the standby."""
        return self.lab.b

    def prepare(self) -> None:
        """Bring both back to the morning of the first day."""
        self.lab.mend()
        for site in (self.a, self.b):
            for name in ("pgbackups", "bin/pg_restore"):
                if (site.files / name).exists():
                    site.remove(name)
            site.must("mkdir", "-p", KEPT)
            if not site.answers:
                assert site.postgres("start").code == 0
            reset(site)
            site.write("code/original.py", PROGRAM.read_text())
        acquaint(self.a, self.b)  # a test of hasync leaves keys that may run its agent alone
        acquaint(self.b, self.a)
        drop_all(self.b)
        self.b.sql("create database ngp")
        self.a.service(RUNNING)
        self.b.service(STOPPED)
        self.b.postgres("stop")

    def words(self, site: Site, *options: str) -> tuple[str | Path, ...]:
        """Return the command line of the workflow at *site*; the peer stands last."""
        other = self.b if site is self.a else self.a
        return (
            python(),
            site.home / "code/original.py",
            *(options or ("-t", LONG)),
            other.address,
        )

    def env(self, site: Site, **more: str) -> Mapping[str, str]:
        """Return what the guide's .bash_profile sets."""
        socket = {"PGHOST": str(site.home / "run"), "PGUSER": "ngp"}
        return socket | {"PGDATA": str(site.home / "pgdata"), "MINUTE_S": MINUTE_S} | more

    def run(self, site: Site, *options: str, **env: str) -> Result:
        """Return how one run at *site* ended."""
        return site.run(*self.words(site, *options), env=self.env(site, **env))

    def given(self, site: Site, *words: str) -> Result:
        """Return how a run with exactly these *words* ended."""
        program = (python(), site.home / "code/original.py")
        return site.run(*program, *words, env=self.env(site))

    @contextmanager
    def waiting(self, site: Site, *options: str) -> Iterator[Started]:
        """Give a run of the standby that waits for a file; it is over when the block is left."""
        log = site.files / "pgbackups/pgsync.log"
        before = log.read_text().count("waiting") if log.exists() else 0
        run = site.start(*self.words(site, *options), log="run.log", env=self.env(site))
        try:
            until(lambda: log.exists() and log.read_text().count("waiting") > before, "it waits")
            yield run
            run.wait(LIMIT_S)
        finally:
            run.kill()

    def synchronise(self, to: Site | None = None, **env: str) -> Result:
        """Return how the standby's run ended on a day on which all is well."""
        standby = to or self.b
        with self.waiting(standby) as run:
            sent = self.run(self.a if standby is self.b else self.b, **env)
            assert sent.code == 0, sent.err
        return Result(run.wait(), "", "")

    def files(self, site: Site) -> list[str]:
        """Return the names of the backups at *site*."""
        return sorted(path.name for path in (site.files / KEPT).iterdir())

    def start_database(self, site: Site) -> None:
        """Start PostgreSQL by hand, as step 6 of the failover does with the whole application."""
        if not site.answers:
            assert site.postgres("start").code == 0

    def backed_up(self, site: Site) -> Rows:
        """Return the rows in all backups at *site* that tar and pg_restore can read."""
        found: Rows = frozenset()
        for name in self.files(site):
            site.run("mkdir", "-p", "look")
            if site.run("tar", "-C", "look", "-xzf", f"{KEPT}/{name}").code == 0:
                found |= rows_in_dump(site, site.home / "look" / name.removesuffix(".tgz"))
            shutil.rmtree(site.files / "look", ignore_errors=True)
        return found

    def add_rows(self, site: Site, writer: str, count: int) -> Rows:
        """Write rows by hand, one transaction each, and return them: the server has confirmed."""
        content = look(site)
        assert content is not None
        first = content.last(writer) + 1
        with Connection(site.database()) as connection:
            for n in range(first, first + count):
                connection.query(ROW.format(writer, n))
        return frozenset((writer, n) for n in range(first, first + count))
