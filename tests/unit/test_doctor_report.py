"""What the doctor says of each fact: OK only when it is so, and else the command that mends it."""

import errno
import io
from pathlib import Path

import pytest
from rich.console import Console

from fst.doctor_machine import (
    LEAST_FREE_BYTES,
    LOW_FREE_BYTES,
    MOST_STEP_NS,
    TOOLS,
    Moment,
    Program,
    Rights,
    admin_check,
    capture_check,
    clock_check,
    disk_check,
    interface_checks,
    package_checks,
    parse_capabilities,
    parse_chronyc,
    parse_timedatectl,
    python_check,
    regex_check,
    sync_check,
    tool_check,
)
from fst.doctor_report import (
    Check,
    State,
    exit_code,
    mend_lines,
    render,
    summary,
    table,
    worst,
)
from fst.doctor_site import Place, Refused, number_checks, place_check, places, wait_checks
from fst.plan import default_plan
from fst.site import parse_site
from harness.errors import InputError
from harness.packets.frame import Endpoint

SITES = Path(__file__).parents[2] / "fixtures" / "sites"
PYTHON = "/venv/bin/python"
OK = Check("a", State.OK, "there", "all")
WARNING = Check("b", State.WARNING, "not there", "some", "mend-b")
MISSING = Check("c", State.MISSING, "not there", "all", "mend-c")
SSH = next(tool for tool in TOOLS if tool.name == "ssh")
TSHARK = next(tool for tool in TOOLS if tool.name == "tshark")
SITE = (SITES / "loopback.toml").read_text()
# chronyc(1), section tracking: fields as `-c` prints them, kept and not kept
TRACKING = "C0000201,192.0.2.1,3,1700000000.1,{},0,0,0,0,0,0,0,64.2,{}"


@pytest.mark.parametrize(
    ("checks", "state", "code"),
    [
        ((), State.MISSING, 3),
        ((OK,), State.OK, 0),
        ((OK, WARNING), State.WARNING, 0),
        ((WARNING, MISSING, OK), State.MISSING, 3),
    ],
)
def test_only_what_is_missing_changes_the_exit_code(
    checks: tuple[Check, ...], state: State, code: int
) -> None:
    """A warning alone leaves 0; something missing, or nothing looked at, is 3."""
    assert worst(checks) is state
    assert exit_code(checks) == code
    assert render(checks)["ready"] == (code == 0)


@pytest.mark.parametrize(
    ("state", "found", "mend"),
    [
        (State.MISSING, "not there", ""),
        (State.WARNING, "not there", ""),
        (State.OK, "there", "apt-get install x"),
        (State.OK, "", ""),
        (State.OK, "two\nlines", ""),
        (State.MISSING, "no", "rm -r a\x85rm -r b"),
    ],
)
def test_check_that_breaks_a_law_cannot_be_made(state: State, found: str, mend: str) -> None:
    """A lack names what mends it, what is there does not, and each is one line."""
    with pytest.raises(InputError):
        Check("name", state, found, "use", mend)


def test_what_is_missing_is_named_before_what_is_missed() -> None:
    """The lines to act on are whole, one a lack, the needed ones first."""
    assert mend_lines((OK, WARNING, MISSING)) == ("MISSING c: mend-c", "WARNING b: mend-b")
    assert summary((OK, WARNING, MISSING)) == "1 OK, 1 MISSING, 1 WARNING: something needed is not"
    assert summary((OK,)) == "1 OK: all that is needed is there"


def test_table_shows_brackets_as_they_are() -> None:
    """A path or an IPv6 address is never taken for markup."""
    console = Console(width=120, file=io.StringIO())
    with console.capture() as printed:
        console.print(table([Check("address [::1]:53", State.OK, "[bold]x", "[red]")]))
    text = printed.get()

    assert "address [::1]:53" in text
    assert "[bold]x" in text


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10, 14), State.MISSING), ((3, 11, 0), State.OK), ((4, 0, 0), State.OK)],
)
def test_python_is_enough_from_3_11(version: tuple[int, ...], state: State) -> None:
    """An older Python is a lack."""
    assert python_check(version, PYTHON).state is state


