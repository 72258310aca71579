"""The wheelhouse installs and runs where there is no network: the commands of its own INSTALL.

Every command runs in a network namespace with nothing but loopback, which ends with the command.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.lab.peers import need, need_root
from tests.loopback.runs import ROOMY, CasesRun, steady

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
LIMIT_S = 600.0  # to build, or to install; each takes 20 s alone
AT_ONCE = 2
NO_DEPENDENCIES = 4  # exit code of tools/make-wheelhouse
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41  # netdevice(7)
LOOPBACK_UP = f"""
import fcntl, os, socket, struct, sys
flags = struct.pack("16sh22x", b"lo", {IFF_UP_RUNNING})
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, {SIOCSIFFLAGS}, flags)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True, slots=True)
class House:
    """An archive unpacked, and its Python environment installed offline."""

    archive: Path
    again: Future[Path]  # the same, made once more while this one was installed
    folder: Path
    installed: str  # what the installation printed


def copy_sources(to: Path) -> None:
    """Copy what a wheelhouse is made from, so that edits meanwhile make no difference."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, to / name)
    for name in ("harness", "enumtest", "probetest", "hasync", "fst", "fixtures", "tools"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))


def make_archive(sources: Path, out: Path) -> Path:
    """Return the archive that tools/make-wheelhouse makes of *sources*, in *out*."""
    argv: list[str | Path] = [sources / "tools" / "make-wheelhouse", sys.executable, out]
    made = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if made.returncode == NO_DEPENDENCIES:
        why = f"dependencies cannot be had here: {made.stderr.strip().splitlines()[-1]}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def unpack(archive: Path, to: Path) -> Path:
    """Return the one folder that *archive* unpacks to, below *to*."""
    with tarfile.open(archive) as packed:
        packed.extractall(to)  # noqa: S202 - our own archive, made a moment ago
    return to / archive.name.removesuffix(".tar.gz")


def offline(*argv: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with loopback as its only network, and with nothing of ours in its ways."""
    alone = [need("unshare", "util-linux"), "--net", sys.executable, "-c", LOOPBACK_UP, *argv]
    return subprocess.run(
        alone,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={"PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8"},
    )


