"""Archives of the application: evil ones made with GNU tar, and live trees that do not stand still.

Fault matrix F23 (evil tar), F45 (files change while they are read).
"""

import gzip
import hashlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError, InputError
from hasync.failure import Exit, Stop
from hasync.files import archive, members
from hasync.files.archive import Packed, pack, unpack, unpack_foreign
from hasync.files.exclusions import rules
from hasync.files.members import Member
from hasync.files.tar import Kind

LIMIT_S = 60.0
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="devices and owners need root")


def picture(top: Path) -> dict[str, tuple[object, ...]]:
    """Return all of a tree, to the byte: kinds, rights, owners, times, targets, content."""
    found: dict[str, tuple[object, ...]] = {}
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


def tar(folder: Path, target: Path, *words: str) -> Path:
    """Write an archive with GNU tar."""
    subprocess.run(["tar", "-P", "-C", str(folder), "-cf", str(target), *words], check=True)
    return target


class Yard:
    """A folder to extract into, with precious things beside it."""

    def __init__(self, base: Path) -> None:
        self.base, self.bad = base, base / "bad"
        self.made = base / "evil.tar"
        self.world = base / "world"
        self.outside, self.inside = self.world / "outside", self.world / "inside"
        for folder in (self.bad / "ngp", self.outside, self.inside):
            folder.mkdir(parents=True)
        (self.outside / "precious").write_text("precious")
        (self.bad / "ngp/file").write_text("hello")

    def innocent(self) -> tuple[Member, ...]:
        """Return the list that a signed set would have: ngp and ngp/file."""
        packed = pack(
            self.bad / "ngp",
            "ngp",
            self.base / "innocent.tar.zst",
            rules=(),
            sqlite=(),
            scratch=self.base,
            limit_s=LIMIT_S,
        )
        return packed.members

    def beside(self) -> dict[str, tuple[object, ...]]:
        """Return all of the world but what lies in the folder to extract into."""
        shown = picture(self.world)
        return {path: one for path, one in shown.items() if not path.startswith("inside")}


def absolute_link(yard: Yard) -> Path:
    (yard.bad / "ngp/evil").symlink_to(yard.outside)
    return tar(yard.bad, yard.made, "ngp")


def link_up(yard: Yard) -> Path:
    (yard.bad / "ngp/evil").symlink_to("../../outside")
    return tar(yard.bad, yard.made, "ngp")


def through_a_link(yard: Yard) -> Path:
    """First a link that leads out, then a file below it."""
    (yard.bad / "ngp/evil").symlink_to(yard.outside)
    tar(yard.bad, yard.made, "ngp")
    (yard.bad / "ngp/evil").unlink()
    (yard.bad / "ngp/evil").mkdir()
    (yard.bad / "ngp/evil/pwned").write_text("pwned")
    subprocess.run(["tar", "-P", "-C", yard.bad, "-rf", yard.made, "ngp/evil/pwned"], check=True)
    return yard.made


def hard_link_out(yard: Yard) -> Path:
    (yard.bad / "ngp/one").write_text("x")
    (yard.bad / "ngp/two").hardlink_to(yard.bad / "ngp/one")
    change = f"--transform=s,^ngp/two,{yard.outside}/precious,RSh"
    words = ("--no-recursion", change, "ngp", "ngp/two", "ngp/one")
    return tar(yard.bad, yard.made, *words)


def dots(yard: Yard) -> Path:
    (yard.bad / "ngp/pwned").write_text("pwned")
    return tar(yard.bad, yard.made, "--transform=s,ngp/pwned,ngp/../../outside/pwned,", "ngp")


def absolute(yard: Yard) -> Path:
    (yard.bad / "ngp/pwned").write_text("pwned")
    return tar(yard.bad, yard.made, f"--transform=s,ngp/pwned,{yard.outside}/pwned,", "ngp")