def test_each_package_that_is_absent_or_too_old_has_its_pip_line() -> None:
    """Requirements of extras and of other systems do not count."""
    requires = [
        "numpy>=1.26", "rich>=13.7", "typer>=0.12",
        'scapy>=2.6; extra == "generate"', 'pywin32; sys_platform == "win32"',
    ]  # fmt: skip
    installed = {"numpy": "1.25.0", "typer": "0.12.0"}
    checks = package_checks(requires, installed.get, PYTHON)

    assert [(check.name, check.state.value, check.found, check.mend) for check in checks] == [
        ("Python packages", "OK", "typer 0.12.0", ""),
        (
            "Python package numpy", "MISSING", "1.25.0, not >=1.26",
            f"{PYTHON} -m pip install 'numpy>=1.26'",
        ),
        (
            "Python package rich", "MISSING", "not installed",
            f"{PYTHON} -m pip install 'rich>=13.7'",
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "on_site", "state"),
    [
        ("ssh", False, State.WARNING),
        ("ssh", True, State.MISSING),
        ("tshark", False, State.WARNING),
        ("tshark", True, State.WARNING),
    ],
)
def test_tool_is_missing_only_where_nothing_goes_without_it(
    name: str, *, on_site: bool, state: State
) -> None:
    """At a real site captures come over ssh; in the lab no tool of the system is needed."""
    tool = next(tool for tool in TOOLS if tool.name == name)
    check = tool_check(tool, None, on_site=on_site)

    assert check.state is state
    assert check.mend == f"apt-get install -y --no-install-recommends {tool.package}"


def test_tool_that_does_not_run_is_not_there() -> None:
    """A program on PATH counts only when it says its version."""
    broken = tool_check(SSH, Program("/usr/bin/ssh", "", "exit code 127"), on_site=True)
    whole = tool_check(TSHARK, Program("/usr/bin/tshark", "TShark 4.0.17 (x)"), on_site=True)

    assert broken.state is State.MISSING
    assert "exit code 127" in broken.found
    assert "--reinstall openssh-client" in broken.mend
    assert whole.found == "/usr/bin/tshark 4.0.17"


@pytest.mark.parametrize("status", ["", "CapEff:", "CapEff:\tzz", "CapInh:\t2000\nCapPrm:\t2000"])
def test_capabilities_that_are_not_effective_do_not_count(status: str) -> None:
    """Only a readable CapEff line gives a right."""
    assert parse_capabilities(status) == frozenset()


@pytest.mark.parametrize(
    ("rights", "state", "mend"),
    [
        (
            Rights("root", True, frozenset(), "/bin/dumpcap", "root", True, True),
            State.WARNING,
            "start this container with --cap-add=NET_RAW",
        ),
        (Rights("eve", root=False, capabilities=frozenset()), State.WARNING, "sudo /bin/fst"),
        (Rights("eve", root=False, capabilities=frozenset({"CAP_NET_RAW"})), State.OK, ""),
        (
            Rights("eve", False, frozenset(), "/bin/dumpcap", "wireshark", False, True),
            State.WARNING,
            "usermod -aG wireshark eve (as root; then log in again)",
        ),
        (
            Rights("eve", False, frozenset(), "/bin/dumpcap", "root", True, False),
            State.WARNING,
            "setcap cap_net_raw,cap_net_admin=eip /bin/dumpcap (as root)",
        ),
        (Rights("eve", False, frozenset(), "/bin/dumpcap", "root", True, True), State.OK, ""),
    ],
)
def test_right_to_capture_comes_from_the_process_or_from_dumpcap(
    rights: Rights, state: State, mend: str
) -> None:
    """Being root without the capability is no right, as in a container."""
    check = capture_check(rights, "/bin/fst")

    assert (check.state, check.mend) == (state, mend)


@pytest.mark.parametrize(
    ("root", "capabilities", "mend"),
    [
        (False, {"CAP_NET_ADMIN"}, ""),
        (False, {"CAP_NET_RAW"}, "sudo /bin/fst"),
        (True, set(), "start this container with --cap-add=NET_ADMIN"),
    ],
)
def test_right_to_set_up_interfaces_is_a_capability(
    *, root: bool, capabilities: set[str], mend: str
) -> None:
    """Bonds and namespaces need CAP_NET_ADMIN, whoever asks."""
    rights = Rights("eve", root=root, capabilities=frozenset(capabilities))

    assert admin_check(rights, "/bin/fst").mend == mend


