"""The test plan as data: which steps there are, where they apply, and how they are read.

`parse_plan` reads the TOML and reports everything wrong with it at once; `fst.plan_lint` finds what
is well-formed but could not be run or judged. The shipped plan is `fst/data/plan.toml`.
Laws: a plan names each thing once; a step says who takes part, on which hosts, what is measured; a
contradiction in the source is a `Reading`, never a silent choice.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Annotated, Any, Self, assert_never

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fst.plan_links import contradictions, within
from harness.errors import InputError


class HostRole(StrEnum):
    """What a host under test is."""

    MEDIATION = "mediation"
    DATABASE = "database"
    ENUM = "enum"
    PROBE = "probe"


class Role(StrEnum):
    """Who takes part in a step."""

    TESTER = "tester"
    SBC_ENGINEER = "sbc-engineer"
    TAP_ENGINEER = "tap-engineer"
    CALLER = "caller"
    POLICY_ADMIN = "policy-admin"


class Scope(StrEnum):
    """How far one observation reaches: it fills the boxes of all that it covers."""

    HOST = "host"
    SITE = "site"
    SYSTEM = "system"


class Mode(StrEnum):
    """Who observes: the machine, the machine with a person's help, or a person."""

    AUTOMATIC = "automatic"
    ASSISTED = "assisted"
    MANUAL = "manual"


class Marker(StrEnum):
    """The pytest marker that selects a step."""

    BASELINE = "baseline"
    ENUM = "enum"
    PROBE = "probe"


