"""Backups of the old script: listed, proved by a restore, imported, and taken by no run (F55)."""

import gzip
import logging
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.clock import ManualClock, SystemClock
from harness.errors import InputError
from hasync.commands.choice import candidates
from hasync.database import databases
from hasync.database.companions import Place
from hasync.database.facts import DatabaseFacts
from hasync.failure import Stop
from hasync.legacy import import_backup, listed
from hasync.sets import base_folder
from hasync.sets.backup import Kind, State, newest
from hasync.sets.retention import plan
from hasync.sets.store import Store
from hasync.settings import Folders, Retention, Service, Settings, Signing
from hasync.steps import failpoints
from tests.fault.cluster import Cluster
from tests.set_bench import AT_NS, make_keys

LOG = logging.getLogger("test")
NAME = "pgbackup.20260102030405.tgz"
SQL = """
create table calls(n integer primary key, words text);
insert into calls select n, repeat('call', n % 7) from generate_series(1, 500) n;
create table empty(n integer);
select lo_from_bytea(0, 'large');
"""


@pytest.fixture(name="dump", scope="module")
def make_dump(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the old script dumped it: pg_dump -Fd with gzip."""
    cluster.fresh("old")
    cluster.psql(SQL, "old")
    folder = cluster.folder / "pgbackup.20260102030405"
    cluster.tool(
        "pg_dump", "-h", str(cluster.socket), "-U", "postgres", "-Fd", "-f", str(folder), "old"
    )
    mine = tmp_path_factory.mktemp("old") / folder.name
    shutil.copytree(folder, mine)
    cluster.psql("drop database old")
    return mine


def packed(dump: Path, target: Path) -> Path:
    """Return the file that the old script made of *dump*."""
    with tarfile.open(target, "w:gz") as archive:
        archive.add(dump, dump.name)
    return target


@pytest.fixture(name="settings")
def make_settings(cluster: Cluster, tmp_path: Path) -> Settings:
    """A database host whose live database is another one."""
    make_keys(tmp_path, "east")
    base = tmp_path / "hasync"
    base.mkdir(mode=0o700)
    base_folder.prepare(Folders(base))
    cluster.fresh("ngp")
    cluster.psql("create table live(n integer)", "ngp")
    signing = Signing(tmp_path / "east", tmp_path / "allowed_signers")
    service = Service(status=("false",), inactive=(1,))
    return Settings("east", Folders(base), signing, cluster.database(), service=service)


def store_of(settings: Settings) -> Store:
    return Store(settings.folders, settings.signing, settings.site, ManualClock(AT_NS))


def imported(settings: Settings, path: Path, *, trusted: bool = True) -> None:
    """Import *path* as a person would."""
    import_backup(settings, store_of(settings), path, SystemClock(), LOG, trusted=trusted)


def left_over(settings: Settings) -> list[str]:
    """Return what an import may not leave: work, and databases beside the live one."""
    assert settings.database is not None
    found = databases.look(settings.database).of(Place.NEW)
    return [*(one.name for one in found), *(one.name for one in settings.folders.work.iterdir())]


def test_an_old_backup_becomes_a_set_that_no_run_takes(
    settings: Settings, dump: Path, tmp_path: Path
) -> None:
    """Its rows are counted by a restore; pinned, held, of epoch 0: never newest, never pruned."""
    path = packed(dump, tmp_path / NAME)
    before = path.read_bytes()

    imported(settings, path)

    store = store_of(settings)
    (stored,) = store.scan().of(Kind.DATABASE)
    assert stored.manifest is not None
    facts = DatabaseFacts.parse(stored.manifest.facts)
    assert (facts.rows, facts.large_objects) == (500, 1)
    assert stored.state.state is State.VERIFIED
    assert stored.state.pinned
    assert NAME in stored.state.held
    assert stored.name.epoch == 0
    assert stored.manifest.snapshot_at_ns == 1_767_323_045 * 10**9
    assert store.verify(stored).proved
    assert newest(store.scan().sets) is None
    assert candidates(store.scan().sets, "west", 1, AT_NS) == ()
    assert plan(store.scan().sets, Retention(min_keep=1, max_bytes=1), 1, AT_NS).remove == ()
    assert path.read_bytes() == before
    assert left_over(settings) == []


def empty_a_table(dump: Path) -> None:
    """What pg_restore takes for an empty table, with exit code 0 (H05)."""
    largest = max(dump.glob("*.dat.gz"), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"")


def cut_a_table(dump: Path) -> None:
    largest = max(dump.glob("*.dat.gz"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-9])


def change_a_row(dump: Path) -> None:
    largest = max(dump.glob("*.dat.gz"), key=lambda path: path.stat().st_size)
    text = gzip.decompress(largest.read_bytes()).replace(b"7\t", b"x\t", 1)
    largest.write_bytes(gzip.compress(text))


def lose_a_file(dump: Path) -> None:
    min(dump.glob("*.dat.gz")).unlink()


def lose_the_toc(dump: Path) -> None:
    (dump / "toc.dat").unlink()


def spoil_the_toc(dump: Path) -> None:
    (dump / "toc.dat").write_bytes(b"PGDMP" + bytes(100))


SPOILT = (empty_a_table, cut_a_table, change_a_row, lose_a_file, lose_the_toc, spoil_the_toc)


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_damaged_old_backup_is_refused(
    settings: Settings, dump: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """Nothing is imported, nothing left over, the live database and the file are as before."""
    mine = tmp_path / "spoilt" / dump.name
    shutil.copytree(dump, mine)
    spoil(mine)
    path = packed(mine, tmp_path / NAME)

    with pytest.raises((InputError, Stop)):
        imported(settings, path)

    assert store_of(settings).scan().sets == ()
    assert left_over(settings) == []
    assert path.exists()


def test_a_cut_file_is_refused(settings: Settings, dump: Path, tmp_path: Path) -> None:
    """An interrupted copy is never taken for a backup (H40)."""
    path = packed(dump, tmp_path / NAME)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InputError):
        imported(settings, path)

    assert left_over(settings) == []


def test_a_person_has_to_vouch_for_it(settings: Settings, dump: Path, tmp_path: Path) -> None:
    """Without a word of trust nothing of the file is even read (H52)."""
    with pytest.raises(InputError, match="not signed"):
        imported(settings, packed(dump, tmp_path / NAME), trusted=False)


@pytest.mark.parametrize(
    "name", ["backup.tgz", "pgbackup.2026.tgz", "pgbackup.20261399999999.tgz", "pgbackup_old.tgz"]
)
def test_a_name_that_is_not_the_scripts_is_refused(
    settings: Settings, dump: Path, tmp_path: Path, name: str
) -> None:
    """Only the old script's own names are taken."""
    with pytest.raises(InputError):
        imported(settings, packed(dump, tmp_path / name))


@pytest.mark.parametrize("failpoint", [one for one in failpoints() if one.startswith("import.")])
def test_an_import_that_fails_leaves_nothing(
    settings: Settings,
    dump: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failpoint: str,
) -> None:
    """A refusal at any step: no half set, no database beside, and the next try succeeds."""
    path = packed(dump, tmp_path / NAME)
    with monkeypatch.context() as patch:
        patch.setenv("HASYNC_FAILPOINT", f"{failpoint}:raise")
        with pytest.raises(Stop):
            imported(settings, path)

    assert left_over(settings) == []
    store = store_of(settings)
    there = store.scan().of(Kind.DATABASE)
    assert all(one.state.pinned and one.state.held and store.verify(one).proved for one in there)
    imported(settings, path)
    assert len(store.scan().of(Kind.DATABASE)) == len(there) + 1


def test_old_backups_are_listed_and_nothing_else(tmp_path: Path) -> None:
    """Both kinds with their names' times; foreign files, folders and links are passed over."""
    for name in (NAME, "ngpbackup20260102030405.tgz", "before-upgrade.tgz", "pgbackup.2026"):
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "pgbackup.20260102030406.tgz").mkdir()
    (tmp_path / "pgbackup.20260102030407.tgz").symlink_to(NAME)

    found = listed([tmp_path])

    assert [(one.path.name, one.kind, one.size_bytes, one.named_at) for one in found] == [
        ("ngpbackup20260102030405.tgz", Kind.APPLICATION, 5, "20260102030405"),
        (NAME, Kind.DATABASE, 5, "20260102030405"),
    ]


def test_the_file_that_gnu_tar_made_by_hand_is_taken_too(
    settings: Settings, dump: Path, tmp_path: Path
) -> None:
    """The command of the guide, tar czf, makes a file that is imported just the same."""
    path = tmp_path / NAME
    subprocess.run(["tar", "-C", dump.parent, "-czf", path, dump.name], check=True)

    imported(settings, path)

    assert len(store_of(settings).scan().of(Kind.DATABASE)) == 1
