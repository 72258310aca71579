"""`fst doctor` on a real machine: what it looks at is so, and it leaves everything as it was."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from fst.doctor import doctor
from fst.doctor_machine import TOOLS
from harness.errors import InputError
from tests.loopback.runs import write_site

NET = 87  # 127.0.87.x
ENUM_1 = (f"127.0.{NET}.11", 15353)

app = typer.Typer()
app.command()(doctor)


def ask(*arguments: str | Path) -> Result:
    """Return what the command printed, and its exit code."""
    return CliRunner().invoke(app, [str(one) for one in arguments])


def checks(*arguments: str | Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the checks of `--json` by name."""
    document = json.loads(ask("--json", *arguments).stdout)
    return {check["name"]: check for check in document["checks"]}


def program(folder: Path, name: str, script: str) -> None:
    """Put a program into *folder*."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a site file whose addresses nobody else uses."""
    return write_site(tmp_path, NET)


def test_machine_that_runs_these_tests_is_ready_for_the_lab(site: Path, tmp_path: Path) -> None:
    """Python, packages, regular expressions, room, and every address are there: exit 0."""
    done = ask("--site", site, "--out", tmp_path)

    assert done.exit_code == 0, done.output
    assert "all that is needed is there" in done.stdout.splitlines()[-1]
    assert done.stderr == ""


def test_nothing_is_made_and_nothing_stays_open(site: Path, tmp_path: Path) -> None:
    """The folder of --out is not made, and each address is free again at once."""
    before = sorted(tmp_path.iterdir())
    first = ask("--site", site, "--out", tmp_path / "deep" / "evidence")
    second = ask("--site", site, "--out", tmp_path / "deep" / "evidence")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_address_in_use_is_missing_and_named(site: Path, kind: socket.SocketKind) -> None:
    """One server's port that another program has, UDP or TCP, ends with 3 and that one lack."""
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(ENUM_1)
        if kind is socket.SOCK_STREAM:
            other.listen()
        done = ask("--site", site)
    lacks = [line for line in done.stdout.splitlines() if line.startswith("MISSING")]

    assert done.exit_code == 3
    assert len(lacks) == 1
    assert lacks[0].startswith(f"MISSING address 127.0.{NET}.11:15353: ss -ln")


def test_address_of_another_machine_is_missing(site: Path) -> None:
    """A documentation address is nobody's here, so a run could not listen on it."""
    found = checks("--site", site, "--set", "sites.0.sbcs.0.address=192.0.2.77")
    check = found["address 192.0.2.77:15060"]

    assert check["state"] == "MISSING"
    assert check["mend"] == "ip address add 192.0.2.77/32 dev lo (as root)"


def test_bad_site_file_is_refused_as_by_every_command(tmp_path: Path) -> None:
    """A site file that cannot be read is the caller's mistake, no state of the machine."""
    done = ask("--site", tmp_path / "none.toml")

    assert isinstance(done.exception, InputError)
    assert done.stdout == ""


def test_real_site_needs_ssh_and_takes_no_address(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With mode = "site" the addresses are the customer's, and captures come over ssh."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = checks("--site", site, "--set", "mode=site")

    assert found["ssh"]["state"] == "MISSING"
    assert not any(name.startswith("address ") for name in found)


def test_tools_are_found_on_path_with_their_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool that answers is shown with path and version, one that fails or is absent is not OK."""
    program(tmp_path, "tcpdump", "echo tcpdump version 4.99.3")
    program(tmp_path, "ssh", "echo OpenSSH_9.2p1 Debian >&2")
    program(tmp_path, "tshark", "echo 'tshark: libwireshark.so: no such file' >&2; exit 127")
    (tmp_path / "dumpcap").write_text("no program")
    (tmp_path / "dumpcap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = ask("--out", tmp_path)
    found = checks("--out", tmp_path)

    assert found["tcpdump"]["found"] == f"{tmp_path}/tcpdump 4.99.3"
    assert found["ssh"]["found"] == f"{tmp_path}/ssh 9.2p1"
    assert "libwireshark.so: no such file" in found["tshark"]["found"]
    assert "does not run: Exec format error" in found["dumpcap"]["found"]
    assert found["ip"]["found"] == "not on PATH"
    assert done.exit_code == 0  # the lab needs none of them
    apt = [line for line in done.stdout.splitlines() if line.startswith("WARNING ip: ")]
    assert apt == ["WARNING ip: apt-get install -y --no-install-recommends iproute2"]


def test_clock_is_asked_of_chrony_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `chronyc -n -c tracking` says is shown, without a look-up of names."""
    said = "C0000201,192.0.2.1,3,1700000000.1,0.000012,0,0,0,0,0,0,0,64.2,Normal"
    program(tmp_path, "chronyc", f'[ "$*" = "-n -c tracking" ] && echo {said}')
    monkeypatch.setenv("PATH", str(tmp_path))

    assert checks("--out", tmp_path)["clock synchronised"]["found"] == "yes, 0.012 ms off (chronyc)"


def test_folder_that_cannot_be_written_is_missing() -> None:
    """What lies below a file can be no folder of runs."""
    found = checks("--out", "/dev/null/evidence")

    assert found["room for runs"]["state"] == "MISSING"


def test_rights_are_those_of_this_process(tmp_path: Path) -> None:
    """Root with CAP_NET_RAW may capture; anybody else is told what to do."""
    found = checks("--out", tmp_path)["right to capture"]
    status = Path("/proc/self/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    raw = bool(int(mask, 16) >> 13 & 1)

    assert (found["state"] == "OK" and "CAP_NET_RAW" in found["found"]) is raw or found["mend"]
    assert ("root" in found["found"]) is (os.geteuid() == 0)


def test_loopback_and_all_tools_are_in_the_list(tmp_path: Path) -> None:
    """Interfaces come through netifaces with their addresses; each tool has its line."""
    found = checks("--out", tmp_path)

    assert "127.0.0.1" in found["interface lo"]["found"]
    assert {tool.name for tool in TOOLS} <= set(found)
    assert found["clock steady"]["state"] == "OK"
