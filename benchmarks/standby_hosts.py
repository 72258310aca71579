"""Two database hosts on one machine for a benchmark: a PostgreSQL cluster each, an sshd, hasync.

Two folders on a real disk, where an fsync costs what it costs; everything in them runs as one
ordinary user. Not the lab of tests/fault: its disks are in memory, and its servers never flush.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWNER = "postgres"  # the user of everything, when root starts the benchmark
LIMIT_S = 3600.0  # of any one command
NAME = "ngp"
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
CONF = """
listen_addresses = ''
unix_socket_directories = '{folder}/run'
unix_socket_permissions = 0777
fsync = {fsync}
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 15min
"""
SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/ssh/host
PidFile none
AuthorizedKeysFile {folder}/ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""
SSH = """
Host *
  Port {port}
  User {user}
  IdentityFile {folder}/ssh/{key}
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/ssh/known_hosts
  GlobalKnownHostsFile /dev/null
"""
SETTINGS = """
site = "{name}"
[folders]
base = "{folder}/base"
[signing]
key = "{folder}/ssh/sign"
allowed_signers = "{folder}/ssh/allowed_signers"
[database]
socket = "{folder}/run"
bin = "{bin}"
data = "{folder}/data"
manage = false
[peer]
site = "{other}"
ssh = ["ssh", "-F", "{folder}/ssh/to_agent"]
[service]
status = ["{status}"]
active = [0]
inactive = [1]
"""


@dataclass(frozen=True, slots=True)
class Host:
    """One of the two; "a" is active, "b" its standby."""

    name: str
    folder: Path
    bin: Path  # PostgreSQL's programs

    @property
    def base(self) -> Path:
        """Return hasync's base folder."""
        return self.folder / "base"

    @property
    def socket(self) -> Path:
        """Return the folder of PostgreSQL's socket."""
        return self.folder / "run"

    def argv(self, *words: str | Path) -> list[str]:
        """Return the command line that runs *words* as the hosts' user, with nothing of ours."""
        # in this order: a change of user forgets what is to happen at our death
        who = [
            *as_owner(),
            "setpriv",
            "--pdeathsig",
            "TERM",
            "env",
            "-i",
            "-C",
            str(self.folder),
            f"PATH={self.bin}:{PATH}",
        ]
        return [*who, f"HOME={self.folder}", "LC_ALL=C.UTF-8", *map(str, words)]

    def run(self, *words: str | Path, stdin: str = "") -> str:
        """Return what *words* printed; they have to succeed."""
        done = subprocess.run(
            self.argv(*words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{self.name}: {words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def shell(self, line: str) -> None:
        """Run *line* with its pipes; the first program of a pipe that fails, fails it."""
        self.run("bash", "-o", "pipefail", "-ec", line)

    def sql(self, statement: str, database: str = NAME) -> str:
        """Return what psql prints for *statement*."""
        words = ("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.socket, "-d", database)
        return self.run(*words, stdin=statement).strip()

    def start(self, *words: str | Path, log: str) -> subprocess.Popen[bytes]:
        """Return the running command, which dies with us; what it prints goes to the file *log*."""
        with (self.folder / log).open("ab") as out:
            line = self.argv(*words)
            return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file of the hosts' user; return where."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        if as_owner():
            shutil.chown(path.parent, OWNER, OWNER)
            shutil.chown(path, OWNER, OWNER)
        return path


@dataclass(frozen=True, slots=True)
class Hosts:
    """Both, and the servers that run on them."""

    a: Host
    b: Host
    servers: tuple[int, ...]

    def cpu_s(self) -> float:
        """Return the processor seconds of all commands that have ended, and of the servers.

        On a busy machine they say more of a program than the clock does.
        """
        own = os.times()
        ticks = sum(_ticks(server, whole=True) for server in self.servers)
        for server in self.servers:
            children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
            ticks += sum(_ticks(int(child), whole=False) for child in children)
        return own.children_user + own.children_system + ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int, *, whole: bool) -> int:
    """Return the ticks that a process has used; *whole*: with its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0  # it has ended: its parent has its ticks
    return sum(map(int, fields[11 : 15 if whole else 13]))


def as_owner() -> list[str]:
    """Return the words that make a program run as the ordinary user: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups", "--"]


@contextlib.contextmanager
def two_hosts(parent: Path, *, fsync: bool) -> Iterator[Hosts]:
    """Give both hosts, running, below a new folder of *parent*; all of it goes with the block."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or not shutil.which("sshd", path=PATH):
        sys.exit("needs: apt-get install postgresql openssh-server rsync zstd")
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hb", dir=parent))  # socket paths are short
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        subprocess.run(
            ["/usr/bin/python3", ROOT / "tools/make-hasync-pyz", folder / "hasync"], check=True
        )
        a, b = (Host(name, folder / name, found[-1].parent) for name in "ab")
        for host in (a, b):
            _furnish(host, fsync=fsync)
        port = _free_port()
        _acquaint(a, b, port)
        servers = [host.start("postgres", "-D", host.folder / "data", log="log") for host in (a, b)]
        servers.append(sshd(b, port))
        for server in servers:
            stack.callback(_end, server)
        for host in (a, b):
            host.shell(f"until pg_isready -q -h {host.socket}; do sleep 0.05; done")
        yield Hosts(a, b, tuple(server.pid for server in servers))


def sshd(host: Host, port: int) -> subprocess.Popen[bytes]:
    """Return the running sshd of *host*."""
    config = host.write("ssh/sshd_config", SSHD.format(folder=host.folder, port=port))
    return host.start("/usr/sbin/sshd", "-D", "-e", "-f", config, log="sshd.log")


def _furnish(host: Host, *, fsync: bool) -> None:
    """Make cluster, keys, programs and settings."""
    host.folder.mkdir()
    if as_owner():
        shutil.chown(host.folder, OWNER, OWNER)
    host.run("mkdir", "-m", "700", "ssh", "bin")
    host.run("mkdir", "-m", "755", "run")
    who = ("-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
    host.run("initdb", "-D", "data", *who)
    with (host.folder / "data/postgresql.conf").open("a") as conf:
        conf.write(CONF.format(folder=host.folder, fsync="on" if fsync else "off"))
    for key in ("host", "admin", "agent", "sign"):
        host.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"ssh/{key}")
    program = host.folder.parent / "hasync"
    for name in ("hasync", "pgsync"):
        host.run("ln", "-s", program, f"bin/{name}")
    status = "/bin/true" if host.name == "a" else "/bin/false"
    about = {
        "name": host.name,
        "other": "ab".replace(host.name, ""),
        "folder": host.folder,
        "bin": host.bin,
        "status": status,
    }
    about["other"] = "b" if host.name == "a" else "a"
    host.write("hasync.toml", SETTINGS.format(**about))


def _acquaint(a: Host, b: Host, port: int) -> None:
    """Let a's keys in at b, and let both trust both signatures and know their roles."""
    keys = {host.name: _public(host, "sign") for host in (a, b)}
    signers = "".join(f'{name} namespaces="hasync-set" {key}\n' for name, key in keys.items())
    forced = f'command="{b.folder}/bin/hasync agent --config {b.folder}/hasync.toml"'
    b.write(
        "ssh/authorized_keys",
        f"{_public(a, 'admin')}\nrestrict,{forced} {_public(a, 'agent')}\n",
    )
    a.write("ssh/known_hosts", f"[127.0.0.1]:{port} {_public(b, 'host')}\n")
    user = OWNER if as_owner() else Path.home().owner()
    for key, name in (("admin", "to_shell"), ("agent", "to_agent")):
        about = {"port": port, "user": user, "folder": a.folder, "key": key}
        a.write(f"ssh/{name}", SSH.format(**about))
    for host, role in ((a, "active"), (b, "standby")):
        host.write("ssh/allowed_signers", signers)
        host.run("mkdir", "-m", "700", "base", "base/state")
        fact = {"role": role, "epoch": 1, "since_ns": 0, "by": "benchmark", "why": "benchmark"}
        host.write("base/state/role.json", json.dumps(fact))


def _public(host: Host, key: str) -> str:
    return " ".join((host.folder / f"ssh/{key}.pub").read_text().split()[:2])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server; setpriv and env have become it, so the number is its own."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
