"""What the lab's hosts consist of: their processes, ports and files, worked out from the site file.

Pure: `fst.lab.hosts` writes it out. The settings of the warm standby are laid down as the profile
asks for them, so a lab is a pair that is set up as it should be, until a test breaks it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fst.ea_profile import Kind, Profile, Setting
from fst.host_history import WatchedHost
from fst.plan import HostRole
from fst.roles import PeerSpec, Roles, Side, Standing
from harness.errors import InputError

PROGRAMS: Mapping[HostRole, tuple[str, ...]] = {  # of the service; the first one has the ports
    HostRole.MEDIATION: ("ngp-app", "ngp-directory"),
    HostRole.DATABASE: ("ngp-database",),
    HostRole.ENUM: ("ngp-enum", "ngp-upload"),
    HostRole.PROBE: ("ngp-probe", "ngp-upload"),
}
PAIRED = (HostRole.MEDIATION, HostRole.DATABASE)  # have a warm standby, and cron to keep it
KEEP = 14  # copies; what the scripts keep when not told otherwise
LAB_KEEP = 60  # copies of a lab, which makes several a second: none may go while it is hashed
SOURCE = "/opt/ngp/config"  # what is copied

_TEXTS = {
    "/opt/ngp/pgsql-9.3/.bash_profile": (
        "# lab host\nLD_LIBRARY_PATH=$HOME/lib\nPATH=$PATH:$HOME/bin\nPGDATA=/opt/ngp/db\n"
        "export PATH\nexport LD_LIBRARY_PATH\nexport PGDATA\n"
    ),
    "/etc/ssh/sshd_config": "# lab host\n#PermitRootLogin no\nPermitRootLogin without-password\n",
}
_SCRIPTS = {
    ("guide", HostRole.DATABASE): ". $HOME/.bash_profile; /opt/ngp/pgsql-9.3/pgbackups/pgsync.py",
    ("guide", HostRole.MEDIATION): ". $HOME/.bash_profile; /opt/ngpbackups/ngpsync.py",
    ("hasync", HostRole.DATABASE): "/usr/local/bin/pgsync",
    ("hasync", HostRole.MEDIATION): "/usr/local/bin/ngpsync",
}
HASYNC = "/var/lib/hasync"
_KEPT = {HostRole.DATABASE: ("db", "pgsync"), HostRole.MEDIATION: ("app", "ngpsync")}
_PREFIXES = {HostRole.DATABASE: "pgbackup", HostRole.MEDIATION: "ngpbackup"}


@dataclass(slots=True)
class HostLayout:
    """One host of the lab, as it is written out."""

    host: WatchedHost
    facts: dict[str, Any]  # host.json
    programs: tuple[str, ...]  # names that its processes go by
    folders: set[str] = field(default_factory=set)
    files: dict[str, tuple[str, int]] = field(default_factory=dict)  # path to text and mode
    connections: tuple[tuple[str, int], ...] = ()  # address and port, each to be established

    @property
    def key(self) -> str:
        """Return its public key: made up, and of use to nobody."""
        return f"ssh-ed25519 LAB{self.host.target.replace('/', '')}KEY lab@{self.host.target}"


def peers_of(
    host: WatchedHost, peer: PeerSpec, hosts: tuple[WatchedHost, ...]
) -> tuple[WatchedHost, ...]:
    """Return the active servers that a peer of *host* stands for: its own site's, else all."""
    found = [h for h in hosts if h.role is peer.role and h.standing is Standing.ACTIVE]
    own = tuple(one for one in found if one.site == host.site)
    return own or tuple(found)


def layouts(
    hosts: tuple[WatchedHost, ...],
    roles: Roles,
    profile: Profile,
    *,
    sync_every_s: float,
    root_of: Mapping[str, str],
) -> tuple[HostLayout, ...]:
    """Return the layout of every host; *root_of*: where a target's files lie on this machine."""
    made = {host.target: _layout(host, hosts, roles) for host in hosts}
    for host in hosts:
        if host.role in PAIRED:
            other = _counterpart(host, hosts)
            to = "" if other is None else root_of[other.target]
            peer_site = "" if other is None else other.site
            _cron(made[host.target], roles, profile, sync_every_s, peer_site, to)
            theirs = None if other is None else made[other.target]
            for setting in profile.settings_of(host.role):
                _setting(made[host.target], theirs, profile, setting)
    return tuple(made.values())


def _counterpart(host: WatchedHost, hosts: tuple[WatchedHost, ...]) -> WatchedHost | None:
    same = [h for h in hosts if h.role is host.role and h.standing is host.standing]
    others = [h for h in hosts if h.role is host.role and h.standing is not host.standing]
    at = same.index(host)
    return others[at] if at < len(others) else None


