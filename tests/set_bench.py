"""A store in a folder of its own, with real keys, for the tests of sets."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.clock import ManualClock
from hasync.durable import telling
from hasync.sets.backup import Kind, StoredSet
from hasync.sets.store import Store
from hasync.settings import Folders, Signing

AT_NS = 1_795_372_860 * 10**9  # 2026-11-22T18:41:00Z
FILES = {"toc.dat": b"PGDMP", "3001.dat.zst": b"rows" * 1000, "blobs/1.dat": b"x" * 70_000}


def make_keys(folder: Path, *sites: str) -> None:
    """Make a key for each site, and one file of allowed signers with all of them."""
    lines = []
    for site in sites:
        key = folder / site
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", site, "-f", str(key)]
        subprocess.run(argv, check=True, timeout=30)
        public = key.with_suffix(".pub").read_text(encoding="ascii")
        lines.append(f'{site} namespaces="hasync-set" {public}')
    (folder / "allowed_signers").write_text("".join(lines), encoding="ascii")


def make_store(base: Path, keys: Path, site: str = "east", at_ns: int = AT_NS) -> Store:
    """Return a store below *base* that signs as *site*."""
    signing = Signing(keys / site, keys / "allowed_signers")
    return Store(Folders(base), signing, site, ManualClock(at_ns))


def publish(
    store: Store,
    files: Mapping[str, bytes] | None = None,
    *,
    kind: Kind = Kind.DATABASE,
    epoch: int = 3,
) -> StoredSet:
    """Return a set with *files*, published."""
    with store.begin(kind) as draft:
        for path, content in (FILES if files is None else files).items():
            with telling("write", draft.data / path):
                (draft.data / path).parent.mkdir(parents=True, exist_ok=True)
                (draft.data / path).write_bytes(content)
        versions = {"pg_dump": "15.18"}
        facts = {"tables": {"public.calls": 2}}
        manifest = store.compose(
            draft, epoch=epoch, snapshot_at_ns=AT_NS, versions=versions, facts=facts
        )
        return store.publish(draft, manifest)


def send(sender: Store, stored: StoredSet, to: Path) -> Path:
    """Copy a set into the inbox below the base folder *to*, as rsync does; return the part."""
    part = to / "inbox" / f"{stored.id}.part"
    shutil.copytree(sender.folder(stored), part, dirs_exist_ok=True)
    return part


def everything(folder: Path) -> dict[str, bytes]:
    """Return all files below *folder* with their content, to see that nothing changed."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
