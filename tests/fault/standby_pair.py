"""Both hosts set up with hasync as its guide says, driven by its commands alone.

What it left on the disk is read here directly (manifests, data files, databases), with sha256sum's,
zstd's and pg_restore's own words: nothing of hasync is imported.
"""

import contextlib
import hashlib
import json
import os
import shlex
import signal
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fault.content import NAME, SEEDED, drop_all, look, reset
from tests.fault.oracles import Rows, Upto, preserved, rows_in_dump
from tests.fault.original_days import RUNNING, STOPPED
from tests.fault.postgres_wire import Connection
from tests.fault.site import Result, Site, Started, python, until
from tests.fault.two_sites import TwoSites

BASE = "hasync"
IMAGES, MORNING, EVENING = "images", "morning", "evening"  # copies of what tests begin with
WAIT_S = 20  # of the standby for a set
SETTLED = ("sleep infinity", "postgres: ", "sshd: /usr/sbin/sshd")  # what may run when nothing does
SETTINGS = """\
site = "site-{name}"
[folders]
base = "{home}/hasync"
[signing]
key = "{home}/.ssh/sign"
allowed_signers = "{home}/.ssh/allowed_signers"
[database]
socket = "{home}/run"
bin = "{bin}"
data = "{home}/pgdata"
name = "ngp"
user = "ngp"
lock_wait_s = 5.0
reserve_bytes = 33554432
[peer]
site = "site-{other}"
ssh = ["ssh", "-F", "{home}/.ssh/config"]
agent = ["{home}/bin/hasync", "agent"]
[service]
status = ["{home}/bin/service", "ngp", "status"]
limit_s = 3.0
[limits]
dump_s = 120.0
restore_s = 120.0
transfer_s = 120.0
command_s = 20.0
swap_s = 10.0
"""
PROGRAM = """\
#!/bin/sh
# {module}, as an installation has it: with nothing of the caller's environment but its orders
export HASYNC_CONFIG="${{HASYNC_CONFIG:-{home}/hasync.toml}}" PYTHONPATH={home}/code
[ -n "$CLOCK_SHIFT_S" ] && exec {python} {home}/code/other_clock.py {module} "$@"
exec {python} -c "import sys; from {module} import main; sys.exit(main())" "$@"
"""
SCRIBBLE = """
insert into calls select '{w}', n, n * 2654435761 % 4294967296
  from generate_series({first}::bigint, {last}) n;
insert into parties select '{w}', n, '+12025550100' from generate_series({first}, {last}) n;
insert into totals select '{w}', count(*), sum(crc) from calls where writer = '{w}'
  on conflict (writer) do update set n = excluded.n, crc = excluded.crc;
"""
OTHER_CLOCK = """\
# runs a module with the wall clock (not the monotonic one) off by $CLOCK_SHIFT_S
import importlib, os, sys, time
shift = int(os.environ["CLOCK_SHIFT_S"])
right_ns, right = time.time_ns, time.time
time.time_ns, time.time = (lambda: right_ns() + shift * 10**9), (lambda: right() + shift)
del sys.argv[0]
sys.exit(importlib.import_module(sys.argv[0]).main())
"""


@dataclass(frozen=True, slots=True)
class SetOnDisk:
    """A set in a site's catalogue, as its own manifest tells."""

    site: Site
    path: str  # below the base folder
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Return the set's id."""
        return str(self.manifest["id"])

    @property
    def last_row(self) -> int:
        """Return the number of writer a's last row in it."""
        return int(self.manifest["facts"]["tables"]["public.calls"]) - SEEDED

    def wrong(self) -> list[str]:
        """Return which files are not as the manifest says; hashed here."""
        data = self.site.files / BASE / self.path / "data"
        bad = []
        for path, _, sha256 in self.manifest["files"]:
            found = data / path
            if not found.is_file() or hashlib.sha256(found.read_bytes()).hexdigest() != sha256:
                bad.append(f"{self.site.name}: {self.path}: {path}")
        return bad

    @property
    def upto(self) -> Upto:
        """Return what a database restored from it shows, when writer a alone has written."""
        own = (("a", self.last_row),) if self.last_row else ()
        return (*own, ("seed", SEEDED))

    def rows(self) -> Rows:
        """Return the rows in it, by zstd and pg_restore."""
        look_in = "look"
        self.site.run("rm", "-rf", look_in)
        self.site.must("cp", "-r", self.site.home / BASE / self.path / "data", look_in)
        self.site.must("find", look_in, "-name", "*.zst", "-exec", "zstd", "-dq", "--rm", "{}", "+")
        (toc,) = (self.site.files / look_in).rglob("toc.dat")
        inside = self.site.home / toc.parent.relative_to(self.site.files)
        found = rows_in_dump(self.site, inside)
        self.site.run("rm", "-rf", look_in)
        return found


