"""The settings file: every bad field at once, each with field, value and what to do."""

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest

from harness.errors import InputError
from hasync import settings as model
from hasync.settings_file import ROOT, SECTIONS, SettingsError, load, parse

HERE = Path(__file__).parents[2]
EXAMPLE = HERE / "fixtures/hasync/hasync.toml"
LEAST = b"""
site = "dallas"
[folders]
base = "/var/lib/hasync"
[signing]
key = "/etc/hasync/key"
allowed_signers = "/etc/hasync/allowed"
[peer]
site = "austin"
[database]
socket = "/run/postgresql"
bin = "/usr/lib/postgresql/15/bin"
data = "/srv/pg"
"""


def refused(text: bytes) -> dict[str, str]:
    """Return the reasons by field."""
    with pytest.raises(SettingsError) as error:
        parse(text, "s.toml")
    return {one.field: str(one) for one in error.value.errors}


def test_example_loads() -> None:
    """The shipped example is a whole settings file."""
    found = load(EXAMPLE)

    assert found.site == "dallas"
    assert found.database is not None
    assert found.application is None


def test_least_file_gives_the_defaults() -> None:
    """What is left out has the default of hasync.settings."""
    found = parse(LEAST, "s.toml")

    assert found.peer == model.Peer(site="austin")
    assert found.service == model.Service()
    assert found.retention == model.Retention()
    assert found.limits == model.Limits()


def test_every_field_of_the_model_can_be_set() -> None:
    """No setting exists that the file could not name, and none the model does not have."""
    kinds = {
        "folders": model.Folders,
        "signing": model.Signing,
        "database": model.Database,
        "application": model.Application,
        "peer": model.Peer,
        "service": model.Service,
        "limits": model.Limits,
        "retention": model.Retention,
    }
    known = {name: {one.name for one in fields(kind)} for name, kind in kinds.items()}

    assert {name: set(readers) for name, readers in SECTIONS.items()} == known
    assert set(ROOT) == {one.name for one in fields(model.Root)}


def test_every_field_is_documented() -> None:
    """docs/hasync-settings.md has a row for each field, with its default."""
    text = (HERE / "docs/hasync-settings.md").read_text(encoding="utf-8")
    first = text.partition("## Files below")[0]
    rows = set(re.findall(r"^\| `([a-z_.]+)` \|", first, re.MULTILINE))

    wanted = {"site"} | {f"{name}.{one}" for name, readers in SECTIONS.items() for one in readers}
    assert rows == wanted


BAD_FIELDS = {
    "site": (b'site = "dallas"', b'site = "../x"'),
    "folders.base": (b'base = "/var/lib/hasync"', b'base = "var/lib"'),
    "signing.key": (b'key = "/etc/hasync/key"', b'key = "/etc/../key"'),
    "database.port": (b'data = "/srv/pg"', b'data = "/srv/pg"\nport = "5432"'),
    "database.name": (b'data = "/srv/pg"', b'data = "/srv/pg"\nname = "ngp; drop"'),
    "database.manage": (b'data = "/srv/pg"', b'data = "/srv/pg"\nmanage = 1'),
    "database.lock_wait_s": (b'data = "/srv/pg"', b'data = "/srv/pg"\nlock_wait_s = nan'),
    "database.socket": (b'"/run/postgresql"', b'"-hbad host"'),
    "retention.min_keep": (b"[signing]", b"[retention]\nmin_keep = 0\n[signing]"),
    "retention.max_bytes": (b"[signing]", b"[retention]\nmax_bytes = -1\n[signing]"),
    "peer.site": (b'site = "austin"', b'site = "dallas"'),
    "peer.ssh": (b'site = "austin"', b'site = "austin"\nssh = []'),
    "peer.user": (b'site = "austin"', b'site = "austin"\nuser = "-oProxyCommand=x"'),
    "service.status": (b"[signing]", b'[service]\nstatus = "service ngp status"\n[signing]'),
    "service.inactive": (b"[signing]", b"[service]\ninactive = [0]\n[signing]"),
    "limits.dump_s": (b"[signing]", b"[limits]\ndump_s = 0\n[signing]"),
    "folders.bsae": (b'base = "/var/lib/hasync"', b'base = "/x"\nbsae = "/var/lib/hasync"'),
    "sites": (b"[signing]", b"[sites]\n[signing]"),
    "application.roots": (b"[signing]", b"[application]\nroots = []\n[signing]"),
    "application.roots.0.path": (
        b"[signing]",
        b'[application]\nroots = [{name = "a", path = "/var/lib/hasync/x"}]\n[signing]',
    ),
}


@pytest.mark.parametrize(("field", "change"), BAD_FIELDS.items(), ids=BAD_FIELDS.keys())
def test_bad_field_is_named(field: str, change: tuple[bytes, bytes]) -> None:
    """One wrong value is refused under its own name, with what to do."""
    text = LEAST.replace(*change)
    assert text != LEAST

    found = refused(text)

    assert set(found) == {field}
    assert found[field].startswith("s.toml: ")
    assert "; " in found[field]


def test_all_bad_fields_come_at_once() -> None:
    """A person mends a file once, not field by field."""
    text = LEAST.replace(b'"dallas"', b"7").replace(b'"/srv/pg"', b"true") + b"[extra]\n"

    assert set(refused(text)) == {"site", "database.data", "extra"}


@pytest.mark.parametrize("name", ["site", "folders.base", "signing.key", "database.bin"])
def test_missing_field_is_named(name: str) -> None:
    """What has no default must be given."""
    key = name.rpartition(".")[2].encode()
    text = b"\n".join(line for line in LEAST.split(b"\n") if not line.startswith(key + b" "))

    assert "missing" in refused(text)[name]


def test_nothing_to_do_is_refused() -> None:
    """A host keeps a database, an application, or both."""
    assert "database" in refused(LEAST[: LEAST.index(b"[database]")])


@pytest.mark.parametrize("base", ["/srv/pg", "/srv/pg/hasync", "/srv"])
def test_base_folder_stays_out_of_pgdata(base: str) -> None:
    """What we sweep and fill is never around, within, or the same as the database's folder."""
    text = LEAST.replace(b"/var/lib/hasync", base.encode())

    assert set(refused(text)) == {"folders.base"}


@pytest.mark.parametrize("content", [b"site = ", b"\xff", b"a = 1\na = 2", b"[" * 100_000])
def test_no_toml_is_refused(content: bytes) -> None:
    """A file that is no TOML is one error with its name."""
    with pytest.raises(InputError, match=r"^s\.toml: no TOML"):
        parse(content, "s.toml")


def test_file_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    """It names programs that we start."""
    path = tmp_path / "s.toml"
    path.write_bytes(LEAST)
    path.chmod(0o646)

    with pytest.raises(InputError, match="chmod o-w"):
        load(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """The message says how to name another, or to write one."""
    with pytest.raises(InputError, match="hasync init"):
        load(tmp_path / "none.toml")


def test_pipe_does_not_hang(tmp_path: Path) -> None:
    """A FIFO in the place of the file is refused at once."""
    path = tmp_path / "s.toml"
    os.mkfifo(path)

    with pytest.raises(InputError, match="no regular file"):
        load(path)
