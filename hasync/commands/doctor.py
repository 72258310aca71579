"""The edge of `hasync doctor`: all that would make the next run fail, seen before it does.

Nothing is changed. Each finding is a level and a line: OK, WARNING (works, but look), CRITICAL (a
run would fail, or would not be safe).
"""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.child import ENV, run
from harness.cron import CronEntry, parse_crontab
from harness.errors import HarnessError, InputError
from harness.signature import sign, signers, verify
from hasync import durable, role_file
from hasync.commands import client_versions
from hasync.commands.checks import FUTURE_NS, Level
from hasync.commands.command import Context
from hasync.commands.gather import touched
from hasync.commands.status import span
from hasync.database import guard
from hasync.database.databases import MAINTENANCE, companions, read
from hasync.database.psql import Psql
from hasync.database.restore import cluster_of
from hasync.peer.address import PeerAddress
from hasync.peer.delivery import Delivery
from hasync.peer.hello import Hello
from hasync.role import Role, ServiceState, conflict
from hasync.service import probe
from hasync.sets import base_folder
from hasync.sets.manifest import NAMESPACE
from hasync.sets.store import Store
from hasync.settings import Database, Settings

Findings = Iterator[tuple[Level, str]]
LIMIT_S = 20.0
TOOLS = ("ssh", "ssh-keygen", "rsync", "zstd")
SIGNERS_BYTES = 1 << 20
CLIENTS = ("psql", "pg_dump", "pg_restore", "pg_ctl")
CRONTABS = ("/etc/crontab", "/etc/cron.d")
_HOLES = (
    "pg_restore {}.{} is open to {}: a crafted archive runs code. Mended from {} on. Sets are "
    "authenticated before it reads them, so only a signer could use it"
)
_PROBE = b"doctor"  # signed and verified, and kept nowhere
_LINE = 'a line for each site: SITE namespaces="hasync-set" ssh-ed25519 AAAA...'
_ASK_VENDOR = (
    "JBoss keeps deployments and journals in standalone/data, OpenLDAP its directory in "
    "openldap/var: ask the vendor whether they are needed"
)
_ASK = ("data", "openldap/var")  # excluded by the guide, and perhaps the only copy of something


def examine(context: Context, host: str = "") -> list[tuple[Level, str]]:
    """Return everything that was looked at; with *host* the other site is asked too."""
    settings = context.settings
    found = [
        *_folders(settings),
        *_keys(settings),
        *_programs(settings),
        *(_clients(settings.database) if settings.database else ()),
        *(_server(settings, settings.database) if settings.database else ()),
        *_role(settings),
        *_space(settings),
        *_cron(settings),
        *_left_out(settings),
        *(_peer(context, host) if host else ()),
    ]
    return sorted(found, key=lambda one: -one[0])


def _folders(settings: Settings) -> Findings:
    folders = settings.folders
    if not folders.state.exists():
        yield Level.WARNING, f"{folders.base} was not used yet; the first run makes its folders"
        return
    try:
        base_folder.inspect(folders)
    except InputError as error:
        yield Level.CRITICAL, str(error)
        return
    for path in (folders.base, *base_folder.ours(folders)):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077 and path != folders.inbox:
            yield Level.WARNING, f"others may look into {path} (mode {mode:04o}); chmod 700"
    yield Level.OK, f"folders below {folders.base}"


