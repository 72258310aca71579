"""`hasync doctor` sees what would make the next run fail, and changes nothing."""

import logging
import subprocess
from pathlib import Path

import pytest

from harness.clock import SystemClock
from hasync.commands import doctor
from hasync.commands.checks import Level
from hasync.commands.command import Context
from hasync.settings import Application, Database, Folders, Service, Settings, Signing

SITES = ("dallas", "austin")
FALSE = Service(status=("/bin/sh", "-c", "exit 3"))


def host(tmp_path: Path, **more: object) -> Settings:
    """Return the settings of a host whose keys are in order."""
    (tmp_path / "base").mkdir(mode=0o700)
    key, signers = tmp_path / "key", tmp_path / "signers"
    words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key))
    subprocess.run(words, check=True, timeout=60)
    public = (tmp_path / "key.pub").read_text()
    signers.write_text("".join(f'{site} namespaces="hasync-set" {public}' for site in SITES))
    signers.chmod(0o644)
    found = {"site": "dallas", "folders": Folders(tmp_path / "base"), "service": FALSE}
    return Settings(**(found | {"signing": Signing(key, signers)} | more))  # type: ignore[arg-type]


def told(settings: Settings, level: Level = Level.CRITICAL) -> str:
    """Return what doctor says at *level*."""
    context = Context(settings, SystemClock(), logging.getLogger("hasync"))
    return "\n".join(text for one, text in doctor.examine(context) if one is level)


def test_order_in_keys_is_no_finding(tmp_path: Path) -> None:
    """A private key of mode 0600 and signers that only we write."""
    settings = host(tmp_path)

    assert "signing key" not in told(settings)
    assert "the signing key" in told(settings, Level.OK)
    assert "what dallas signs is believed here" in told(settings, Level.OK)
    assert "signers" not in told(settings, Level.WARNING)


@pytest.mark.parametrize(("name", "mode"), [("key", 0o640), ("key", 0o604), ("signers", 0o666)])
def test_open_key_is_critical(name: str, mode: int, tmp_path: Path) -> None:
    """Who reads the key signs sets; who writes the signers trusts himself."""
    settings = host(tmp_path)
    (tmp_path / name).chmod(mode)

    assert f"chmod {mode & ~(0o077 if name == 'key' else 0o022):04o}" in told(settings)


def test_missing_key_is_critical(tmp_path: Path) -> None:
    """Without it no set is made."""
    settings = host(tmp_path)
    (tmp_path / "key").unlink()

    assert "No such file" in told(settings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dallas ", "houston "),
        ("ssh-ed25519 AAAA", "ssh-ed25519 AAAA... "),
        ("hasync-set", "another"),
        ("dallas namespaces", "# dallas namespaces"),
    ],
    ids=["another name", "the guide's own dots", "another purpose", "a comment"],
)
def test_site_that_nobody_trusts_is_critical(old: str, new: str, tmp_path: Path) -> None:
    """Its own sets would not verify, not even here: seen by signing something."""
    settings = host(tmp_path)
    path = tmp_path / "signers"
    path.write_text(path.read_text().replace(old, new, 1))

    assert "signed here is not believed even here" in told(settings)


def test_lone_site_is_a_warning(tmp_path: Path) -> None:
    """No set of the other site would be believed."""
    settings = host(tmp_path)
    path = tmp_path / "signers"
    path.write_text(path.read_text().split("\n")[0])

    assert "no line for the other site" in told(settings, Level.WARNING)


def test_unknown_role_is_critical(tmp_path: Path) -> None:
    """Nothing would be done at all."""
    assert "role is unknown" in told(host(tmp_path))


def test_programs_that_are_missing_are_named(tmp_path: Path) -> None:
    """Each of the four of PostgreSQL, with its path."""
    database = Database(socket=str(tmp_path), bin=tmp_path / "none", data=tmp_path)
    text = told(host(tmp_path, database=database))

    for name in doctor.CLIENTS:
        assert str(tmp_path / "none" / name) in text


def test_exclusions_that_may_be_the_only_copy_are_told(tmp_path: Path) -> None:
    """H49: JBoss and OpenLDAP keep content where the guide says to leave it out."""
    text = told(host(tmp_path, application=Application()), Level.WARNING)

    assert "standalone/data is in no set" in text
    assert "openldap/var is in no set" in text
    assert "runs ngpsync" in text


def test_sets_beside_pgdata_are_a_warning(tmp_path: Path) -> None:
    """H39: a backup can fill the disk of the live database."""
    database = Database(socket=str(tmp_path), bin=tmp_path, data=tmp_path, reserve_bytes=0)

    assert "share a file system" in told(host(tmp_path, database=database), Level.WARNING)


def test_nothing_is_changed(tmp_path: Path) -> None:
    """It makes no folder and writes no file."""
    settings = host(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    told(settings)

    assert sorted(tmp_path.rglob("*")) == before
