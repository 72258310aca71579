"""Two sites on one machine: each a host with its own network, processes, users and disk.

A site is a set of Linux namespaces held by its first process: when that ends, so does everything
in it, even when the test is killed. The two are joined by one cable (veth). In each lives one
ordinary user with a PostgreSQL cluster, an sshd, and what is tested; /etc/passwd and the disk (a
tmpfs) are the site's own, so nothing on this machine changes. Files of a site are reached from
outside below /proc/<pid>/root.

Traps: a first process that does not reap leaves zombies, which keep a dead postmaster's number
taken (`pg_ctl start` then refuses); sshd as a user admits that user only, and wants UsePAM no; its
own choice of a key exchange takes twice the time of curve25519 to connect.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fault.site import LIMIT_S, UID, USER, Site, python
from tests.lab.peers import missing, need, need_root

ROOT = Path(__file__).parents[2]
SSH_PORT = 2222
DISK = "4g"
INIT = """\
set -e
mount -t tmpfs -o size={disk},mode=0755 site {home}
mount --bind {etc}/passwd /etc/passwd
mount --bind {etc}/group /etc/group
ip link set lo up
chown {uid}:{uid} {home}
echo ready
trap '' CHLD
exec sleep infinity
"""
SSHD = """\
ListenAddress {address}:{port}
ListenAddress [{address6}]:{port}
HostKey {home}/.ssh/host
PidFile {home}/.ssh/sshd.pid
AuthorizedKeysFile {home}/.ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
KexAlgorithms curve25519-sha256
AllowUsers {user}
"""
SSH = """\
Host *
  Port {port}
  User {user}
  IdentityFile {home}/.ssh/id
  IdentitiesOnly yes
  UserKnownHostsFile {home}/.ssh/known_hosts
  GlobalKnownHostsFile /dev/null
"""
POSTGRES = """\
listen_addresses = ''
unix_socket_directories = '{home}/run'
unix_socket_permissions = 0777
fsync = off
shared_buffers = 16MB
min_wal_size = 8MB
max_wal_size = 128MB
max_connections = 40
autovacuum_naptime = 1d
"""
SERVICE = """\
#!/bin/sh
# service NAME status: what the file says (a test's order); "hang" hangs
code=$(cat {home}/service.code)
[ "$code" = hang ] && exec sleep 600
echo "ngp: $code"
exit "$code"
"""


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; the test is skipped when a peer is missing."""
    need_root()
    need("ip", "iproute2")
    need("nsenter", "util-linux")
    need("sshd", "openssh-server")
    need("rsync", "rsync")
    need("zstd", "zstd")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else missing("initdb", "postgresql")


@dataclass(frozen=True, slots=True)
class TwoSites:
    """The lab: site a is active to begin with, site b its standby."""

    a: Site
    b: Site
    folder: Path  # of the test's own, outside both

    def cut(self) -> None:
        """Pull the cable."""
        self.a.link("down")

    def mend(self) -> None:
        """Plug the cable in again."""
        self.a.link("up")
        self.b.link("up")


@contextlib.contextmanager
def two_sites() -> Iterator[TwoSites]:
    """Give two running sites that trust each other's keys; they end with the block."""
    binaries = programs()
    with (
        tempfile.TemporaryDirectory(prefix="two-") as made,
        contextlib.ExitStack() as stack,
        ThreadPoolExecutor(2) as pool,
    ):
        folder = Path(made)
        folder.chmod(0o755)
        a, b = (_hold(stack, folder, number, binaries) for number in (1, 2))
        _cable(a, b)
        code = _code(folder)
        list(pool.map(_furnish, (a, b), (code, code)))
        acquaint(a, b)
        acquaint(b, a)
        list(pool.map(_start, (a, b)))
        yield TwoSites(a, b, folder)


