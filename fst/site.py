"""The site file: what stands where at a customer's, or in the lab, and what the SBC is set to do.

TOML, read whole: every bad field is reported at once, each with its place, value and what to do.
Addresses, times and numbers are declared here and proved by the run, never assumed from it.
"""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from enumtest.dns.source_uri import Framing
from enumtest.profiles.profile_groups import AllDown, Event, Selection
from enumtest.profiles.profiles import Profile
from enumtest.sbc.decision import DEFAULT_RULES, DecisionRule
from enumtest.sbc.decision_file import DecisionTable
from enumtest.stub.faults import parse_fault_rows
from fst.plan import HostRole
from fst.sbc_profile import (
    PLAIN,
    Profiles,
    context_of,
    declared,
    known_of,
    known_profile,
    profile_named,
    with_defaults,
)
from fst.site_values import Address, Apex, Name, Network, Number, Place, Port
from fst.window import Window
from harness.dialplan import DialPlan
from harness.errors import InputError
from harness.number import ENUM_APEX, PhoneNumber
from harness.packets.frame import Endpoint

MS = 1_000_000  # nanoseconds
MAX_LOSS_S = 26 * 3600  # of data: a daily run, and two hours


class _Table(BaseModel):
    """A TOML table: unknown keys are errors, because a misspelt one would be silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class People(_Table):
    """Who signs; blank where it is not known before the run."""

    tester: str = ""
    witness: str = ""
    customer: str = ""


class Host(_Table):
    """One server under test."""

    name: Name
    role: HostRole
    address: Address
    interface: str = "eth2"
    ports: list[str] = []  # of a probe: the bonded span ports


_Failure = Literal[Event.SILENCE, Event.SERVFAIL, Event.REFUSED, Event.FORMERR, Event.NOTIMP]


class SbcTable(_Table):
    """One session border controller, as the customer's engineer says it is set."""

    name: Name
    address: Address
    sip_port: Port = 5060
    next_hop: Place  # where calls go on to
    redirect_hop: Place | None = None  # where redirected calls arrive; none: the next hop
    enum_servers: list[Name] = Field(min_length=1)  # in the SBC's own order
    enum_port: Port = 53
    apex: Apex = ENUM_APEX
    profile: Annotated[str, AfterValidator(known_profile)] = PLAIN
    selection: Selection = Selection.ROUND_ROBIN
    timeout_ms: int = Field(ge=10, le=60_000)  # for one server, retransmissions included
    retransmissions: int = Field(default=1, ge=0, le=10)
    hold_down_ms: int = Field(ge=0, le=86_400_000)
    failures: list[_Failure] = [Event.SILENCE]
    all_down: AllDown = AllDown.FAIL_OPEN
    source_code: int = Field(default=0, ge=0, le=65535)  # EDNS option with the calling number
    source_framing: Framing = Framing.RAW
    decisions: list[DecisionTable] = []

    @property
    def rules(self) -> tuple[DecisionRule, ...]:
        """Return the matchers in order; none in the file means the default idioms."""
        return tuple(table.rule() for table in self.decisions) or DEFAULT_RULES

    @property
    def behaviour(self) -> Profile:
        """Return how this SBC does ENUM: its profile, with what stands in the file over it."""
        return declared(self.model_dump(), self._stated, self._beside)

    _stated: frozenset[str] = PrivateAttr(frozenset())  # keys of the file, not of the profile
    _beside: Profiles = PrivateAttr(default_factory=dict)  # of files beside the site file

    @model_validator(mode="wrap")
    @classmethod
    def _filled(
        cls,
        table: Any,  # noqa: ANN401 - whatever stands there
        build: ModelWrapValidatorHandler[Self],
        info: ValidationInfo,
    ) -> Self:
        """Take what the file leaves out from the profile that it names."""
        if not isinstance(table, dict):
            return build(table)
        made = build(with_defaults(table, known_of(info)))
        made._stated = frozenset(table)  # noqa: SLF001 - its own, just made
        made._beside = known_of(info)  # noqa: SLF001 - its own, just made
        try:
            made.behaviour  # noqa: B018 - one that no SBC could follow is refused here
        except InputError as error:
            raise ValueError(str(error)) from error
        return made


class Numbers(_Table):
    """Tagged test numbers: the only calls that verdicts are taken from."""

    callers: list[Number] = Field(min_length=1)
    plain: list[Number] = Field(min_length=1)  # no test policy names them; the routing cases
    allow: list[Number] = Field(min_length=1)
    terminate: list[Number] = Field(min_length=1)
    redirect: list[Number] = Field(min_length=1)


class Destination(_Table):
    """An internal destination for test calls, such as where redirected calls arrive."""

    name: Name
    number: Number
    use: Literal["redirected", "terminated"]


