"""What `fst doctor` found: one check a line, with the command that mends what is not there.

Pure: facts are gathered by `fst.doctor`, judged by `fst.doctor_machine` and `fst.doctor_site`.
Laws: MISSING is for what the asked-for work needs, WARNING for what only some of it needs; either
names the way to mend it; OK names none. No text here holds a line break: a check is one line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from rich.markup import escape
from rich.table import Table

from harness.errors import InputError

EXIT_READY, EXIT_MISSING = 0, 3


class State(StrEnum):
    """How it stands with one thing."""

    OK = "OK"
    MISSING = "MISSING"  # the work that was asked about cannot be done
    WARNING = "WARNING"  # it can, but for the feature named


STYLES = {State.OK: "green", State.MISSING: "bold red", State.WARNING: "yellow"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked for."""

    name: str
    state: State
    found: str
    needed_for: str
    mend: str = ""  # a command to copy, or what to change in the site file

    def __post_init__(self) -> None:
        """Refuse a fault without its remedy, a remedy without a fault, and more than a line."""
        for part in ("name", "found", "needed_for", "mend"):
            text: str = getattr(self, part)
            if len(text.splitlines()) > 1 or (not text and part != "mend"):
                raise InputError("not one line", field=f"check.{part}", value=text)
        if bool(self.mend) == (self.state is State.OK):
            why = "says how to mend what is there" if self.mend else "does not say how to mend it"
            raise InputError(why, field="check.mend", value=self.name)


def worst(checks: Iterable[Check]) -> State:
    """Return the worst state of *checks*; with none MISSING, because nothing was looked at."""
    order = (State.OK, State.WARNING, State.MISSING)
    return max((check.state for check in checks), key=order.index, default=State.MISSING)


def exit_code(checks: Iterable[Check]) -> int:
    """Return 0 when all that is needed is there, else 3; a WARNING alone is no lack."""
    return EXIT_MISSING if worst(checks) is State.MISSING else EXIT_READY


def render(checks: Sequence[Check]) -> dict[str, object]:
    """Return what `--json` prints."""
    return {
        "schema": 1,
        "ready": exit_code(checks) == EXIT_READY,
        "checks": [asdict(check) | {"state": check.state.value} for check in checks],
    }


def table(checks: Sequence[Check]) -> Table:
    """Return *checks* as a table: state, name, what was found, what it is needed for."""
    made = Table(title="fst doctor: what is there", title_justify="left")
    for heading in ("State", "What", "Found", "Needed for"):
        made.add_column(heading, overflow="fold", no_wrap=heading == "State")
    for check in checks:
        state = f"[{STYLES[check.state]}]{check.state.value}[/]"
        made.add_row(state, *map(escape, (check.name, check.found, check.needed_for)))
    return made


def mend_lines(checks: Iterable[Check]) -> tuple[str, ...]:
    """Return one line for each thing to mend, what is needed before what is only missed.

    >>> mend_lines([Check("dig", State.WARNING, "not on PATH", "x", "apt-get install -y dig")])
    ('WARNING dig: apt-get install -y dig',)
    """
    wanting = [check for check in checks if check.state is not State.OK]
    wanting.sort(key=lambda check: check.state is State.WARNING)  # stable: else as found
    return tuple(f"{check.state.value} {check.name}: {check.mend}" for check in wanting)


def summary(checks: Sequence[Check]) -> str:
    """Return the last line: how many of each state, and whether work can begin."""
    counts = ", ".join(
        f"{count} {state.value}"
        for state in State
        if (count := sum(check.state is state for check in checks))
    )
    ready = exit_code(checks) == EXIT_READY
    return f"{counts}: " + ("all that is needed is there" if ready else "something needed is not")