def _layout(host: WatchedHost, hosts: tuple[WatchedHost, ...], roles: Roles) -> HostLayout:
    """Return processes and ports: what a peer's client side names is what a server listens on."""
    active = roles.spec(host.role, Standing.ACTIVE)
    spec = roles.spec(host.role, host.standing)
    wanted = {p.port for one in roles.roles for p in one.peers
              if p.side is Side.CLIENT and p.role is host.role}  # fmt: skip
    clients = [peer for peer in active.peers if peer.side is Side.CLIENT]
    connect = [(h.address, p.port) for p in clients for h in peers_of(host, p, hosts)]
    first, *others = PROGRAMS[host.role]
    needs = host.role is HostRole.MEDIATION  # it does not start without its database
    programs = [{"name": first, "listen": sorted(wanted), "connect": connect, "needs_peers": needs}]
    programs += [{"name": o, "listen": [], "connect": [], "needs_peers": False} for o in others]
    runs = host.standing is Standing.ACTIVE or host.role not in PAIRED
    facts: dict[str, Any] = {
        "name": host.target,
        "address": host.address,
        "service": spec.service,
        "boots": runs,
        "log": active.log,
        "daemons": programs,
        "cron": None,
    }
    names = (first, *others, *(("crond",) if host.role in PAIRED else ()))
    made = HostLayout(host, facts, names, connections=tuple(connect) if runs else ())
    made.folders |= {_parent(active.log), _parent(spec.log), SOURCE}
    made.files[f"{SOURCE}/lab.conf"] = (f"host = {host.target}\n", 0o644)
    return made


def _cron(  # noqa: PLR0913, PLR0917 - what a copy needs to know
    own: HostLayout, roles: Roles, profile: Profile, every_s: float, peer_site: str, to: str
) -> None:
    """Have cron copy to the counterpart, at *peer_site*, whose files lie below *to*."""
    role = own.host.role
    log = roles.spec(role, Standing.STANDBY).log
    own.folders.add(_parent(log))
    own.files[log] = ("", 0o644)
    job = {"log": log, "every_s": every_s, "keep": LAB_KEEP, "hasync": None}
    own.facts["cron"] = job
    copies, status = profile.copies_of(role), profile.status_of(role)
    if status is not None:
        job["hasync"] = _hasync(own, peer_site, to)
        own.files[status.program] = ("#!/bin/sh\n# lab host: cron does its work\n", 0o755)
    elif copies is not None:
        own.folders.add(copies.folder)
        job |= {"folder": copies.folder, "prefix": _PREFIXES[role], "what": SOURCE}
        job |= {"to": f"{to}{copies.folder}" if to else ""}
    else:
        raise InputError("names no folder of copies", field=profile.name, value=role.value)


def _hasync(own: HostLayout, peer_site: str, to: str) -> dict[str, Any]:
    """Declare the host's role, and return what cron needs to know of the pair."""
    role = {"role": own.host.standing.value, "epoch": 1}
    own.files[f"{HASYNC}/state/role.json"] = (json.dumps(role), 0o600)
    kind, command = _KEPT[own.host.role]
    found = {"site": own.host.site, "peer": peer_site, "peer_root": to}
    return {**found, "kind": kind, "command": command}


def _setting(own: HostLayout, other: HostLayout | None, profile: Profile, setting: Setting) -> None:
    """Lay down one setting as the profile asks for it."""
    path, role = str(setting.path), own.host.role
    against = "" if other is None else other.host.address
    entry = f"{_SCRIPTS.get((profile.name, role), '/bin/true')} -b {KEEP} {against}\n"
    match setting.kind:
        case Kind.FOLDER:
            own.folders.add(path)
        case Kind.FILE:
            own.files.setdefault(path, ("# lab host\n", 0o644))
        case Kind.EXECUTABLE:
            own.files[path] = ("#!/bin/sh\n# lab host: cron does this script's work\n", 0o744)
        case Kind.TEXT:
            own.files[path] = (_TEXTS[path], 0o644)
        case Kind.CRON_FILE:
            own.files[path] = (f"# lab host\n0 6 * * * {setting.user} {entry}", 0o644)
        case Kind.CRONTAB:
            own.files[f"/var/spool/cron/{setting.user}"] = (f"0 6 * * * {entry}", 0o600)
        case Kind.KEY:
            own.files[f"{path}/id_ed25519"] = ("lab placeholder: not a key\n", 0o600)
            own.files[f"{path}/id_ed25519.pub"] = (f"{own.key}\n", 0o644)
        case Kind.KEY_KNOWN if other is not None:
            own.files[path] = (f"{other.key}\n", 0o400)
        case _:
            pass  # mode goes with the file, start at boot is in host.json


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