def test_interfaces_are_listed_and_loopback_must_be_up() -> None:
    """A namespace whose loopback is down cannot run the lab."""
    up = interface_checks({"lo": ("127.0.0.1",)}, {"bond0": ("eth1", "eth2")}, PYTHON)
    down = interface_checks({"lo": ()}, {}, PYTHON)
    unknown = interface_checks(None, {}, PYTHON)

    assert [(check.name, check.found) for check in up] == [
        ("interface lo", "127.0.0.1"),
        ("bonds", "bond0: eth1 + eth2"),
    ]
    assert [check.mend for check in down if check.mend] == ["ip link set lo up (as root)"]
    assert exit_code(down) == 3
    assert unknown[0].mend == f"{PYTHON} -m pip install netifaces2"


@pytest.mark.parametrize(
    ("chronyc", "timedatectl", "state", "mend"),
    [
        (TRACKING.format("-0.000012", "Normal"), None, State.OK, ""),
        (TRACKING.format("0.5", "Normal"), "NTPSynchronized=yes", State.WARNING, "makestep"),
        (TRACKING.format("0", "Not synchronised"), None, State.WARNING, "makestep"),
        ("", "NTPSynchronized=yes\n", State.OK, ""),
        (None, "NTPSynchronized=no\n", State.WARNING, "set-ntp true"),
        ("", "", State.WARNING, "start chrony"),
        (None, None, State.WARNING, "apt-get install"),
    ],
)
def test_clock_is_synchronised_only_when_a_program_says_so(
    chronyc: str | None, timedatectl: str | None, state: State, mend: str
) -> None:
    """Chrony is believed before systemd; silence of both is a warning."""
    check = sync_check(chronyc, timedatectl)

    assert check.state is state
    assert mend in check.mend


@pytest.mark.parametrize("text", ["", "506 Cannot talk to daemon", ",,,", "x" + "," * 13])
def test_other_output_of_the_clock_programs_says_nothing(text: str) -> None:
    """What is not the documented form is no statement about the clock."""
    assert parse_chronyc(text) is None
    assert parse_timedatectl(text) is None


@pytest.mark.parametrize(
    ("apart_ns", "installed_ns", "state"),
    [
        (MOST_STEP_NS, 0, State.OK),
        (-MOST_STEP_NS, 0, State.OK),
        (MOST_STEP_NS + 1, 0, State.WARNING),
        (-MOST_STEP_NS - 1, 0, State.WARNING),
        (0, 10**18 + 1, State.WARNING),
    ],
)
def test_clock_that_is_stepped_or_lies_in_the_past_is_a_warning(
    apart_ns: int, installed_ns: int, state: State
) -> None:
    """The clocks must go together, and the wall clock not before the program's own installation."""
    after = Moment(10**18, 5 * 10**8)
    before = Moment(after.wall_ns - 10**8 - apart_ns, after.monotonic_ns - 10**8)

    assert clock_check(before, after, installed_ns).state is state


@pytest.mark.parametrize(
    ("free_bytes", "writable", "state"),
    [
        (LOW_FREE_BYTES, True, State.OK),
        (LOW_FREE_BYTES - 1, True, State.WARNING),
        (LEAST_FREE_BYTES - 1, True, State.MISSING),
        (LOW_FREE_BYTES, False, State.MISSING),
    ],
)
def test_room_for_runs_is_judged_at_its_limits(
    free_bytes: int, *, writable: bool, state: State
) -> None:
    """Runs need a folder to write in, with room."""
    assert disk_check("/x", free_bytes, writable=writable).state is state


def test_regular_expressions_that_do_not_answer_are_a_lack() -> None:
    """Without them no NAPTR record can be read as a client would."""
    assert regex_check("").state is State.OK
    assert regex_check("the process died").state is State.MISSING