def device(yard: Yard) -> Path:
    os.mknod(yard.bad / "ngp/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return tar(yard.bad, yard.made, "ngp")


def fifo(yard: Yard) -> Path:
    os.mkfifo(yard.bad / "ngp/pipe")
    return tar(yard.bad, yard.made, "ngp")


def set_user_id(yard: Yard) -> Path:
    (yard.bad / "ngp/shell").write_text("#!")
    (yard.bad / "ngp/shell").chmod(0o4755)
    return tar(yard.bad, yard.made, "ngp")


def twice(yard: Yard) -> Path:
    tar(yard.bad, yard.made, "ngp")
    (yard.bad / "ngp/file").write_text("another one")
    subprocess.run(["tar", "-C", yard.bad, "-rf", yard.made, "ngp/file"], check=True)
    return yard.made


def sparse(yard: Yard) -> Path:
    with (yard.bad / "ngp/huge").open("wb") as file:
        file.truncate(1 << 40)
    return tar(yard.bad, yard.made, "--sparse", "ngp")


def sparse_pax(yard: Yard) -> Path:
    with (yard.bad / "ngp/huge").open("wb") as file:
        file.truncate(1 << 40)
    return tar(yard.bad, yard.made, "--sparse", "--format=pax", "ngp")


def newline(yard: Yard) -> Path:
    (yard.bad / "ngp/two\nlines").write_text("x")
    return tar(yard.bad, yard.made, "ngp")


def not_utf8(yard: Yard) -> Path:
    (yard.bad / "ngp" / os.fsdecode(b"caf\xe9")).write_text("x")
    return tar(yard.bad, yard.made, "ngp")


def volume(yard: Yard) -> Path:
    return tar(yard.bad, yard.made, "--label=evil", "ngp")


def global_header(yard: Yard) -> Path:
    return tar(
        yard.bad, yard.made, "--format=pax", "--pax-option=globexthdr.name=x,comment=evil", "ngp"
    )


def another_content(yard: Yard) -> Path:
    (yard.bad / "ngp/file").write_text("hellO")
    return tar(yard.bad, yard.made, "ngp")


def another_name(yard: Yard) -> Path:
    return tar(yard.bad, yard.made, "--transform=s,ngp/file,ngp/elif,", "ngp")


def another_mode(yard: Yard) -> Path:
    (yard.bad / "ngp/file").chmod(0o777)
    return tar(yard.bad, yard.made, "ngp")


EVIL = (
    *(absolute_link, link_up, through_a_link, hard_link_out, dots, absolute, fifo, set_user_id),
    *(twice, sparse, sparse_pax, newline, not_utf8, volume, global_header),
    pytest.param(device, marks=needs_root),
)
Maker = Callable[[Yard], Path]


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """A fresh yard."""
    return Yard(tmp_path)


@pytest.mark.parametrize("evil", EVIL)
def test_an_evil_archive_of_the_old_kind_is_refused(evil: Maker, yard: Yard) -> None:
    """Unpacking a tgz without a list refuses it, and touches nothing outside (F23)."""
    made = evil(yard)
    packed = yard.base / "pgbackup.20260101060000.tgz"
    packed.write_bytes(gzip.compress(made.read_bytes()))
    before = yard.beside()

    with pytest.raises(InputError):
        unpack_foreign(packed, yard.inside, max_bytes=1 << 30)

    assert yard.beside() == before


@pytest.mark.parametrize("evil", [*EVIL, another_content, another_name, another_mode])
def test_an_evil_archive_in_a_set_is_refused(evil: Maker, yard: Yard) -> None:
    """Only what the signed list names is ever made; the first difference ends it (F23)."""
    listed = yard.innocent()
    made = evil(yard)
    subprocess.run(["zstd", "-q", str(made), "-o", str(yard.base / "evil.tar.zst")], check=True)
    before = yard.beside()

    with pytest.raises(Stop) as stopped:
        unpack(yard.base / "evil.tar.zst", listed, yard.inside, limit_s=LIMIT_S, own=False)

    assert stopped.value.code is Exit.NOT_VERIFIED
    assert yard.beside() == before


def test_the_same_archive_without_evil_is_taken(yard: Yard) -> None:
    """What the evil archives are made from is itself accepted, so the refusals are for the evil."""
    listed = yard.innocent()
    made = tar(yard.bad, yard.base / "good.tar", "ngp")
    packed = yard.base / "good.tgz"
    packed.write_bytes(gzip.compress(made.read_bytes()))

    unpack(yard.base / "innocent.tar.zst", listed, yard.inside, limit_s=LIMIT_S, own=False)
    (yard.base / "second").mkdir()
    names = unpack_foreign(packed, yard.base / "second", max_bytes=1 << 20)

    assert names == ("ngp/file",)
    assert (yard.inside / "ngp/file").read_text() == "hello"
    assert (yard.base / "second/ngp/file").read_text() == "hello"


def test_a_link_planted_while_extracting_is_no_way_out(yard: Yard) -> None:
    """A folder that is exchanged for a link under our hands makes the extraction fail."""
    (yard.bad / "ngp/a").mkdir()
    (yard.bad / "ngp/a/pwned").write_text("x")
    listed = yard.innocent()
    folder, *rest = [one for one in listed if one.path.startswith("ngp/a")]
    before = yard.beside()

    with archive.Extraction(yard.inside, own=False) as extraction:
        extraction.make(listed[0])
        extraction.make(folder)
        (yard.inside / "ngp/a").rmdir()
        (yard.inside / "ngp/a").symlink_to(yard.outside)
        with pytest.raises(Stop):
            extraction.make(rest[0], [b"x"])

    assert yard.beside() == before


def test_a_bomb_is_refused_before_it_is_written(yard: Yard) -> None:
    """A tgz that expands beyond what is allowed ends at the header that says so."""
    with (yard.bad / "ngp/zeros").open("wb") as file:
        file.truncate(1 << 26)
    made = tar(yard.bad, yard.base / "bomb.tar", "ngp")
    (yard.base / "bomb.tgz").write_bytes(gzip.compress(made.read_bytes()))

    with pytest.raises(InputError, match="more than 1000000 bytes"):
        unpack_foreign(yard.base / "bomb.tgz", yard.inside, max_bytes=1_000_000)

    assert sum(path.stat().st_size for path in yard.inside.rglob("*") if path.is_file()) < 1_000_000


@pytest.mark.parametrize("cut", [0, 1, 10, 100, -1])
def test_a_cut_tgz_is_refused(yard: Yard, cut: int) -> None:
    """An archive whose end is missing is never taken for a whole one."""
    made = tar(yard.bad, yard.base / "good.tar", "ngp")
    (yard.base / "cut.tgz").write_bytes(gzip.compress(made.read_bytes())[:cut])

    with pytest.raises(HarnessError):
        unpack_foreign(yard.base / "cut.tgz", yard.inside, max_bytes=1 << 20)


BAD_MEMBERS = (
    {"path": "ngp/../etc"},
    {"path": "/etc/passwd"},
    {"path": "ngp/two\nlines"},
    {"mode": 0o4755},
    {"mode": 0o1777},
    {"kind": Kind.HARD},
    {"sha256": "0" * 63},
    {"size_bytes": -1},
    {"uid": 2**32 - 1},
    {"target": "x"},
)


@pytest.mark.parametrize("change", BAD_MEMBERS)
def test_a_list_cannot_even_name_what_is_evil(yard: Yard, change: dict[str, object]) -> None:
    """The list of a set refuses such members itself, signed or not."""
    file = yard.innocent()[1]

    with pytest.raises(InputError):
        replace(file, **change)  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize(
    "target", ["/etc", "../..", "../../x", "a/../../..", "..", "", "a//b", "./a"]
)
def test_a_listed_link_stays_in_its_root(target: str) -> None:
    """A link's target may climb only at its beginning, and no further than its own root."""
    with pytest.raises(InputError):
        Member("ngp/evil", Kind.LINK, 0o777, 0, 0, "", "", 0, target=target)


def packed_of(top: Path, base: Path, **more: object) -> tuple[Packed, Path]:
    """Pack *top* as the root ngp; return what went in, and the archive."""
    target = base / "ngp.tar.zst"
    scratch = base / "scratch"
    scratch.mkdir(exist_ok=True)
    options = {"rules": rules(), "sqlite": (), "scratch": scratch, "limit_s": LIMIT_S} | more
    packed = pack(top, "ngp", target, **options)  # type: ignore[arg-type] # named above
    assert list(scratch.iterdir()) == []
    return packed, target


def unpacked(packed: Packed, target: Path, base: Path) -> Path:
    """Return the tree that comes out, from the list as it is read back."""
    folder = base / "out"
    folder.mkdir()
    listed = members.parse(members.encode(packed.members))
    unpack(target, listed, folder, limit_s=LIMIT_S, own=os.geteuid() == 0)
    return folder / "ngp"


def test_a_tree_comes_back_with_all_that_is_kept(tmp_path: Path) -> None:
    """Names, rights, owners, times to the nanosecond, links and content are as they were."""
    top = tmp_path / "ngp"
    (top / "deep" / "ä ö" / ("x" * 200)).mkdir(parents=True)
    (top / "deep/ä ö/file").write_bytes(os.urandom(3_000_000))
    (top / "deep/empty").write_text("")
    (top / "link").symlink_to("deep/empty")
    (top / "deep/up").symlink_to("../link")
    (top / "deep").chmod(0o700)
    (top / "deep/empty").chmod(0o640)
    os.utime(top / "deep/empty", ns=(1, 1_234_567_890_123_456_789))
    os.utime(top / "link", ns=(1, 987_654_321_000_000_001), follow_symlinks=False)
    if os.geteuid() == 0:
        os.chown(top / "deep/empty", 65_534, 65_534)
        os.chown(top / "link", 4_000_000, 1, follow_symlinks=False)

    packed, target = packed_of(top, tmp_path)

    assert packed.warnings == packed.left_out == ()
    assert picture(unpacked(packed, target, tmp_path)) == picture(top)


def test_gnu_tar_takes_the_archive_out_too(tmp_path: Path) -> None:
    """A person without this program can restore: zstd and tar are enough."""
    top = tmp_path / "ngp"
    (top / "ä").mkdir(parents=True)
    (top / "ä" / ("n" * 180)).write_text("content")
    (top / "link").symlink_to("ä")
    _, target = packed_of(top, tmp_path)
    (tmp_path / "byhand").mkdir()

    subprocess.run(["tar", "-I", "zstd", "-C", tmp_path / "byhand", "-xf", target], check=True)

    for path in ("ä/" + "n" * 180, "link/" + "n" * 180):
        assert (tmp_path / "byhand/ngp" / path).read_text() == "content"


def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    """A pipe, a link out, a log, an unfit name and special rights each leave a word behind."""
    top = tmp_path / "ngp"
    top.mkdir()
    os.mkfifo(top / "pipe")
    (top / "java").symlink_to("/usr/lib/jvm")
    (top / "x.log").write_text("x")
    (top / "two\nlines").write_text("x")
    (top / "suid").write_text("x")
    (top / "suid").chmod(0o4755)
    os.setxattr(top / "suid", "user.note", b"x")

    packed, _ = packed_of(top, tmp_path)

    assert [one.path for one in packed.members] == ["ngp", "ngp/suid"]
    assert packed.members[1].mode == 0o755
    assert packed.host_links == ("ngp/java",)
    told = "\n".join(packed.left_out)
    assert "ngp/pipe: neither file" in told
    assert "ngp/java: a link that may lead out" in told
    assert "ngp/x.log: excluded by ngp/**/*.log" in told
    assert "ngp/suid: its set-user-id" in told
    assert "ngp/suid: its attribute user.note" in told
    assert len(packed.warnings) == 1
    assert packed.warnings[0].startswith("'ngp/two\\nlines'")


def test_an_absolute_link_into_the_tree_stays_in_the_new_one(tmp_path: Path) -> None:
    """/opt/ngp/current -> /opt/ngp/v7 becomes relative, so it never points into the old tree."""
    top = tmp_path / "ngp"
    (top / "v7/bin").mkdir(parents=True)
    (top / "v7/bin/current").symlink_to(top / "v7")
    (tmp_path / "opt").symlink_to(tmp_path)

    packed, _ = packed_of(tmp_path / "opt/ngp", tmp_path)

    links = {one.path: one.target for one in packed.members if one.kind is Kind.LINK}
    assert links == {"ngp/v7/bin/current": "../../v7"}


def test_a_root_that_is_a_link_is_followed(tmp_path: Path) -> None:
    """A linked root gives the tree behind it, not a set with one link in it (H45)."""
    (tmp_path / "ngp-7").mkdir()
    (tmp_path / "ngp-7/file").write_text("x")
    (tmp_path / "ngp").symlink_to("ngp-7")

    packed, _ = packed_of(tmp_path / "ngp", tmp_path)

    assert [one.path for one in packed.members] == ["ngp", "ngp/file"]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """A tree in which another process changes everything all the time."""
    top = tmp_path / "ngp"
    top.mkdir()
    for number in range(40):
        (top / f"f{number:02d}").write_bytes(b"x" * 200_000)
    script = textwrap.dedent("""
        import os, sys, itertools
        os.chdir(sys.argv[1])
        print("ready", flush=True)
        for number in itertools.count():
            name = f"f{number * 7 % 40:02d}"
            with open(name, "r+b") as file:
                file.truncate(number * 977 % 200_000)
                file.write(b"y" * (number % 3000))
            if number % 5 == 0:
                os.unlink(name)
                open(name, "wb").write(b"z" * 150_000)
            if number % 11 == 0:
                os.rename(name, name + "-moved")
                os.replace(name + "-moved", name)
    """)
    writer = subprocess.Popen([sys.executable, "-c", script, top], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    yield top
    assert writer.poll() is None, "it wrote to the end of the test"
    writer.kill()
    writer.wait()
    writer.stdout.close()


def test_a_tree_that_changes_meanwhile_is_still_archived(busy: Path, tmp_path: Path) -> None:
    """Truncated, deleted and renamed files never end the run; a torn one is named (F45)."""
    for number in range(3):
        base = tmp_path / f"run{number}"
        base.mkdir()

        packed, target = packed_of(busy, base)

        out = unpacked(packed, target, base)
        files = [one for one in packed.members if one.kind is Kind.FILE]
        assert {path.name for path in out.iterdir()} == {one.path[4:] for one in files}
        torn = [line for line in packed.warnings if "changed while read" in line]
        assert len(packed.warnings) == len(torn)


def test_a_file_that_never_stands_still_is_named(tmp_path: Path) -> None:
    """What was read of it goes in as it was, with a warning."""
    top = tmp_path / "ngp"
    top.mkdir()
    (top / "ledger").write_bytes(b"0" * 30_000_000)
    script = "import sys\nwith open(sys.argv[1], 'ab', 0) as f:\n  while True: f.write(b'1' * 100)"
    with subprocess.Popen([sys.executable, "-c", script, top / "ledger"]) as writer:
        start = (top / "ledger").stat().st_size
        while (top / "ledger").stat().st_size == start:
            pass
        packed, _ = packed_of(top, tmp_path)
        writer.kill()

    assert packed.warnings == ("ngp/ledger: changed while read, 3 times",)
    assert packed.members[1].size_bytes >= start


WRITER = """
import sqlite3, sys
live = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
live.execute("pragma journal_mode = " + sys.argv[2])
live.execute("create table if not exists calls(n integer primary key, crc text)")
n = 0
while True:
    n += 1
    live.execute("insert into calls values (?, ?)", (n, "x" * 500))
    print(n, flush=True)
"""


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_live_sqlite_file_is_copied_whole(place: Path, mode: str) -> None:
    """Every row acknowledged before the copy began is in it, and it is sound (F45)."""
    top = place / "ngp"
    (top / "enum").mkdir(parents=True)
    file = top / "enum/config.db"
    argv = [sys.executable, "-c", WRITER, str(file), mode]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for number in range(3):
            acknowledged = 0
            while acknowledged < 200 * (number + 1):
                acknowledged = int(writer.stdout.readline())
            base = place / f"run{number}"
            base.mkdir()

            packed, target = packed_of(top, base)

            assert writer.poll() is None
            assert packed.sqlite == ("ngp/enum/config.db",)
            assert packed.warnings == ()
            out = unpacked(packed, target, base)
            assert [path.name for path in (out / "enum").iterdir()] == ["config.db"]
            with closing(sqlite3.connect(out / "enum/config.db")) as copy:
                assert copy.execute("pragma integrity_check").fetchall() == [("ok",)]
                rows = copy.execute("select count(*), max(n) from calls").fetchone()
                assert rows[0] == rows[1] >= acknowledged
        writer.kill()


def test_a_plain_copy_of_the_same_file_would_lose_rows(tmp_path: Path) -> None:
    """The test above can see the bug: the bytes of the database file alone lack its newest rows."""
    file = tmp_path / "config.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as live:
        live.execute("pragma journal_mode = wal")
        live.execute("create table calls(n)")
        live.execute("insert into calls values (1)")
        shutil.copyfile(file, tmp_path / "torn.db")
        with closing(sqlite3.connect(tmp_path / "torn.db")) as copy, pytest.raises(sqlite3.Error):
            copy.execute("select n from calls").fetchall()


def test_a_listed_sqlite_file_that_is_none_is_told(tmp_path: Path) -> None:
    """A damaged one goes in as plain bytes, a missing one is named: both are warnings."""
    top = tmp_path / "ngp"
    top.mkdir()
    (top / "bad.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (top / "auto.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)

    packed, target = packed_of(top, tmp_path, sqlite=("ngp/bad.db", "ngp/none.db"))

    assert len(packed.warnings) == 3
    assert "ngp/bad.db: copied as plain bytes" in packed.warnings[0]
    assert packed.left_out[0].startswith("ngp/auto.db: SQLite cannot copy it")
    out = unpacked(packed, target, tmp_path)
    assert (out / "bad.db").read_bytes() == (top / "bad.db").read_bytes()


def test_a_locked_sqlite_file_does_not_hang_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that never lets go costs the time limit, and the file goes in as bytes."""
    monkeypatch.setattr(archive, "SQLITE_LIMIT_S", 0.5)
    top = tmp_path / "ngp"
    top.mkdir()
    with closing(sqlite3.connect(top / "a.db", isolation_level=None)) as live:
        live.execute("create table t(n)")
        live.execute("begin exclusive")

        packed, _ = packed_of(top, tmp_path, sqlite=("ngp/a.db",))

    assert "locked" in packed.warnings[0]


def test_a_disk_that_fills_up_is_told_as_such(tmp_path: Path) -> None:
    """What zstd says of a full disk becomes the exit code for no space (F06)."""
    top = tmp_path / "ngp"
    top.mkdir()
    (top / "file").write_bytes(os.urandom(4_000_000))
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", full], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs root to mount a tmpfs")
    try:
        with pytest.raises(Stop) as stopped:
            pack(
                top,
                "ngp",
                full / "ngp.tar.zst",
                rules=(),
                sqlite=(),
                scratch=tmp_path,
                limit_s=LIMIT_S,
            )
    finally:
        subprocess.run(["umount", full], check=True)

    assert stopped.value.code is Exit.NO_SPACE