def _hold(stack: contextlib.ExitStack, folder: Path, number: int, binaries: Path) -> Site:
    """Return an empty site: namespaces, a disk, one user."""
    name, home = "ab"[number - 1], folder / "site"
    etc = folder / name
    for made in (home, etc):
        made.mkdir(exist_ok=True)
    user = f"{USER}:x:{UID}:{UID}::{home}:/bin/sh\n"
    (etc / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{user}")
    (etc / "group").write_text(f"root:x:0:\n{USER}:x:{UID}:\n")
    script = INIT.format(home=home, etc=etc, uid=UID, disk=DISK)
    alone = ("--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL")
    held = ("setpriv", "--pdeathsig", "KILL", "--", "unshare", *alone, "--mount-proc")
    holder = subprocess.Popen([*held, "sh", "-c", script], stdout=subprocess.PIPE)
    stack.callback(_let_go, holder)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n", "no namespaces here"
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    at = (f"192.0.2.{number}", f"2001:db8::{number}")
    return Site(name, *at, home, binaries, holder, int(children[0]))


def _let_go(holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    if holder.stdout:
        holder.stdout.close()


def _cable(a: Site, b: Site) -> None:
    ends = ("eth0", "netns", str(a.pid)), ("eth0", "netns", str(b.pid))
    words = ("ip", "link", "add", "name", *ends[0], "type", "veth", "peer", "name", *ends[1])
    subprocess.run(words, check=True, timeout=LIMIT_S)
    for site in (a, b):
        site.must("ip", "addr", "add", f"{site.address}/24", "dev", "eth0", root=True)
        v6 = ("ip", "addr", "add", f"{site.address6}/64", "dev", "eth0", "nodad")
        site.must(*v6, root=True)
        site.must("ip", "link", "set", "eth0", "up", root=True)


def _code(folder: Path) -> Path:
    """Return what is tested, compiled as an installation has it."""
    code = folder / "code"
    for package in ("hasync", "harness"):
        left_out = shutil.ignore_patterns("__pycache__", "templates")
        shutil.copytree(ROOT / package, code / package, ignore=left_out)
    words = (python(), "-m", "compileall", "-q", "-j2", str(code))
    subprocess.run(words, check=True, timeout=LIMIT_S)
    return code


def _furnish(site: Site, code: Path) -> None:
    """Make the keys, the cluster, the fake service, and bring the code in."""
    site.must("mkdir", "-m", "700", ".ssh", "run", "bin")
    site.must("chmod", "711", "run")
    for key in ("host", "id", "sign"):
        comment = f"{key}-{site.name}"
        site.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", f".ssh/{key}")
    about = {"home": site.home, "port": SSH_PORT, "user": USER}
    about |= {"address": site.address, "address6": site.address6}
    site.write(".ssh/sshd_config", SSHD.format(**about))
    site.write(".ssh/config", SSH.format(**about))
    site.write("bin/service", SERVICE.format(**about), 0o755)
    site.service("3")
    small = ("--wal-segsize=1", "--no-sync")  # this folder is copied for every test
    site.must("initdb", "-D", "pgdata", "-U", USER, "-A", "trust", *small, "-E", "UTF8")
    with (site.files / "pgdata/postgresql.conf").open("a") as config:
        config.write(POSTGRES.format(**about))
    shutil.copytree(code, site.files / "code")
    site.env |= {"PYTHONPATH": str(site.home / "code"), "PYTHONDONTWRITEBYTECODE": "1"}


def acquaint(site: Site, other: Site) -> None:
    """Let *other*'s user in at *site*, whatever it runs, and let it know *site*'s host key."""
    key = (other.files / ".ssh/id.pub").read_text()
    site.write(".ssh/authorized_keys", key)
    host = " ".join((site.files / ".ssh/host.pub").read_text().split()[:2])
    names = f"[{site.address}]:{SSH_PORT},[{site.address6}]:{SSH_PORT}"
    other.write(".ssh/known_hosts", f"{names} {host}\n")


def _start(site: Site) -> None:
    assert site.postgres("start").code == 0, (site.files / "postgres.log").read_text()
    ssh = site.home / ".ssh"  # a whole path: sshd starts itself again, from another folder
    site.must("/usr/sbin/sshd", "-f", ssh / "sshd_config", "-E", ssh / "sshd.log")


@pytest.fixture(scope="session")
def sites() -> Iterator[TwoSites]:
    """Give the lab, for the whole session."""
    with two_sites() as lab:
        yield lab