def test_places_of_the_lab_are_those_that_a_run_opens() -> None:
    """Servers with UDP and TCP, SBC, hops and phones; nothing twice, nothing at a real site."""
    file, _ = parse_site(SITE)
    real, _ = parse_site(SITE, settings={"mode": "site"})

    assert [(str(place.endpoint), place.tcp) for place in places(file)] == [
        ("127.0.0.11:15353", True),
        ("127.0.0.12:15353", True),
        ("127.0.0.13:15353", True),
        ("127.0.0.10:15060", False),
        ("127.0.0.20:15060", False),
        ("127.0.0.21:15060", False),
        ("127.0.0.30:15060", False),
    ]
    assert places(real) == ()


def test_hosts_without_a_port_are_tried_by_their_address() -> None:
    """The two-site file names hosts that serve nothing yet; their addresses must be ours too."""
    file, _ = parse_site((SITES / "two-site.toml").read_text())
    any_port = [place.endpoint.address for place in places(file) if not place.endpoint.port]

    assert "127.0.1.21" in any_port
    assert "127.0.1.11" not in any_port


@pytest.mark.parametrize(
    ("address", "code", "transport", "mend"),
    [
        ("127.0.0.11:15353", errno.EADDRINUSE, "udp", "ss -lnup 'sport = :15353'"),
        ("127.0.0.11:15353", errno.EADDRINUSE, "tcp", "ss -lntp 'sport = :15353'"),
        ("192.0.2.1:15353", errno.EADDRNOTAVAIL, "udp", "ip address add 192.0.2.1/32 dev lo"),
        ("[2001:db8::1]:53", errno.EADDRNOTAVAIL, "udp", "2001:db8::1/128 dev lo"),
        ("127.0.0.11:53", errno.EACCES, "udp", "ip_unprivileged_port_start=53"),
        ("127.0.0.11:53", errno.EINVAL, "udp", "correct the address"),
    ],
)
def test_place_that_cannot_be_had_names_what_mends_it(
    address: str, code: int, transport: str, mend: str
) -> None:
    """Each refusal of the system has its own remedy."""
    place = Place(Endpoint.parse(address), "site1/enum1", tcp=True)
    check = place_check(place, Refused(code, "no", transport))

    assert check.state is State.MISSING
    assert mend in check.mend
    assert place_check(place, None).found == "free (UDP and TCP)"


def test_number_that_cannot_exist_is_a_warning() -> None:
    """A number one digit short would never reach anybody."""
    file, _ = parse_site(SITE)
    short, _ = parse_site(SITE.replace("+12125550120", "+1212555012"))

    assert number_checks(file)[0].state is State.OK
    found = number_checks(short)[0]
    assert found.state is State.WARNING
    assert "+1212555012 (allow)" in found.found


@pytest.mark.parametrize(
    ("timeout_ms", "hold_down_ms", "state"),
    [
        (200, 1500, State.OK),
        (200, 667, State.OK),
        (200, 666, State.WARNING),
        (10, 0, State.WARNING),
    ],
)
def test_hold_down_must_outlast_the_time_to_give_all_servers_up(
    timeout_ms: int, hold_down_ms: int, state: State
) -> None:
    """Three servers are given up in two time-outs after the first; 0.6 of the hold-down is more."""
    values = {"sbc.timeout_ms": timeout_ms, "sbc.hold_down_ms": hold_down_ms}
    file, _ = parse_site(SITE, settings=values)
    plan_waits, check = wait_checks(file, default_plan())

    assert plan_waits.found == "longest 30 min"
    assert check.state is state


def test_remedy_for_a_short_hold_down_is_long_enough() -> None:
    """The value that a warning asks for passes the same check."""
    file, _ = parse_site(SITE, settings={"sbc.hold_down_ms": 100, "lab.waits_scale": 60})
    waits, short = wait_checks(file, default_plan())
    asked_ms = int(short.mend.split("hold_down_ms=")[1].split(",")[0])
    mended, _ = parse_site(SITE, settings={"sbc.hold_down_ms": asked_ms})

    assert waits.found == "longest 0.5 min (30 min, divided by 60)"
    assert wait_checks(mended, default_plan())[1].state is State.OK