def _keys(settings: Settings) -> Findings:
    signing = settings.signing
    found = [
        *_file(signing.key, 0o077, "the signing key"),
        *_file(signing.allowed_signers, 0o022, "the allowed signers"),
    ]
    yield from found
    if any(level is Level.CRITICAL for level, _ in found):
        return
    text = durable.read(signing.allowed_signers, SIGNERS_BYTES).decode("utf-8", "replace")
    names = {line.split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    if not names - {settings.site, ""}:
        yield Level.WARNING, f"{signing.allowed_signers} has no line for the other site; {_LINE}"
    try:
        signature = sign(_PROBE, signing.key, NAMESPACE)
        verify(_PROBE, signature, signing.allowed_signers, settings.site, NAMESPACE)
        signers(_PROBE, signature, signing.allowed_signers, NAMESPACE)
    except HarnessError as error:
        yield Level.CRITICAL, f"a set signed here is not believed even here: {error}; {_LINE}"
    else:
        yield Level.OK, f"what {settings.site} signs is believed here"


def _file(path: Path, forbidden: int, what: str) -> Findings:
    try:
        state = path.stat()
    except OSError as error:
        yield Level.CRITICAL, f"{what} {path}: {error.strerror}"
        return
    mode = stat.S_IMODE(state.st_mode)
    if mode & forbidden:
        yield Level.CRITICAL, f"{what} {path} has mode {mode:04o}; chmod {mode & ~forbidden:04o}"
    elif not os.access(path, os.R_OK):
        yield Level.CRITICAL, f"{what} {path} cannot be read by us"
    else:
        yield Level.OK, f"{what} {path}"


def _programs(settings: Settings) -> Findings:
    ssh, status = settings.peer.ssh[0], settings.service.status[0]
    for name in dict.fromkeys((*TOOLS, ssh, status)):
        if shutil.which(name, path=ENV["PATH"]) is None:
            yield Level.CRITICAL, f"{name} is missing (looked in {ENV['PATH']})"
    version = _said("rsync", "--version")
    yield Level.OK, version or "rsync does not tell its version"


def _clients(database: Database) -> Findings:
    """Look at the programs of PostgreSQL: there, of one version, and without known holes."""
    versions = {}
    for name in CLIENTS:
        said = _said(str(database.bin / name), "--version")
        version = client_versions.parse(said)
        if version is None:
            yield Level.CRITICAL, f"{database.bin / name} does not run: {said or 'not there'}"
        else:
            versions[name] = version
    if len(set(versions.values())) > 1:
        shown = ", ".join(f"{name} {major}.{minor}" for name, (major, minor) in versions.items())
        yield Level.WARNING, f"programs of different versions in {database.bin}: {shown}"
    version = versions.get("pg_restore")
    if version and client_versions.affected(version):
        yield Level.WARNING, _HOLES.format(*version, client_versions.CVES, client_versions.table())
    elif version:
        yield Level.OK, f"pg_restore {version[0]}.{version[1]}"


def _server(settings: Settings, database: Database) -> Findings:
    """Look whether the server that answers is the one that the settings name."""
    try:
        if not cluster_of(settings, database).is_up():
            yield Level.OK, "PostgreSQL is down; whose data it serves is asked before each change"
            return
        with Psql(database, MAINTENANCE).session() as session:
            guard.cluster(session, database)
            found = read(session, companions(database))
        guard.name_there(found, database.name)
        told = touched(settings)
    except HarnessError as error:
        yield Level.CRITICAL, str(error)
        return
    yield Level.OK, f"PostgreSQL at {database.socket}, port {database.port} serves {database.data}"
    if told:
        yield Level.WARNING, told


def _role(settings: Settings) -> Findings:
    fact, service = role_file.read(settings.folders.state), probe(settings.service)
    if fact.role is Role.UNKNOWN:
        yield Level.CRITICAL, f"the role is unknown ({fact.why}); hasync role set ROLE --epoch N"
    else:
        yield Level.OK, f"role {fact.role}, epoch {fact.epoch}"
    if service.state is ServiceState.UNKNOWN:
        yield (
            Level.WARNING,
            f"the service's state is unknown, which forbids a restore: {service.why}",
        )
    elif fact.role is Role.STANDBY and service.state is ServiceState.ACTIVE:
        yield Level.CRITICAL, "this site is the standby, and the service runs here"
    elif fact.role is Role.ACTIVE and service.state is ServiceState.INACTIVE:
        yield Level.WARNING, "this site is active, and the service does not run here"


def _space(settings: Settings) -> Findings:
    database = settings.database
    paths = [settings.folders.base, *([database.data] if database else [])]
    reserve = database.reserve_bytes if database else 0
    for path in paths:
        try:
            free = durable.free_bytes(path)
        except HarnessError as error:
            yield Level.WARNING, str(error)
            continue
        told = f"{free >> 20} MiB free at {path}, reserve {reserve >> 20} MiB"
        if free < 2 * reserve:
            yield Level.WARNING, f"{told}: free some, give it a larger disk, or keep fewer sets"
        else:
            yield Level.OK, told
    devices = [path.stat().st_dev for path in paths if path.exists()]
    if len(set(devices)) < len(devices):
        shared = f"sets and PGDATA share a file system: {paths[0]}, {paths[-1]}"
        yield Level.WARNING, f"{shared}; mount one of its own at folders.base"


def _cron(settings: Settings) -> Findings:
    """Look for the cron lines that run us; a timer of systemd is not seen."""
    wanted = [name for name, part in (("pgsync", settings.database),
                                      ("ngpsync", settings.application)) if part]  # fmt: skip
    entries = list(_entries())
    for name in wanted:
        lines = [one for one in entries if name in one.command]
        if not lines:
            yield Level.WARNING, f"no cron line of ours or in /etc runs {name}"
        for one in lines:
            yield Level.OK, f"cron: {one.schedule} {one.user} {one.command}".replace("  ", " ")
            if ".bash_profile" in one.command:
                yield (
                    Level.WARNING,
                    f"{name} needs no profile; where one is missing, sh runs nothing",
                )


def _entries() -> Iterator[CronEntry]:
    files = [Path(CRONTABS[0]), *sorted(Path(CRONTABS[1]).glob("*"))]
    for path in files:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            yield from parse_crontab(text, with_user=True, file=str(path))
        except (OSError, InputError):
            continue  # not ours, or not readable: crond complains by itself
    try:
        yield from parse_crontab(_said("crontab", "-l", whole=True), with_user=False)
    except InputError:
        return


def _left_out(settings: Settings) -> Findings:
    """Say what ngpsync leaves out that may be the only copy of something (H49)."""
    if settings.application is None:
        return
    from hasync.files.exclusions import rules  # noqa: PLC0415 - only where there is an application

    names = [root.name for root in settings.application.roots]
    texts = [one.text for one in rules(settings.application.exclude, names)]
    yield Level.OK, f"left out by ngpsync: {', '.join(texts)}"
    for text in texts:
        if text.endswith(_ASK):
            yield Level.WARNING, f"{text} is in no set. {_ASK_VENDOR}"


def _peer(context: Context, host: str) -> Findings:
    settings = context.settings
    store = Store(settings.folders, settings.signing, settings.site, context.clock)
    try:
        delivery = Delivery(settings, store, PeerAddress.parse(host), context.clock)
        hello = delivery.hello()
    except HarnessError as error:
        yield Level.CRITICAL, str(error)
        return
    if hello is None:
        yield Level.CRITICAL, str(delivery.trouble)
        return
    yield from _compared(context, hello)


def _compared(context: Context, hello: Hello) -> Findings:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(hello.versions.items()))
    yield Level.OK, f"peer {hello.site}: {hello.role}, epoch {hello.epoch}; {versions}"
    own = role_file.read(context.settings.folders.state)
    if told := conflict(own, hello.fact):
        yield Level.CRITICAL, told
    skew_ns = abs(hello.at_ns - context.clock.wall_ns())
    level = Level.WARNING if skew_ns > FUTURE_NS else Level.OK
    yield level, f"clocks differ by about {span(skew_ns)}"
    theirs = client_versions.parse(hello.versions.get("pg_restore", ""))
    database = context.settings.database
    ours = (
        client_versions.parse(_said(str(database.bin / "pg_dump"), "--version"))
        if database
        else None
    )
    if ours and theirs and ours[0] > theirs[0]:
        yield (
            Level.CRITICAL,
            f"our pg_dump {ours[0]} is newer than the peer's pg_restore {theirs[0]}",
        )


def _said(*argv: str, whole: bool = False) -> str:
    """Return what a program printed, its first line; "" when it is not there or failed."""
    output = run(argv, limit_s=LIMIT_S)
    if output.exit_code != 0:
        return ""
    return output.text if whole else output.text.split("\n", 1)[0]


def worst(found: Iterable[tuple[Level, str]]) -> Level:
    """Return the worst level among *found*."""
    levels: Sequence[Level] = [level for level, _ in found]
    return max(levels, default=Level.OK)
