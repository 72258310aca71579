"""The edge of `fst doctor`: looks at the machine, and changes nothing on it.

Sockets are bound only to see whether they could be had, programs started only for their version.
What a fact means is judged in `fst.doctor_machine` and `fst.doctor_site`.
"""

import getpass
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fst import doctor_machine, doctor_site
from fst.doctor_machine import TOOLS, Moment, Program, Rights
from fst.doctor_report import Check, exit_code, mend_lines, render, summary, table
from fst.lab.places import try_place
from fst.plan import default_plan
from fst.site import SiteFile
from fst.site_reading import read_site_file
from harness.clock import Clock, SystemClock
from harness.errors import ToolError
from harness.regex import Match
from harness.regex_worker import PosixRegex

DISTRIBUTION = "fst-harness"
LIMIT_S = 10.0  # for a program to say its version
PROC_STATUS = Path("/proc/self/status")
NETWORK = Path("/sys/class/net")


def doctor(
    *,
    site: Annotated[Path | None, typer.Option(metavar="FILE", help="Site file (TOML).")] = None,
    out: Annotated[Path, typer.Option(help="Where runs are to be kept.")] = Path("evidence"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As for `fst run`; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Say what this machine has for runs and what it lacks, each lack with what mends it.

    Nothing is changed. Exit 0: all that is needed is there; 2: a bad site file; 3: something
    needed is missing. A WARNING concerns one feature, and leaves the exit code as it is.
    """
    clock = SystemClock()
    before = _moment(clock)
    file = None if site is None else read_site_file(site, settings or ())[0]
    checks = [*_machine(out, on_site=file is not None and file.mode == "site")]
    if file is not None:
        checks += _site(file)
    installed_ns = Path(__file__).stat().st_mtime_ns
    checks.append(doctor_machine.clock_check(before, _moment(clock), installed_ns))
    if as_json:
        typer.echo(json.dumps(render(checks), ensure_ascii=False, indent=1))
    else:
        Console().print(table(checks))
        typer.echo("\n".join((*mend_lines(checks), summary(checks))))
    raise typer.Exit(exit_code(checks))


def _machine(out: Path, *, on_site: bool) -> list[Check]:
    """Return the checks that need no site file."""
    command = str(Path(sys.executable).with_name("fst"))
    folder, free_bytes, writable = _room(out)
    rights = _rights()
    return [
        doctor_machine.python_check(tuple(sys.version_info[:3]), sys.executable),
        *doctor_machine.package_checks(_requires(), _version, sys.executable),
        *(doctor_machine.tool_check(tool, _program(tool), on_site=on_site) for tool in TOOLS),
        doctor_machine.regex_check(_regex_refusal()),
        doctor_machine.capture_check(rights, command),
        doctor_machine.admin_check(rights, command),
        *doctor_machine.interface_checks(_addresses(), _bonds(), sys.executable),
        doctor_machine.disk_check(folder, free_bytes, writable=writable),
        doctor_machine.sync_check(
            _printed("chronyc", "-n", "-c", "tracking"),
            _printed("timedatectl", "show", "--property=NTPSynchronized"),
        ),
    ]


def _site(file: SiteFile) -> list[Check]:
    """Return the checks of what the site file asks of this machine."""
    return [
        *(doctor_site.place_check(place, try_place(place)) for place in doctor_site.places(file)),
        *doctor_site.number_checks(file),
        *doctor_site.wait_checks(file, default_plan()),
    ]


def _moment(clock: Clock) -> Moment:
    return Moment(clock.wall_ns(), clock.monotonic_ns())


def _requires() -> list[str]:
    """Return what the installed distribution requires, itself first."""
    if _version(DISTRIBUTION) is None:  # the sources only: what they need is not on record
        return [DISTRIBUTION]
    return [DISTRIBUTION, *(metadata.requires(DISTRIBUTION) or ())]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _program(tool: doctor_machine.Tool) -> Program | None:
    path = shutil.which(tool.name)
    if path is None or not tool.version:
        return None if path is None else Program(path, "")
    code, printed = _run([path, *tool.version])
    first = next((line.strip() for line in printed.splitlines() if line.strip()), "")
    objection = f"does not run: {first or f'exit code {code}'}" if code else ""
    return Program(path, first, objection)


def _printed(program: str, *arguments: str) -> str | None:
    """Return what *program* prints, "" when it fails, None when it is not there."""
    path = shutil.which(program)
    if path is None:
        return None
    code, printed = _run([path, *arguments])
    return "" if code else printed


def _run(argv: Sequence[str]) -> tuple[int, str]:
    """Return exit code and output of a program; -1 and why when it does not start, or not end."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            argv,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
            env=os.environ | {"LC_ALL": "C"},
        )
    except OSError as error:
        return -1, os.strerror(error.errno or 0)
    except subprocess.TimeoutExpired:
        return -1, f"nothing after {LIMIT_S:g} s"
    streams = (done.stdout, done.stderr) if done.returncode == 0 else (done.stderr, done.stdout)
    return done.returncode, b"\n".join(streams).decode(errors="replace")


def _regex_refusal() -> str:
    """Return why the C library's regular expressions do not answer, "" when they do."""
    try:
        with PosixRegex() as engine:
            outcome = engine.match(b"^(.*)$", b"+12125550110")
    except ToolError as error:
        return str(error)
    return "" if isinstance(outcome, Match) else str(outcome)


def _rights() -> Rights:
    """Return what this process may do on the network."""
    try:
        status = PROC_STATUS.read_text()
    except OSError:  # not Linux
        status = ""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        user = str(os.getuid())
    path = shutil.which("dumpcap", mode=os.F_OK)
    return Rights(
        user,
        root=os.geteuid() == 0,
        capabilities=doctor_machine.parse_capabilities(status),
        dumpcap=path or "",
        dumpcap_group=_group(path) if path else "",
        dumpcap_ours=path is not None and os.access(path, os.X_OK),
        dumpcap_raw=path is not None and _has_own_rights(path),
    )


def _group(path: str) -> str:
    try:
        return Path(path).group()
    except KeyError:
        return str(Path(path).stat().st_gid)


def _has_own_rights(path: str) -> bool:
    """Return whether the program at *path* is set-uid root, or has file capabilities."""
    found = Path(path).stat()
    if found.st_mode & stat.S_ISUID and found.st_uid == 0:
        return True
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:  # it has none, or the file system keeps none
        return False


def _addresses() -> Mapping[str, Sequence[str]] | None:
    """Return the IP addresses of each local interface; None when netifaces is not there."""
    try:
        import netifaces  # noqa: PLC0415 - a doctor must also work where it is missing
    except ImportError:
        return None
    kinds = (netifaces.InterfaceType.AF_INET, netifaces.InterfaceType.AF_INET6)
    return {
        str(name): [
            str(entry["addr"])
            for kind in kinds
            for entry in netifaces.ifaddresses(name).get(kind, [])
            if "addr" in entry
        ]
        for name in netifaces.interfaces()
    }


def _bonds() -> dict[str, list[str]]:
    """Return the members of each bonded interface, as the kernel lists them."""
    found = {}
    for path in NETWORK.glob("*/bonding/slaves"):
        try:
            found[path.parts[-3]] = path.read_text().split()
        except OSError:  # gone meanwhile
            continue
    return found


def _room(out: Path) -> tuple[str, int, bool]:
    """Return the folder in which *out* would be made, its free bytes, and whether we may write."""
    folder = out.absolute()
    while not os.access(folder, os.F_OK) and folder != folder.parent:
        folder = folder.parent
    writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return str(folder), shutil.disk_usage(folder).free, writable