class Site(_Table):
    """One location: its hosts, its SBCs, its test numbers."""

    name: Name
    title: str
    standby: bool = False
    inside: list[Network] = []  # the customer's own networks: a call that comes from one is theirs
    trusted: list[Network] = []  # whose P-Asserted-Identity counts; empty: everybody's
    hosts: list[Host] = Field(min_length=1)
    sbcs: list[SbcTable] = []
    numbers: Numbers | None = None
    destinations: list[Destination] = []

    def host(self, name: str) -> Host:
        """Return the host called *name*."""
        return next(host for host in self.hosts if host.name == name)

    @property
    def redirected_to(self) -> PhoneNumber:
        """Return the number that redirected test calls must arrive at."""
        chosen = next(place for place in self.destinations if place.use == "redirected")
        return PhoneNumber.parse(chosen.number)


class LabSbc(_Table):
    """Where the lab's simulated SBC really behaves otherwise than the site file declares."""

    hold_down_ms: int | None = Field(default=None, ge=0)
    timeout_ms: int | None = Field(default=None, ge=10)
    selection: Selection | None = None
    profile: Annotated[str, AfterValidator(known_profile)] | None = None
    drift_every: int = Field(default=0, ge=0)  # every so many turns the rotation slips by one


class LabFault(_Table):
    """A fault of one stub server in the lab, as in a faults file."""

    server: str  # host name, or "*" for all
    kind: str
    settings: dict[str, str | int | float] = {}


class Lab(_Table):
    """What only a lab has: real times are short, servers are stubs, the SBC is simulated."""

    parts: list[Literal["A", "B", "C"]] = ["A", "B", "C"]  # that this lab can carry out
    caller: Place = "127.0.0.1:0"  # where the simulated phones call from
    waits_scale: float = Field(default=1.0, gt=0, le=1000)  # plan waits are divided by this
    call_spacing_ms: int = Field(default=20, ge=1, le=60_000)
    audio_packets: int = Field(default=10, ge=1, le=1000)  # of each party, 20 ms each
    tap_port: Port = 4789  # where the lab's probes take mirrored frames (VXLAN)
    bonding_record: str = ""  # /proc/net/bonding text of a real host, shown as recorded
    sbc: LabSbc = LabSbc()
    faults: list[LabFault] = []

    def fault_rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the faults as rows of a fault file, for the ENUM servers *names* ("*": all)."""
        return [
            {"server": name, "kind": row.kind, **row.settings}
            for row in self.faults
            for name in (names if row.server == "*" else [row.server])
            if name in names
        ]


class Judging(_Table):
    """How many calls a verdict needs, and what timing error is no fault."""

    rounds: int = Field(default=5, ge=2, le=1000)  # turns of the whole group, for rotation
    hold_down_tolerance_percent: float = Field(default=8.0, ge=0, lt=20)


class Standby(_Table):
    """How the warm standby is kept, and how much may be lost with the active site."""

    kept_by: Literal["guide", "hasync"] = "guide"  # profile of fst/data/ea-profiles.toml
    max_loss_s: int = Field(default=MAX_LOSS_S, ge=60, le=31 * 86_400)


class SiteFile(_Table):
    """The whole file."""

    name: str
    mode: Literal["lab", "site"]
    people: People = People()
    dial_plan: dict[str, Any]
    sites: list[Site] = Field(min_length=1)
    judging: Judging = Judging()
    window: Window | None = None
    standby: Standby = Standby()
    lab: Lab | None = None
    _beside: Profiles = PrivateAttr(default_factory=dict)

    @property
    def beside(self) -> Profiles:
        """Return the profiles of files beside the site file, by name."""
        return self._beside

    def profile(self, name: str) -> Profile:
        """Return the profile that the file calls *name*."""
        return profile_named(name, self._beside)

    @model_validator(mode="after")
    def _profiles_are_kept(self, info: ValidationInfo) -> Self:
        self._beside = known_of(info)
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        problems = [*_twice("sites", [site.name for site in self.sites])]
        for at, site in enumerate(self.sites):
            problems += _site_problems(f"sites.{at}", site)
        if self.mode == "lab" and self.lab is None:
            problems.append("lab: missing; a lab site needs the table [lab]")
        if self.lab is not None:
            problems += _lab_problems(self.lab, self.sites)
        if problems:
            raise ValueError("\n".join(problems))
        return self


def parse_site(
    text: str,
    *,
    file: str = "",
    settings: Mapping[str, Any] | None = None,
    beside: Profiles | None = None,
) -> tuple[SiteFile, DialPlan]:
    """Return the site file of *text* and its dial plan.

    *settings* are dotted paths with values laid over the file (`--set`), see `fst.settings`;
    *beside* are the profiles of files that lie beside it.

    Raises:
        InputError: one line for every bad field, in the order of the file.
    """
    document = site_document(text, file=file, settings=settings)
    try:
        site = SiteFile.model_validate(document, context=context_of(beside or {}))
    except ValidationError as error:
        raise InputError("\n".join(_lines(error, file))) from error
    return site, DialPlan.from_table(site.dial_plan, file=file, field="dial_plan")


def site_document(
    text: str, *, file: str = "", settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the tables of *text* with *settings* laid over them; nothing of them is checked.

    Raises:
        InputError: not TOML, or a setting that leads nowhere.
    """
    from fst.settings import lay_over  # noqa: PLC0415 - settings needs nothing of the models

    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"not TOML: {error}", file=file, fix="correct the line named") from error
    return lay_over(document, settings or {}, file=file)


