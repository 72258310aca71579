"""The answers file: what people heard, saw and dialled, written down before or instead of a prompt.

Laws: it answers human senses only, never a verdict; it is for one plan (id and hash) and one site
file, and for cases that exist there; what it says is held against the packets like a person's word.

    [answers]
    plan = "fst-call-policy"
    plan_sha256 = "..."              # as `fst plan` prints it
    site = "Loopback lab"            # name in the site file
    who = "Pat Caller"

    [[case]]
    step = "B.2.2"
    target = "site1"
    dialled = true                   # the calls of this case were, or will be, placed
    heard = "ended"                  # connected, elsewhere, ended, silence
    words = "busy tone after one ring"
"""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fst.matrix import Case, Matrix
from fst.plan import Plan
from fst.senses import SENSES, VALUES, Said, Sense
from harness.errors import InputError

VERDICT_WORDS = frozenset({"verdict", "outcome", "result", "declared", "pass", "fail", "other"})
_HEAD = {"plan": str, "plan_sha256": str, "site": str, "who": str}
_CASE = {"step": str, "target": str, "heard": str, "seen": str, "dialled": bool, "words": str}


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """What is said of one case."""

    dialled: bool = False
    heard: str = ""
    seen: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """A whole file."""

    who: str
    file: str
    sha256: str
    cases: Mapping[tuple[str, str], CaseAnswer]  # by step and target

    @property
    def where(self) -> str:
        """Return how the journal names this source."""
        return f"answers file {self.file} ({self.sha256[:12]})"

    def dialled(self, case: Case) -> bool:
        """Say whether somebody placed the calls of *case*."""
        found = self.cases.get((case.step.id, case.target))
        return found is not None and found.dialled

    def said(self, case: Case, sense: Sense) -> Said | None:
        """Return what the file says of *case*; None when it says nothing of that sense."""
        found = self.cases.get((case.step.id, case.target), CaseAnswer())
        value = found.heard if sense is Sense.HEARD else found.seen
        if not value:
            return None
        is_expected = value == SENSES[case.step.id].expected.value
        return Said(sense, value, is_expected, found.words, self.who, self.where)


def parse_answers(content: bytes, *, file: str, plan: Plan, site: str, matrix: Matrix) -> Answers:
    """Return the answers in *content*, which are for *plan* at *site*.

    Raises:
        InputError: another plan or site, a case that is not there, a verdict, any odd field.
    """
    try:
        found = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"not TOML ({error})", file=file) from error
    if odd := sorted(found.keys() - {"answers", "case"}):
        raise InputError("no such table", file=file, field=odd[0], fix="use answers, case")
    head = _table(found.get("answers"), _HEAD, "answers", file)
    wanted = {"plan": plan.about.id, "plan_sha256": plan.sha256, "site": site}
    for name, value in wanted.items():
        if head.get(name) != value:
            raise InputError(
                "answers for another plan or site",
                file=file,
                field=f"answers.{name}",
                value=head.get(name, ""),
                fix=f"this run's is {value!r}",
            )
    if not str(head.get("who", "")).strip():
        raise InputError("say who answers", file=file, field="answers.who")
    known = {(case.step.id, case.target) for case in matrix.cases}
    rows = found.get("case", [])
    if not isinstance(rows, list):
        raise InputError("not a list of tables", file=file, field="case", fix="write [[case]]")
    cases: dict[tuple[str, str], CaseAnswer] = {}
    for at, row in enumerate(rows):
        key, answer = _case(row, f"case.{at}", known, file)
        if key in cases:
            raise InputError("told twice", file=file, field=f"case.{at}", value=" ".join(key))
        cases[key] = answer
    return Answers(str(head["who"]), file, hashlib.sha256(content).hexdigest(), cases)


def _case(
    row: object, place: str, known: Iterable[tuple[str, str]], file: str
) -> tuple[tuple[str, str], CaseAnswer]:
    """Return step and target of one [[case]], and what it says."""
    fields = _table(row, _CASE, place, file)
    step, target = str(fields.pop("step", "")), str(fields.pop("target", ""))
    targets = [where for one, where in known if one == step]
    if not targets:
        raise InputError("no such case here", file=file, field=f"{place}.step", value=step)
    if target not in targets:
        raise InputError(
            f"no such host or site for {step}",
            file=file,
            field=f"{place}.target",
            value=target,
            fix=f"use one of {', '.join(sorted(targets))}",
        )
    spec = SENSES.get(step)
    for sense, values in VALUES.items():
        value = fields.get(sense.value)
        if value is None:
            continue
        if spec is None or spec.sense is not sense:
            raise InputError(
                f"nothing is {sense.value} in {step}", file=file, field=f"{place}.{sense.value}"
            )
        if value not in [one.value for one in values]:
            raise InputError(
                f"not what can be {sense.value}",
                file=file,
                field=f"{place}.{sense.value}",
                value=value,
                fix=f"use {', '.join(one.value for one in values)}",
            )
    return (step, target), CaseAnswer(**fields)


def _table(row: object, kinds: Mapping[str, type], place: str, file: str) -> dict[str, Any]:
    """Return the fields of a table, each known and of its kind."""
    if not isinstance(row, dict):
        raise InputError("missing, or not a table", file=file, field=place)
    for name, value in row.items():
        field = f"{place}.{name}"
        if name.lower() in VERDICT_WORDS:
            fix = "leave it out: say what was heard, seen or dialled"
            raise InputError("an answers file gives no verdict", file=file, field=field, fix=fix)
        if name not in kinds:
            fix = f"use {', '.join(kinds)}"
            raise InputError("no such field", file=file, field=field, fix=fix)
        if type(value) is not kinds[name]:
            fix = "write true or false" if kinds[name] is bool else "write it in quotes"
            raise InputError("of the wrong kind", file=file, field=field, value=value, fix=fix)
    return row.copy()
