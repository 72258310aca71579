"""hasync.pyz: one file that a bare Python runs, with no site-packages."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
BARE = {"PATH": "/usr/bin:/bin"}
LOADED = """
import runpy, sys
sys.argv = ["hasync", "--version"]
try:
    runpy.run_path({path!r}, run_name="__main__")
except SystemExit as ended:
    assert ended.code == 0
own = {{"hasync", "harness", "__main__", "__mp_main__", "_distutils_hack"}}
roots = {{name.split(".")[0] for name in sys.modules}}
print(*sorted(roots - own - set(sys.stdlib_module_names)))
"""


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the zipapp, made by the tool."""
    path = tmp_path_factory.mktemp("pyz") / "hasync.pyz"
    make(path)
    return path


def make(path: Path) -> None:
    """Run the tool."""
    subprocess.run(
        [sys.executable, "-S", HERE / "tools/make-hasync-pyz", path],
        check=True,
        capture_output=True,
        timeout=60,
    )


def bare(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Return what a Python without site-packages and environment makes of *words*."""
    argv = [sys.executable, "-I", "-S", *map(str, words)]
    return subprocess.run(
        argv, env=BARE | env, capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )


def test_nothing_but_the_standard_library_is_loaded(pyz: Path) -> None:
    """Neither numpy nor pydantic, nor anything else from outside."""
    done = bare("-c", LOADED.format(path=str(pyz)))

    assert done.stdout.splitlines()[-1].strip() == "", done.stdout + done.stderr
    assert done.stdout.startswith("hasync ")


@pytest.mark.parametrize("program", ["hasync", "pgsync", "ngpsync"])
def test_it_is_the_program_it_is_called_as(program: str, pyz: Path, tmp_path: Path) -> None:
    """A link named like one of the three is that one."""
    link = tmp_path / program
    link.symlink_to(pyz)

    assert bare(link, "--help").stdout.startswith(f"usage: {program} ")
    assert bare(pyz, program, "--help").stdout.startswith("usage: ")


def test_it_needs_no_home_and_no_user(pyz: Path) -> None:
    """The original died of an unset $HOME before its first line of log."""
    done = bare(pyz, "pgsync", "192.0.2.2", HASYNC_CONFIG="/nonexistent/hasync.toml")

    assert done.returncode == 10
    assert done.stderr.startswith("pgsync: /nonexistent/hasync.toml: cannot read the settings")
    assert len(done.stderr.splitlines()) == 1


def test_same_sources_give_the_same_bytes(pyz: Path, tmp_path: Path) -> None:
    """What runs on a database host can be made again and compared."""
    again = tmp_path / "again.pyz"
    make(again)

    assert again.read_bytes() == pyz.read_bytes()


def altered(pyz: Path, target: Path, keep: Callable[[str, bytes], bytes | None]) -> Path:
    """Return a zipapp with what *keep* makes of each module's file; None leaves it out."""
    with zipfile.ZipFile(pyz) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            kept = content if name == "__main__.py" else keep(name, content)
            if kept is not None:
                new.writestr(name, kept)
    return target


def test_each_module_is_compiled_already(pyz: Path, tmp_path: Path) -> None:
    """Every cron job and every call of the agent starts it: compiling all took half of that."""
    path = altered(
        pyz, tmp_path / "p.pyz", lambda name, content: content if name.endswith("c") else None
    )

    assert bare(path, "--version").stdout.startswith("hasync ")


def test_another_python_takes_the_source(pyz: Path, tmp_path: Path) -> None:
    """What was compiled for another version is passed over."""
    path = altered(
        pyz,
        tmp_path / "p.pyz",
        lambda name, content: b"none" + content[4:] if name.endswith("c") else content,
    )

    assert bare(path, "--version").stdout.startswith("hasync ")


def test_it_holds_no_more_than_it_needs(pyz: Path) -> None:
    """hasync, and of harness only what it imports."""
    names = zipfile.ZipFile(pyz).namelist()

    assert "hasync/commands/cli.py" in names
    assert {name.split("/")[0] for name in names} == {"__main__.py", "hasync", "harness"}
    assert "harness/analytics.py" not in names