def _lines(error: ValidationError, file: str) -> list[str]:
    """Return one line a bad field: file, field, value, why."""
    lines = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        why = problem["msg"].removeprefix("Value error, ")
        for one in why.splitlines():
            if not place:  # a rule over several fields names its own places
                lines.append(f"{file}: {one}" if file else one)
                continue
            lines.append(_line(one, problem["type"], file, place, problem["input"]))
    return lines


def _line(why: str, kind: str, file: str, place: str, value: object) -> str:
    if kind == "missing":
        fix = f"add it; docs/site-file.md says what {place.rpartition('.')[2]} is"
        return str(InputError("missing", file=file, field=place, fix=fix))
    if kind == "extra_forbidden":
        fix = "remove it, or correct its spelling"
        return str(InputError("no such key", file=file, field=place, fix=fix))
    return str(InputError(why, file=file, field=place, value=value))


def _twice(place: str, names: list[str]) -> list[str]:
    return [
        f"{place}: {name!r} stands {names.count(name)} times; give each a name of its own"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]


def _lab_problems(lab: Lab, sites: Sequence[Site]) -> list[str]:
    """Return what the lab's table says that no lab can do."""
    enum = {host.name for site in sites for host in site.hosts if host.role is HostRole.ENUM}
    known = ", ".join(sorted(enum)) or "none"
    problems = [
        f"lab.faults.{at}.server = {row.server!r}: no ENUM server; there are {known}, or '*'"
        for at, row in enumerate(lab.faults)
        if row.server not in (*enum, "*")
    ]
    try:
        parse_fault_rows({"faults": lab.fault_rows(sorted(enum))}, "lab")
    except InputError as error:
        problems += str(error).splitlines()
    places = {str(Endpoint(sbc.address, sbc.sip_port)) for site in sites for sbc in site.sbcs}
    if lab.caller in places:
        problems.append(f"lab.caller = {lab.caller!r}: an SBC's address; take another")
    return problems


def _site_problems(place: str, site: Site) -> list[str]:
    """Return what one site's tables say about each other that cannot be."""
    problems = _twice(f"{place}.hosts", [host.name for host in site.hosts])
    problems += _twice(f"{place}.hosts, addresses", [host.address for host in site.hosts])
    problems += _twice(f"{place}.sbcs", [sbc.name for sbc in site.sbcs])
    for at, sbc in enumerate(site.sbcs):
        itself = str(Endpoint(sbc.address, sbc.sip_port))
        problems += [
            f"{place}.sbcs.{at}.{field} = {itself!r}: the SBC's own address; calls would loop"
            for field, hop in (("next_hop", sbc.next_hop), ("redirect_hop", sbc.redirect_hop))
            if hop == itself
        ]
    enum = {host.name for host in site.hosts if host.role is HostRole.ENUM}
    for at, sbc in enumerate(site.sbcs):
        where = f"{place}.sbcs.{at}.enum_servers"
        known = ", ".join(sorted(enum)) or "none"
        problems += [
            f"{where} = {name!r}: no ENUM server of this site; it has {known}"
            for name in sbc.enum_servers
            if name not in enum
        ]
        problems += _twice(where, list(sbc.enum_servers))
    if site.sbcs and site.numbers is None:
        problems.append(f"{place}.numbers: missing; a site with an SBC needs tagged test numbers")
    if site.sbcs and not any(d.use == "redirected" for d in site.destinations):
        problems.append(
            f"{place}.destinations: none with use = 'redirected'; "
            "the redirect case needs to know where the call must arrive"
        )
    if site.numbers is not None:
        own = site.numbers
        every = [*own.plain, *own.allow, *own.terminate, *own.redirect]
        problems += _twice(f"{place}.numbers", every)
    return problems