def commands(install: str) -> list[str]:
    """Return the commands of an INSTALL text: what is set in by four spaces."""
    return re.findall(r"^ {4}(\S.*)$", install, re.MULTILINE)


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """Return the wheelhouse of this tree, unpacked and installed as its INSTALL says."""
    need_root()
    with (
        tempfile.TemporaryDirectory(prefix="fst-wheelhouse-") as made,  # 500 MB: not kept
        ThreadPoolExecutor(1) as pool,
    ):
        sources = Path(made, "sources")
        sources.mkdir()
        copy_sources(sources)
        archive = make_archive(sources, Path(made, "dist"))
        again = pool.submit(make_archive, sources, Path(made, "again"))  # at a later time
        folder = unpack(archive, Path(made))
        install = (folder / "INSTALL").read_text()
        steps = [line for line in commands(install) if "/fst " not in line]
        done = offline("sh", "-c", "\n".join(["set -ex", *steps]), cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        yield House(archive, again, folder, done.stdout + done.stderr)


@dataclass(frozen=True, slots=True)
class Runs:
    """Both ways to run the lab, each alone in a network of its own; they mostly wait."""

    command: Future[CasesRun]
    under_pytest: Future[CasesRun]


@pytest.fixture(scope="session")
def runs(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Return the runs of the lab, begun together; a test waits for its own.

    Their times leave room for a machine that stalls; what it spoils all the same is run again.
    """
    house.again.result()  # what takes a whole processor comes first
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield Runs(
            pool.submit(steady, tmp_path_factory.mktemp("command"), partial(by_command, house)),
            pool.submit(steady, tmp_path_factory.mktemp("pytest"), partial(under_pytest, house)),
        )


def by_command(house: House, folder: Path) -> CasesRun:
    """Return a run by the last command of INSTALL, its evidence in *folder*."""
    last = commands((house.folder / "INSTALL").read_text())[-1]
    roomy = " ".join(f"--set {one}" for one in ROOMY)
    script = f"{last} --out {folder / 'evidence'} {roomy}"
    return left_by(offline("sh", "-c", script, cwd=house.folder), folder)


def under_pytest(house: House, folder: Path) -> CasesRun:
    """Return a run by the pytest of the installation in *folder*."""
    site = house.folder / "sites" / "loopback.toml"
    own = [part for one in ROOMY for part in ("--fst-set", one)]
    argv = (house.folder / "venv/bin/pytest", "--pyargs", "fst.cases", "-m", "enum")
    return left_by(offline(*argv, "--fst-site", site, *own, cwd=folder), folder)


def left_by(done: subprocess.CompletedProcess[str], folder: Path) -> CasesRun:
    """Return what *done* left in *folder*."""
    output = done.stdout + done.stderr
    found = list((folder / "evidence").glob("*/journal.jsonl"))
    assert len(found) == 1, output
    return CasesRun(done.returncode, output, found[0].parent)


def test_archive_names_version_python_and_processor(house: House) -> None:
    """The name says what it fits, and its hash lies beside it."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    name = rf"fst-wheelhouse-\d+\.\d+\.\d+-{tag}-{os.uname().machine}\.tar\.gz"
    sums = house.archive.with_name(f"{house.archive.name}.sha256")

    assert re.fullmatch(name, house.archive.name)
    checked = subprocess.run(
        ["sha256sum", "--check", sums.name], cwd=sums.parent, capture_output=True, check=False
    )
    assert checked.returncode == 0


def test_archive_is_in_one_order_and_belongs_to_nobody(house: House) -> None:
    """Who built it, when, and in which folder leave no trace in its list of files."""
    with tarfile.open(house.archive) as packed:
        members = packed.getmembers()
    names = [member.name for member in members]

    assert names == sorted(names)
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {
        (0, 0, "", 0)
    }
    assert all(name.split("/")[0] == house.folder.name for name in names)


def test_every_file_is_on_the_list_of_hashes(house: House) -> None:
    """SHA256SUMS names all files but itself, so that none can be added unseen."""
    listed = {
        line.split("  ")[1] for line in (house.folder / "SHA256SUMS").read_text().splitlines()
    }
    with tarfile.open(house.archive) as packed:
        files = {m.name.partition("/")[2] for m in packed.getmembers() if m.isfile()}

    assert listed == files - {"SHA256SUMS"}


def test_same_sources_give_the_same_archive(house: House, tmp_path: Path) -> None:
    """Made again from the same sources and dependencies, it is the same, byte for byte."""
    again = house.again.result()
    same = again.read_bytes() == house.archive.read_bytes()
    sums = [(unpack(a, tmp_path) / "SHA256SUMS").read_text() for a in (again, house.archive)]
    shutil.rmtree(tmp_path)

    assert sums[0] == sums[1]
    assert same


def test_there_is_no_network_in_there(house: House) -> None:
    """Loopback is there, and no way out: the tests below cannot have fetched anything."""
    script = (
        "import socket\n"
        "udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "print(udp.connect_ex(('127.0.0.11', 53)), udp.connect_ex(('192.0.2.1', 53)))\n"
    )
    done = offline(house.folder / "venv" / "bin" / "python", "-c", script, cwd=house.folder)

    assert done.stdout.split() == ["0", str(errno.ENETUNREACH)]


def test_installation_holds_nothing_of_this_repository(house: House) -> None:
    """What runs is the wheel in its own environment, and pip finds all that each package needs."""
    python = house.folder / "venv" / "bin" / "python"
    where = offline(python, "-c", "import fst; print(fst.__file__)", cwd=house.folder)
    pip = next(house.folder.glob("wheels/pip-*.whl"))
    checked = offline("env", f"PYTHONPATH={pip}", python, "-m", "pip", "check", cwd=house.folder)

    assert Path(where.stdout.strip()).is_relative_to(house.folder / "venv")
    assert "Successfully installed" in house.installed
    assert checked.returncode == 0, checked.stdout


def test_run_of_the_lab_passes_offline(house: House, runs: Runs) -> None:
    """The last command of INSTALL ends with 0 and leaves a report."""
    run = runs.command.result()

    assert commands((house.folder / "INSTALL").read_text())[-1] == (
        "venv/bin/fst run --site sites/loopback.toml"
    )
    assert run.code == 0, run.output
    assert (run.folder / "report.html").exists()


def test_cases_under_pytest_pass_offline(runs: Runs) -> None:
    """`pytest --pyargs fst.cases` of the installation runs the same cases."""
    run = runs.under_pytest.result()

    assert run.code == 0, run.output
    assert re.search(r"\d+ passed", run.output)
    assert "failed" not in run.output


def test_doctor_finds_all_there_offline(house: House, tmp_path: Path) -> None:
    """`fst doctor` of the installation needs no network either."""
    doctor = next(
        line for line in commands((house.folder / "INSTALL").read_text()) if "/fst doctor" in line
    )
    done = offline("sh", "-c", f"{doctor} --out {tmp_path}", cwd=house.folder)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "all that is needed is there" in done.stdout