@dataclass(frozen=True, slots=True)
class Pair:
    """Site a active, site b standby, both in epoch 1."""

    lab: TwoSites

    @property
    def a(self) -> Site:
        """Return the site that is active to begin with."""
        return self.lab.a

    @property
    def b(self) -> Site:
        """Return the site that is standby to begin with."""
        return self.lab.b

    def prepare(self) -> None:
        """Bring both sites back to the first morning: rows at a, nothing at b, no set anywhere."""
        if self.kept(MORNING):
            self.bring_back(MORNING)
            return
        self.lab.mend()
        for site in (self.a, self.b):
            self.end_all(site)
            site.must("rm", "-rf", BASE, "look")
            site.must("mkdir", "-m", "700", BASE)
            if not site.answers:
                site.postgres("stop", "-m", "immediate")
                assert site.postgres("start").code == 0
        self.furnish()
        reset(self.a)
        drop_all(self.b)
        self.role(self.a, "active", 1)
        self.role(self.b, "standby", 1)
        self.keep(MORNING)

    def furnish(self) -> None:
        """Make what lies beside the databases and sets as it is on any first morning."""
        (self.lab.folder / "ledger").unlink(missing_ok=True)
        for site, service in ((self.a, RUNNING), (self.b, STOPPED)):
            self.install(site)
            site.service(service)

    def first_day(self) -> None:
        """Bring both to the evening of a first day: 5 rows, one set, the standby live on it.

        It's lived through once; later tests have it from a copy.
        """
        if self.kept(EVENING):
            self.bring_back(EVENING)
            return
        self.scribble(self.a, "a", 5)
        for result, site in zip(self.both(), (self.a, self.b), strict=True):
            assert result.code == 0, self.told(site, result)
        self.keep(EVENING)

    def kept(self, name: str) -> bool:
        """Say whether *name* can be brought back."""
        return all((site.files / IMAGES / name).exists() for site in (self.a, self.b))

    def keep(self, name: str) -> None:
        """Keep databases and sets of both sites as they are now; the servers are up again after."""
        for site in (self.a, self.b):
            assert site.postgres("stop").code == 0
            site.must("mkdir", "-p", f"{IMAGES}/{name}")
            site.must("cp", "-a", "pgdata", BASE, f"{IMAGES}/{name}")
            assert site.postgres("start").code == 0

    def bring_back(self, name: str) -> None:
        """Make databases and sets of both sites what they were, whatever has become of them."""
        self.lab.mend()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._bring_back, (self.a, self.b), (name, name)))
        self.furnish()

    def _bring_back(self, site: Site, name: str) -> None:
        self.end_all(site, servers=True)
        for lock in (site.files / "run").iterdir():  # of a dead server, whose number may be taken
            lock.unlink()
        site.must("rm", "-rf", BASE, "look", "pgdata")
        site.must("cp", "-a", f"{IMAGES}/{name}/.", ".")
        assert site.postgres("start", "-W").code == 0
        until(lambda: site.answers, "its server is up")

    def install(self, site: Site) -> None:
        """Write settings, programs, and whom to trust."""
        other = self.b if site is self.a else self.a
        about = {"home": site.home, "name": site.name, "other": other.name, "bin": site.bin}
        about["python"] = python()
        site.write("hasync.toml", SETTINGS.format(**about))
        site.write("code/other_clock.py", OTHER_CLOCK)
        for name, module in (("pgsync", "pgsync"), ("ngpsync", "ngpsync"), ("hasync", "cli")):
            text = PROGRAM.format(module=f"hasync.commands.{module}", **about)
            site.write(f"bin/{name}", text, 0o755)
        keys = [
            f"site-{one.name} {' '.join((one.files / '.ssh/sign.pub').read_text().split()[:2])}\n"
            for one in (self.a, self.b)
        ]
        site.write(".ssh/allowed_signers", "".join(keys))
        key = (other.files / ".ssh/id.pub").read_text()
        forced = f'restrict,command="{site.home}/bin/hasync agent" '
        site.write(".ssh/authorized_keys", forced + key)

    def role(self, site: Site, role: str, epoch: int) -> None:
        """Let *site* have that role, as if a person had declared it."""
        fact = {"role": role, "epoch": epoch, "since_ns": 0, "by": "test", "why": "the first day"}
        state = site.files / BASE / "state"
        if not state.exists():
            for name in ("inbox", "work", "sets", "log", "state"):
                site.must("mkdir", "-m", "700", f"{BASE}/{name}")
        site.write(f"{BASE}/state/role.json", json.dumps(fact))

    def other(self, site: Site) -> Site:
        """Return the site at the other end of the cable."""
        return self.b if site is self.a else self.a

    def pgsync(self, site: Site, *options: str, **env: str) -> Result:
        """Return how one run of pgsync at *site* ended."""
        words = (*(options or ("-t", str(WAIT_S))), self.other(site).address)
        return site.run("pgsync", *words, env=env)

    def start(self, site: Site, *options: str, **env: str) -> Started:
        """Return a running pgsync."""
        words = (*(options or ("-t", str(WAIT_S))), self.other(site).address)
        return site.start("pgsync", *words, log="pgsync.out", env=env)

    def hasync(self, site: Site, *words: str) -> Result:
        """Return how one `hasync` command at *site* ended."""
        return site.run("hasync", *words)

    def both(self, *options: str) -> tuple[Result, Result]:
        """Return how a day ended at both sites: a's run, then b's."""
        return self.pgsync(self.a, *options), self.pgsync(self.b, *options)

    def sets(self, site: Site, kind: str = "db") -> list[SetOnDisk]:
        """Return the sets in the catalogue of *site*, whoever made them, oldest first."""
        base = site.files / BASE
        found = sorted(
            base.glob(f"sets/{kind}/*/*/manifest.json"), key=lambda path: path.parent.name
        )
        return [
            SetOnDisk(site, str(path.parent.relative_to(base)), json.loads(path.read_bytes()))
            for path in found
        ]

    def all_rows(self) -> list[Rows]:
        """Return the rows of every place there is: databases and sets of both sites."""
        places = [preserved(site) for site in (self.a, self.b) if site.answers]
        kinds = ("db", "tail")
        stored = (one for s in (self.a, self.b) for kind in kinds for one in self.sets(s, kind))
        return places + [one.rows() for one in {one.id: one for one in stored}.values()]

    def status(self, site: Site) -> Mapping[str, Any]:
        """Return what is on record at *site*."""
        found: Mapping[str, Any] = json.loads((site.files / BASE / "state/status.json").read_text())
        return found

    def leftovers(self, site: Site) -> list[str]:
        """Return what no run may leave behind once another has ended well."""
        base = site.files / BASE
        kept = {"work": "*", "inbox": "*.part", "state": "*.jsonl"}
        found = [f"{at}/{p.name}" for at, like in kept.items() for p in (base / at).glob(like)]
        if site.answers:
            found += [name for name in site.databases() if name.startswith(f"{NAME}__new_")]
        return [f"{site.name}: {one}" for one in [*found, *self.strays(site).values()]]

    def strays(self, site: Site) -> dict[int, str]:
        """Return the processes of *site* that belong to neither PostgreSQL nor sshd's listener."""
        known = (f"{site.bin}/postgres ", *SETTLED)
        return {
            pid: words
            for pid, words in site.processes().items()
            if not words.startswith(known) and "(defunct)" not in words
        }

    def end_all(self, site: Site, *, servers: bool = False) -> None:
        """End every stray of an earlier test; numbers are looked up in this site alone."""
        if servers:  # at once, as a power cut would: what is brought back needs nothing of them
            until(lambda: not _killed(self.servers(site)), "its servers are gone")
        _killed(self.strays(site))

    def servers(self, site: Site) -> dict[int, str]:
        """Return the processes of PostgreSQL at *site*."""
        known = (f"{site.bin}/postgres ", "postgres: ")
        return {pid: words for pid, words in site.processes().items() if words.startswith(known)}

    def scribble(self, site: Site, writer: str, count: int) -> Rows:
        """Write rows into the live database of *site* at once, and return them: confirmed."""
        before = look(site)
        assert before is not None
        first, last = before.last(writer) + 1, before.last(writer) + count
        with Connection(site.database()) as connection:
            connection.query(SCRIBBLE.format(w=writer, first=first, last=last))
        return frozenset((writer, n) for n in range(first, last + 1))

    def live(self, site: Site) -> int:
        """Return the number of writer a's last row in the live database; -1: it does not answer."""
        content = look(site)
        return -1 if content is None or content.broken else content.last("a")

    def told(self, site: Site, result: Result) -> str:
        """Return all that helps to see why a run ended so, for an assertion's message."""
        log = site.files / BASE / "log/pgsync.log"
        tail = log.read_text().splitlines()[-15:] if log.exists() else []
        said = "\n".join([result.out, result.err, *tail])
        return f"{site.name}: exit {result.code}\n{said}\n{shlex.join(self.strays(site).values())}"


def _killed(processes: Iterable[int]) -> bool:
    """Kill them; say whether there was one."""
    there = False
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            there = True
    return there


@pytest.fixture
def pair(sites: TwoSites) -> Pair:
    """Give both sites on the first morning."""
    made = Pair(sites)
    made.prepare()
    return made
