"""The matrix of a run: which forms a plan and some sites give, row by row and box by box.

A box is one place for a verdict on one form; a case is one observation of a step on a target.
Laws: every box belongs to exactly one case; a case fills at least one box; a row without a box says
why; the same plan and sites always give the same numbers, in the order in which forms are printed.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from fst.plan import HostRole, Outage, Part, Plan, Scope, Step
from fst.plan_lint import flaws
from harness.errors import InputError

SYSTEM = "system"  # the target of a step that is observed once for everything

_NOUN = {
    HostRole.MEDIATION: "mediation server",
    HostRole.DATABASE: "database server",
    HostRole.ENUM: "ENUM server",
    HostRole.PROBE: "probe server",
}
_PAIRED = frozenset({HostRole.MEDIATION, HostRole.DATABASE})  # titled Primary or Secondary
_PRINT_ORDER = tuple(HostRole)


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A host under test, as the matrix needs to know it."""

    name: str
    role: HostRole

    def __post_init__(self) -> None:
        """Refuse a name that could not be part of a target."""
        _check_name(self.name, "host")


@dataclass(frozen=True, slots=True)
class SiteHosts:
    """A site with its hosts, in the order in which its ENUM servers are numbered."""

    name: str
    title: str
    standby: bool
    hosts: tuple[HostEntry, ...]

    def __post_init__(self) -> None:
        """Refuse names that would make two targets look alike."""
        _check_name(self.name, "site")
        if not self.title.strip() or not self.title.isprintable():
            raise InputError("a form needs a title that prints", field="title", value=self.title)
        if self.name == SYSTEM:
            raise InputError("means the whole system", field="site", value=self.name)
        _check_once([host.name for host in self.hosts], f"hosts of {self.name}")

    def servers(self, role: HostRole) -> tuple[str, ...]:
        """Return the names of the site's hosts in that role; the first one is server 1."""
        return tuple(host.name for host in self.hosts if host.role is role)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a form: a step on a target, with its box or the reason why there is none."""

    step: Step
    target: str
    box: str
    not_applicable: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """One sheet: a part of the plan for one host."""

    id: str
    part: str
    title: str
    site: str
    host: str
    host_role: HostRole
    rows: tuple[Row, ...]

    @property
    def target(self) -> str:
        """The host of this form, with its site."""
        return f"{self.site}/{self.host}"


@dataclass(frozen=True, slots=True)
class Case:
    """One observation to be made, and every box that it fills."""

    step: Step
    target: str
    boxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every form of a run, in print order."""

    forms: tuple[Form, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row of every form, in print order."""
        return tuple(row for form in self.forms for row in form.rows)

    @property
    def boxes(self) -> tuple[str, ...]:
        """Every box, in print order."""
        return tuple(row.box for row in self.rows if row.box)

    @property
    def not_applicable(self) -> tuple[Row, ...]:
        """Every row without a box."""
        return tuple(row for row in self.rows if not row.box)

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every observation once, in the order in which its first box is printed."""
        found: dict[tuple[str, str], Case] = {}
        for row in self.rows:
            if row.box:
                case = found.get((row.step.id, row.target), Case(row.step, row.target, ()))
                boxes = (*case.boxes, row.box)
                found[row.step.id, row.target] = replace(case, boxes=boxes)
        return tuple(found.values())

    def count(self, part: str) -> int:
        """Return how many boxes the forms of that part have."""
        return sum(bool(row.box) for form in self.forms if form.part == part for row in form.rows)


def build(plan: Plan, sites: tuple[SiteHosts, ...]) -> Matrix:
    """Return the forms that *plan* gives for *sites*: part by part, primary sites first.

    Raises:
        InputError: no site at all, or two of one name.
    """
    if not sites:
        raise InputError("no site to test", field="sites")
    _check_once([site.name for site in sites], "sites")
    forms: list[Form] = []
    for part in plan.parts:
        for site in sorted(sites, key=lambda site: site.standby):  # stable: listed order otherwise
            for host in sorted(site.hosts, key=lambda host: _PRINT_ORDER.index(host.role)):
                if rows := tuple(_rows(plan, part, site, host, sites)):
                    title = _title(site, host)
                    form = Form("", part.id, title, site.name, host.name, host.role, rows)
                    forms.append(_numbered(form, len(forms) + 1))
    return Matrix(_told_apart(forms))


def _numbered(form: Form, number: int) -> Form:
    """Return *form* with its number, which every box with a verdict bears too."""
    name = f"F{number:02}"
    rows = tuple(
        row if row.not_applicable else replace(row, box=f"{name}:{row.step.id}")
        for row in form.rows
    )
    return replace(form, id=name, rows=rows)


def _title(site: SiteHosts, host: HostEntry) -> str:
    if host.role in _PAIRED:
        return f"{'Secondary' if site.standby else 'Primary'} {_NOUN[host.role]}"
    number = site.servers(host.role).index(host.name) + 1
    return f"{site.title} {_NOUN[host.role]} {number}"


def _told_apart(forms: list[Form]) -> tuple[Form, ...]:
    """Return *forms* with the host added to each title that two of one part would share."""
    times = Counter((form.part, form.title) for form in forms)
    return tuple(
        replace(form, title=f"{form.title} ({form.target})")
        if times[form.part, form.title] > 1
        else form
        for form in forms
    )


def _rows(
    plan: Plan, part: Part, site: SiteHosts, host: HostEntry, sites: tuple[SiteHosts, ...]
) -> Iterator[Row]:
    """Yield the rows of the form, boxes still without their form's number."""
    sections = {section.id for section in plan.sections if section.part == part.id}
    for step in plan.steps:
        exempt = step.exemption(host.role)
        if step.section not in sections or not (exempt or host.role in step.applies):
            continue
        target = _target(step, site, host)
        why = exempt or _too_few(step, site, host) or _no_standby(step, site, host, sites)
        notes = [f"{r.note} (reading {r.id})" for r in plan.readings_of(step.id) if r.note]
        notes += _servers_meant(step, site.servers(host.role))
        yield Row(step, target, "", why, () if why else tuple(notes))


def _target(step: Step, site: SiteHosts, host: HostEntry) -> str:
    match step.scope:
        case Scope.HOST:
            return f"{site.name}/{host.name}"
        case Scope.SITE:
            return site.name
        case Scope.SYSTEM:
            return SYSTEM
        case _:
            assert_never(step.scope)


def _too_few(step: Step, site: SiteHosts, host: HostEntry) -> str:
    """Return why the site has too few servers for *step*, or ""."""
    count = len(site.servers(host.role))
    if count >= step.needs_servers:
        return ""
    noun = _NOUN[host.role]
    return (
        f"Needs {step.needs_servers} {noun}s at a site, {site.title} has {count}: "
        "no other server could take over, or take turns."
    )


def _no_standby(step: Step, site: SiteHosts, host: HostEntry, sites: tuple[SiteHosts, ...]) -> str:
    """Return why *step* has nothing to look at when the host has no counterpart, or ""."""
    paired = any(s.servers(host.role) for s in sites if s.standby is not site.standby)
    if paired or not step.needs_standby:
        return ""
    wanted = "primary" if site.standby else "standby"
    return f"No {wanted} site has a {_NOUN[host.role]} to pair this one with."


def _servers_meant(step: Step, servers: tuple[str, ...]) -> list[str]:
    """Return notes that say, for this site, which servers are stopped or started again."""
    notes = []
    if stopped := step.stops.of(servers):
        left = servers[len(stopped) :]
        says = f"requests must go to {', '.join(left)}" if left else "no server is left"
        which = f"{step.stops.replace('-', ' ')} of {len(servers)} server{'s' * (len(servers) > 1)}"
        notes.append(f"read as {which}: {', '.join(stopped)} stopped; {says}")
    if step.stops is Outage.ALL_BUT_LAST and stopped == Outage.FIRST.of(servers):
        notes.append("with two servers the same one is down as for the first outage; observed anew")
    if started := step.restarts.of(servers):
        notes.append(f"started again: {', '.join(started)}")
    if step.restarts is Outage.ALL and len(servers) == 1:
        notes.append("a single server takes no turns: requests must reach it again")
    return notes


def _check_name(name: str, what: str) -> None:
    if not name or "/" in name or not name.isprintable() or name != name.strip():
        raise InputError("a target could not be told by it", field=what, value=name)


def _check_once(names: list[str], field: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"used {count} times", field=field, value=name, fix="use each once")


def as_text(matrix: Matrix, plan: Plan) -> list[str]:
    """Return the lines of `fst plan`: each form with its rows, then the totals."""
    lines = [f"{plan.about.title}, version {plan.about.version}", f"plan sha256 {plan.sha256}"]
    for form in matrix.forms:
        lines += ["", f"{form.id}  part {form.part}  {form.title}  ({form.target})"]
        for row in form.rows:
            lines.append(
                f"  {row.step.id:<6} {_verdict_by(row):<10} {row.target:<16} {row.step.title}"
            )
            lines += [f"         - {note}" for note in (row.not_applicable, *row.notes) if note]
    split = ", ".join(f"{matrix.count(part.id)} {part.word}" for part in plan.parts)
    lines += ["", f"{split}; {len(matrix.not_applicable)} not applicable"]
    return [*lines, f"{len(matrix.boxes)} boxes on {len(matrix.forms)} forms"]


def _verdict_by(row: Row) -> str:
    return row.step.mode if row.box else "N/A"


def lint_text(plan: Plan) -> list[str]:
    """Return the lines of `fst plan --lint`: the readings in force, then what is still wrong."""
    lines: list[str] = []
    for reading in plan.readings:
        lines.append(f"{reading.id} ({', '.join(reading.where)})")
        lines.append(f"  the source: {reading.source}")
        lines.append(f"  read as:    {reading.read}")
        lines.append(f"  because:    {reading.why}")
    found = flaws(plan)
    lines += [f"flaw: {flaw}" for flaw in found]
    flaw_count = f"{len(found)} flaw{'s' * (len(found) != 1)}"
    return [*lines, f"{len(plan.readings)} readings in force, {flaw_count}"]
