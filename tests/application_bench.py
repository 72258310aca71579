"""A mediation server in a folder: two roots, keys, settings, and its picture to the byte."""

import hashlib
import stat
from dataclasses import replace
from pathlib import Path

from harness.clock import ManualClock
from hasync import role_file
from hasync.files.application import publish
from hasync.role import Role
from hasync.sets import base_folder
from hasync.sets.backup import StoredSet
from hasync.sets.store import Store
from hasync.settings import Application, Folders, Root, Service, Settings, Signing
from tests.set_bench import AT_NS, send

STOPPED = Service(status=("false",), inactive=(1,))
RUNNING = Service(status=("true",), inactive=(1,))
UNKNOWN = Service(status=("sh", "-c", "exit 4"), inactive=(1,))
Picture = dict[str, tuple[object, ...]]


def host(base: Path, keys: Path, site: str, *, service: Service = STOPPED) -> Settings:
    """Return the settings of a host below *base*; its folders are there."""
    folders = Folders(base / "hasync")
    folders.base.mkdir(parents=True, mode=0o700, exist_ok=True)
    base_folder.prepare(folders)
    roots = (Root("ngp", base / "opt/ngp"), Root("m2", base / "root/.m2"))
    signing = Signing(keys / site, keys / "allowed_signers")
    return Settings(site, folders, signing, application=Application(roots=roots), service=service)


def store_of(settings: Settings) -> Store:
    """Return the host's store."""
    return Store(settings.folders, settings.signing, settings.site, ManualClock(AT_NS))


def fill(base: Path, mark: str, *, rules: int = 3) -> None:
    """Write both live trees; *mark* is in every file and in some of the names."""
    ngp, m2 = base / "opt/ngp", base / "root/.m2"
    for folder in ("bin", "config/network", "log", f"rules-{mark}", "empty"):
        (ngp / folder).mkdir(parents=True, exist_ok=True)
    (ngp / "bin/ngp.sh").write_text(f"#!/bin/sh\necho {mark}\n")
    (ngp / "bin/ngp.sh").chmod(0o750)
    (ngp / "bin/current").symlink_to("ngp.sh")
    (ngp / "java").symlink_to(f"/usr/lib/jvm/{mark}")
    (ngp / "login.conf").write_text(mark)
    (ngp / "log/server.txt").write_text(f"log of {mark}")
    (ngp / "config/network/jboss_mediation_ip").write_text(f"192.0.2.{len(mark)}")
    for number in range(rules):
        (ngp / f"rules-{mark}/{number}.drl").write_text(f"{mark} {number}" * 100)
    (m2 / "repository/ngp").mkdir(parents=True, exist_ok=True)
    (m2 / "repository/ngp/r.jar").write_bytes(mark.encode() * 1000)


def activate(settings: Settings, epoch: int = 1) -> None:
    """Declare the host active."""
    state, clock = settings.folders.state, ManualClock(AT_NS)
    role_file.declare(state, Role.ACTIVE, epoch, clock=clock, by="test", why="")


def published(settings: Settings) -> StoredSet:
    """Return a new set of the host's application."""
    return publish(settings, store_of(settings), ManualClock(AT_NS)).stored


def bring(sender: Settings, stored: StoredSet, receiver: Settings) -> StoredSet:
    """Return the set in the receiver's catalogue."""
    send(store_of(sender), stored, receiver.folders.base)
    return store_of(receiver).receive(stored.id)


def live(settings: Settings) -> dict[str, Path]:
    """Return the live trees by name of root."""
    assert settings.application is not None
    return {root.name: root.path for root in settings.application.roots}


def picture(top: Path) -> Picture:
    """Return all of a tree, to the byte: kinds, rights, owners, times, targets, content."""
    found: Picture = {}
    for path in [top, *sorted(top.rglob("*"))]:
        seen = path.lstat()
        mark = (stat.S_IFMT(seen.st_mode), seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns)
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = ""
        found[str(path.relative_to(top))] = (*mark, content)
    return found


def pictures(settings: Settings) -> dict[str, Picture]:
    """Return the pictures of all live trees."""
    return {name: picture(path) for name, path in live(settings).items()}


def leftovers(settings: Settings) -> list[str]:
    """Return what lies beside the live trees and in work/, but for the previous trees."""
    found = [
        str(one)
        for path in live(settings).values()
        for one in path.parent.iterdir()
        if one != path and not one.name.startswith(".hasync-prev-")
    ]
    return found + [str(one) for one in settings.folders.work.iterdir()]


def with_application(settings: Settings, **fields: object) -> Settings:
    """Return settings whose application differs."""
    assert settings.application is not None
    return replace(settings, application=replace(settings.application, **fields))  # type: ignore[arg-type] # named by the tests