class Outage(StrEnum):
    """Which servers of a site a step stops, or starts again."""

    NONE = "none"
    FIRST = "first"
    ALL_BUT_LAST = "all-but-last"
    ALL = "all"

    def of(self, servers: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of *servers*, listed in their order at the site, that are meant.

        >>> Outage.ALL_BUT_LAST.of(("enum1", "enum2", "enum3"))
        ('enum1', 'enum2')
        """
        match self:
            case Outage.NONE:
                return ()
            case Outage.FIRST:
                return servers[:1]
            case Outage.ALL_BUT_LAST:
                return servers[:-1]
            case Outage.ALL:
                return servers
            case _:
                assert_never(self)


Words = Annotated[str, Field(pattern=r"\S")]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
PartId = Annotated[str, Field(pattern=r"^[A-Z]$")]
SectionId = Annotated[str, Field(pattern=r"^[A-Z]\.[1-9][0-9]?$")]
StepId = Annotated[str, Field(pattern=r"^[A-Z]\.[1-9][0-9]?\.[1-9][0-9]?$")]
Place = Annotated[str, Field(pattern=r"^[A-Z](\.[1-9][0-9]?){0,2}$")]  # a part, section or step


class Table(BaseModel):
    """One table of the plan file: frozen, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class About(Table):
    """What the plan is, and where it comes from."""

    id: Slug
    version: Words
    title: Words
    source: Words
    purpose: Words


class Locations(Table):
    """The headings of the table of locations; its rows come from the site file."""

    headings: Annotated[tuple[Words, ...], Field(min_length=1)]


class Bounds(Table):
    """What the test covers, what it does not, and what it takes for granted."""

    inside: tuple[Words, ...]
    outside: tuple[Words, ...]
    assumptions: tuple[Words, ...]


class Party(Table):
    """One side of the agreement, with what it answers for."""

    id: Slug
    title: Words
    responsibilities: tuple[Words, ...]


class Duty(Table):
    """A role in the test: who provides the person, and what the person does."""

    id: Role
    title: Words
    party: Slug
    does: Words


class Milestone(Table):
    """A row of the schedule."""

    task: Words
    artefact: Words
    optional: StrictBool = False


class Clause(Table):
    """A rule with a name for the machine and words for people."""

    name: Slug
    words: Words


class Part(Table):
    """A third of the test, with forms of its own; `word` names it in totals."""

    id: PartId
    word: Words
    title: Words
    functions: tuple[Words, ...]


class Section(Table):
    """A group of steps under one heading of a form."""

    id: SectionId
    part: PartId
    title: Words
    strategy: Words


class Wait(Table):
    """A time that must pass before the step is observed."""

    name: Slug
    seconds: Annotated[StrictInt, Field(gt=0, le=86_400)]


class MeasurementSpec(Table):
    """A number that the step yields, declared with its unit and limits before it is taken."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    unit: Words
    what: Words
    low: StrictFloat | None = None
    high: StrictFloat | None = None

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        """Refuse limits that no value can keep."""
        if self.low is not None and self.high is not None and self.low > self.high:
            raise PydanticCustomError("limits", "no value lies between these limits")
        return self


class Exemption(Table):
    """Why a step does not concern a kind of host; prints as a row without a box."""

    role: HostRole
    why: Words


class Step(Table):
    """One step of the plan: what is done, what must be seen, by whom, and where."""

    id: StepId
    section: SectionId
    title: Words
    text: Words
    expected: str = ""  # empty is readable, but `lint` objects
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    applies: Annotated[tuple[HostRole, ...], Field(min_length=1)]
    not_applicable: tuple[Exemption, ...] = ()
    scope: Scope
    mode: Mode
    marker: Marker
    disturbs: StrictBool = False  # calls or services: needs a go-ahead, and putting back
    reading: Slug | None = None  # the contradiction that decides how this step is read
    waits: tuple[Wait, ...] = ()
    measurements: tuple[MeasurementSpec, ...] = ()
    needs_servers: Annotated[StrictInt, Field(ge=1, le=99)] = 1  # of its kind, at the site
    needs_standby: StrictBool = False  # a host of its kind on a standby site and on another
    stops: Outage = Outage.NONE
    restarts: Outage = Outage.NONE

    def exemption(self, role: HostRole) -> str:
        """Return why the step does not concern *role*, or "" when the plan gives no reason."""
        return next((e.why for e in self.not_applicable if e.role is role), "")


class Reading(Table):
    """A contradiction in the source: what it says, how it is read, and why."""

    id: Slug
    where: Annotated[tuple[Place, ...], Field(min_length=1)]
    source: Words
    read: Words
    why: Words
    note: str = ""  # printed on the rows it covers; empty prints nothing

    def covers(self, step_id: str) -> bool:
        """Return whether the step, its section or its part is named in `where`."""
        return any(within(step_id, place) for place in self.where)


class Plan(Table):
    """The whole plan; `sha256` is that of the text it was read from."""

    sha256: str
    about: Annotated[About, Field(alias="plan")]
    locations: Locations
    scope: Bounds
    parties: tuple[Party, ...]
    roles: tuple[Duty, ...]
    schedule: tuple[Milestone, ...]
    deliverables: tuple[Clause, ...]
    criteria: tuple[Clause, ...]
    executed: tuple[Clause, ...]
    signing: tuple[Clause, ...]
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    readings: tuple[Reading, ...] = ()

    def step(self, step_id: str) -> Step:
        """Return the step with that id.

        Raises:
            InputError: the plan has none.
        """
        for step in self.steps:
            if step.id == step_id:
                return step
        raise InputError("no such step in the plan", field="step", value=step_id)

    def section_of(self, step: Step) -> Section:
        """Return the section that *step* is printed in."""
        return next(section for section in self.sections if section.id == step.section)

    def readings_of(self, step_id: str) -> tuple[Reading, ...]:
        """Return every reading in force for the step."""
        return tuple(reading for reading in self.readings if reading.covers(step_id))


TOML_INT_BITS = 64  # a longer one is no TOML integer, and Python may refuse to print it


@cache
def default_plan() -> Plan:
    """Return the plan that is shipped with this package."""
    path = resources.files("fst") / "data" / "plan.toml"
    return parse_plan(path.read_text(encoding="utf-8"), file="fst/data/plan.toml")


def parse_plan(text: str, *, file: str) -> Plan:
    """Return the plan that *text* holds.

    Raises:
        InputError: every field that is wrong, one line each; or where the TOML breaks off.
    """
    try:
        digest = hashlib.sha256(text.encode()).hexdigest()
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or nested too deep
        raise InputError(f"not TOML: {error}", file=file) from error
    wrong = [_own_field()] if "sha256" in raw else []
    plan = None
    try:
        plan = Plan.model_validate(raw | {"sha256": digest})
    except ValidationError as error:
        wrong += [_in_words(raw, e["loc"], e["type"], e["msg"], e["input"]) for e in error.errors()]
    wrong += contradictions(raw)
    if plan is None or wrong:
        raise InputError(f"\n{file}: ".join(map(str, wrong)), file=file)
    return plan


def _own_field() -> InputError:
    return InputError("is computed from the text", field="sha256", fix="leave it out")


def _in_words(
    raw: Mapping[str, Any], loc: tuple[int | str, ...], kind: str, why: str, value: object
) -> InputError:
    """Return one objection of pydantic's in the words of this project."""
    at: Any = raw
    field = ""
    for key in loc:
        at = _child(at, key)
        name = at.get("id", at.get("name")) if isinstance(at, dict) else None
        if isinstance(key, int):
            field += f"[{name if isinstance(name, str) else key}]"
        else:
            field += f".{key}" if field else key
    scalar = isinstance(value, str | float) or (
        isinstance(value, int) and value.bit_length() <= TOML_INT_BITS
    )
    shown = value if scalar and kind != "missing" else None  # repr of the rest may itself fail
    why = {"missing": "is missing", "extra_forbidden": "no such field"}.get(kind, why)
    return InputError(why, field=field if field.isprintable() else repr(field), value=shown)


def _child(at: Any, key: int | str) -> Any:  # noqa: ANN401 - walks whatever the file held
    if isinstance(at, dict):
        return at.get(key)
    return at[key] if isinstance(at, list) and isinstance(key, int) else None
