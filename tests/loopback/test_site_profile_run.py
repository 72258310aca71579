"""A run whose SBC is described by a file beside the site file."""

import json
import subprocess
import sys
from pathlib import Path

from enumtest.profiles.profile_file import encode_profile, shipped_profile
from tests.loopback.runs import write_site

NET = 139
FST = Path(sys.executable).with_name("fst")
LIMIT_S = 240


def fst(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [FST, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=cwd
    )


def test_run_goes_on_with_the_profile_that_it_began_with(tmp_path: Path) -> None:
    """The file may change or go meanwhile; a changed copy in the run's folder is refused."""
    site, beside = write_site(tmp_path, NET), tmp_path / "sbc.toml"
    rows = site.read_text().replace("enum_port =", 'profile = "sbc.toml"\nenum_port =')
    site.write_text(rows)
    beside.write_text(encode_profile(shipped_profile("ribbon")))
    first = fst("run", "--site", site, "--case", "B.2.2", "--out", tmp_path / "out", cwd=tmp_path)
    beside.unlink()
    (run,) = (tmp_path / "out").iterdir()
    again = ("run", "--resume", run, "--retest", "B.2.2", "--reason", "to see it again")
    second = fst(*again, cwd=tmp_path)
    kept = run / "profiles" / "sbc.toml"
    kept.write_text(kept.read_text().replace("failures = 3", "failures = 1"))
    third = fst(*again, cwd=tmp_path)
    begun = json.loads((run / "journal.jsonl").read_text().splitlines()[0])

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert list(begun["site"]["profiles"]) == ["sbc.toml"]
    assert third.returncode == 2
    assert "sbc.toml: sha256" in third.stderr
    assert "not the profile that the run began with" in third.stderr
