"""What each kind of server must run, and what a warm standby must have: the shipped files."""

import pytest

from fst.ea_profile import default_profiles, parse_profiles, profile
from fst.host_history import waits_ns
from fst.lab.host_layout import PROGRAMS
from fst.plan import HostRole, default_plan
from fst.roles import Standing, default_roles, parse_roles
from harness.errors import InputError
from harness.host_files import STAT
from harness.snapshot import Process

ROLE = """
[[roles]]
role = "enum"
standing = "active"
service = "ngp"
state = "running"
start_s = 60
log = "/x.log"
processes = [{ name = "x", pattern = "x" }]
"""
SEVERITY = "[severity]\ncritical = ['FATAL']\nerror = []\n"


@pytest.mark.parametrize("role", list(HostRole))
@pytest.mark.parametrize("standing", list(Standing))
def test_each_kind_of_server_is_described(role: HostRole, standing: Standing) -> None:
    """Every server of a site file has something to be judged by."""
    assert default_roles().spec(role, standing).processes


@pytest.mark.parametrize("role", list(HostRole))
def test_lab_runs_what_is_asked_for(role: HostRole) -> None:
    """Each process that is wanted is one of the lab's, and known by its name only."""
    spec = default_roles().spec(role, Standing.ACTIVE)
    lab = [
        Process(at, 0, "", f"/x/bin/{name} -I")
        for at, name in enumerate([*PROGRAMS[role], "crond"])
    ]
    strangers = [Process(99, 0, "", f"vi /x/bin/{name}") for name in PROGRAMS[role]]

    assert all(one.of(lab) for one in spec.processes)
    assert not any(one.of(strangers) for one in spec.processes)


def test_eldest_of_several_is_the_one_that_is_followed() -> None:
    """Workers come and go; the process that started them stays."""
    spec = default_roles().spec(HostRole.ENUM, Standing.ACTIVE).processes[0]
    listed = [
        Process(7, 20, "", "ngp-enum w"),
        Process(9, 10, "", "ngp-enum"),
        Process(8, 20, "", "ngp-enum w"),
    ]

    assert [one.pid for one in spec.of(listed)] == [9, 7, 8]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "roles"),
        ("[", "not TOML"),
        (ROLE, "severity"),
        (ROLE + ROLE + SEVERITY, "described more than once: enum active"),
        (ROLE.replace('"x" }', '"(" }') + SEVERITY, "not a regular expression"),
        (ROLE.replace('[{ name = "x", pattern = "x" }]', "[]") + SEVERITY, "processes"),
        (ROLE + 'colour = "red"\n' + SEVERITY, "roles.0.colour"),
    ],
)
def test_wrong_roles_are_refused(text: str, words: str) -> None:
    """Each mistake is named; a server that need run nothing is one."""
    with pytest.raises(InputError, match=words):
        parse_roles(text, file="roles.toml")


def test_role_that_is_not_described_is_refused() -> None:
    """A file need not describe all; who asks for the rest is told."""
    with pytest.raises(InputError, match="not described"):
        parse_roles(ROLE + SEVERITY).spec(HostRole.PROBE, Standing.ACTIVE)


@pytest.mark.parametrize("role", [HostRole.MEDIATION, HostRole.DATABASE])
@pytest.mark.parametrize("name", ["guide", "hasync"])
def test_both_profiles_cover_both_servers(name: str, role: HostRole) -> None:
    """Settings, and a folder of copies or a status to ask for; other kinds of server have none."""
    chosen = profile(name)

    assert chosen.settings_of(role)
    assert bool(chosen.copies_of(role)) is not bool(chosen.status_of(role))
    assert not chosen.settings_of(HostRole.ENUM)


@pytest.mark.parametrize("name", ["guide", "hasync"])
def test_no_private_key_is_ever_printed(name: str) -> None:
    """Keys are looked at with stat; only public halves are printed."""
    chosen = profile(name)

    for role in HostRole:
        printed = [argv for argv in chosen.commands(role) if argv[: len(STAT)] != STAT]
        paths = [part for argv in printed for part in argv if "/id_" in part]
        assert all(path.endswith(".pub") for path in paths)


def test_unknown_profile_is_refused() -> None:
    """The known ones are named."""
    with pytest.raises(InputError, match="guide or hasync"):
        profile("magic")


SETTING = 'id = "a"\nrole = "database"\nwhat = "w"\n'


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (SETTING + 'kind = "mode"\npath = "/x"\n', "takes mode, path"),
        (SETTING + 'kind = "file"\npath = "x"\n', "path"),
        (SETTING + 'kind = "boot"\nservice = "a;b"\n', "service"),
        (SETTING + 'kind = "odd"\n', "kind"),
    ],
)
def test_wrong_setting_is_refused(setting: str, words: str) -> None:
    """A setting has just what its kind needs."""
    head = '[[profiles]]\nname = "p"\ntitle = "t"\ncopies = []\n[[profiles.settings]]\n'

    with pytest.raises(InputError, match=words):
        parse_profiles(head + setting)


def test_profile_named_twice_is_refused() -> None:
    """Two of one name could not be told apart."""
    one = '[[profiles]]\nname = "p"\ntitle = "t"\ncopies = []\n[[profiles.settings]]\n'
    one += SETTING + 'kind = "file"\npath = "/x"\n'

    with pytest.raises(InputError, match="more than once"):
        parse_profiles(one + one)


def test_settings_have_names_of_their_own() -> None:
    """Names are what a finding is known by."""
    for one in default_profiles():
        assert len({each.id for each in one.settings}) == len(one.settings)


def test_waits_are_the_plan_s_by_its_scale() -> None:
    """10 and 30 minutes, sixty times faster."""
    found = waits_ns(default_plan(), 60)

    assert found["processes-stay-up"] == 10 * 10**9
    assert found["log-stays-clean"] == 30 * 10**9
