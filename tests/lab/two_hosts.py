"""Two sites over a real sshd: `east` here, `west` as another user behind a forced command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.clock import SystemClock
from hasync import role_file
from hasync.peer.address import PeerAddress
from hasync.peer.agent import introduce
from hasync.peer.hello import Hello
from hasync.peer.remote import Peer, pause
from hasync.role import Role
from hasync.sets.backup import Kind, StoredSet
from hasync.sets.store import Store
from hasync.settings import Folders, Limits, Settings, Signing
from hasync.settings import Peer as PeerSettings
from tests.lab.peers import need
from tests.lab.sshd_lab import ROOT, Sshd, Wire, quoted, running

LIMIT_S = 60.0  # for any one command: a second alone
_AGENT = """
import sys
sys.path.insert(0, {code!r})
from pathlib import Path
from harness.clock import SystemClock
from hasync.peer import agent
from hasync.settings import Folders, Settings, Signing
base = Path({base!r})
folders = Folders(base)
signing = Signing(base / "key", base / "allowed_signers")
sys.exit(agent.main(Settings("west", folders, signing), SystemClock()))
"""


def python() -> str:
    """Return an interpreter that another user may run: Debian's own, else this one."""
    found = shutil.which("python3", path="/usr/bin:/bin")
    if found:
        asked = "import sys; sys.exit(sys.version_info < (3, 11))"
        if subprocess.run((found, "-c", asked), check=False, timeout=LIMIT_S).returncode == 0:
            return found
    return sys.executable


@dataclass(frozen=True, slots=True)
class Hosts:
    """East with its store, west's folder, and the sshd between them."""

    sshd: Sshd
    east: Settings
    store: Store
    west: Path

    def peer(
        self,
        wire: Wire | None = None,
        *,
        io_timeout_s: int = 3,
        give_up_s: float = 30.0,
        host_key: str = "host_key",
        path: str = "",
    ) -> Peer:
        """Return west as east reaches it, through *wire* if there is one."""
        port = None if wire is None else wire.port
        client = self.sshd.client(port, host_key)
        settings = replace(self.east, peer=replace(self.east.peer, ssh=client))
        return Peer(
            settings,
            PeerAddress(self.sshd.host, path),
            wait=_short_pause,
            io_timeout_s=io_timeout_s,
            give_up_s=give_up_s,
        )

    def own(self) -> Hello:
        """Return east's hello."""
        return introduce(self.east, SystemClock(), self.store)

    def made(self, *sizes_bytes: int) -> StoredSet:
        """Return a new set of east with random files of these sizes."""
        with self.store.begin(Kind.DATABASE) as draft:
            for number, size_bytes in enumerate(sizes_bytes):
                (draft.data / f"{number:04d}.dat").write_bytes(os.urandom(size_bytes))
            manifest = self.store.compose(
                draft, epoch=1, snapshot_at_ns=SystemClock().wall_ns(), versions={}, facts={}
            )
            return self.store.publish(draft, manifest)

    def committed(self, stored: StoredSet) -> Path:
        """Return where the set lies at west, in its catalogue."""
        return self.west / "sets" / stored.path

    def same(self, stored: StoredSet) -> bool:
        """Say whether west's catalogue has the set, byte for byte."""
        ours, theirs = self.store.folder(stored), self.committed(stored)
        names = sorted(path.relative_to(ours) for path in ours.rglob("*") if path.is_file())
        found = sorted(path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file())
        return names == found and all(
            (ours / name).read_bytes() == (theirs / name).read_bytes() for name in names
        )

    def inbox_names(self) -> list[str]:
        """Return all that lies in west's inbox, hidden names too."""
        inbox = self.west / "inbox"
        return sorted(str(path.relative_to(inbox)) for path in inbox.rglob("*"))


def _short_pause(seconds: float) -> None:
    pause(seconds / 20)


@contextmanager
def two_hosts(host: str, folder: Path, *, forced: bool = True) -> Iterator[Hosts]:
    """Give both sites; *forced*: west's key runs the agent and nothing else."""
    need("rsync", "rsync")
    need("rrsync", "rsync")
    with running(host) as sshd:
        west = sshd.folder / "west"
        west.mkdir(mode=0o700)
        code = sshd.folder / "code"
        for package in ("harness", "hasync"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, code / package, ignore=ignored)
        compiled = (python(), "-I", "-m", "compileall", "-q", code)  # west may not write there
        subprocess.run(compiled, check=True, timeout=LIMIT_S)
        script = sshd.folder / "agent.py"
        script.write_text(_AGENT.format(code=str(code), base=str(west)))
        argv = (python(), "-I", "-S", script)
        if forced:
            sshd.authorize(quoted(*argv))
        east = _site("east", folder)
        for name in ("key", "allowed_signers"):
            (west / name).write_bytes((folder / name).read_bytes())
        sshd.own(west, west / "key", west / "allowed_signers")
        (west / "key").chmod(0o600)
        agent = ("hasync", "agent") if forced else tuple(map(str, argv))
        east = replace(east, peer=PeerSettings(agent=agent))
        store = Store(east.folders, east.signing, east.site, SystemClock())
        yield Hosts(sshd, east, store, west)


def _site(site: str, base: Path) -> Settings:
    """Return the settings of an active site with a key of its own."""
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", site, "-f", base / "key")
    subprocess.run(argv, check=True, timeout=LIMIT_S)
    public = (base / "key.pub").read_text()
    (base / "allowed_signers").write_text(f"{site} {public}")
    folders = Folders(base)
    for one in (folders.inbox, folders.work, folders.sets, folders.state):
        one.mkdir(mode=0o700)
    clock = SystemClock()
    role_file.declare(folders.state, Role.ACTIVE, 1, clock=clock, by="test", why="a test")
    signing = Signing(base / "key", base / "allowed_signers")
    return Settings(site, folders, signing, limits=Limits(transfer_s=60, command_s=20))
