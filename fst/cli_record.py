"""The commands by which people say something of a run: caveat, accept, comment, witness, declare.

And `fst status`, which says how the run stands. Exit 0: accepted (or recorded); 1: a FAIL is open;
2: what was given is wrong; 3: something is missing.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from fst.acceptance import Lack, Standing, Word, stand
from fst.boxes import REHEARSAL, Key
from fst.report.fields import legible
from fst.report.moment import utc
from fst.report.results import standing as as_json_values
from fst.run_folder import MISSING, changed_attachments
from fst.run_record import Known, Told, record
from harness.clock import SystemClock
from harness.command_line import EXIT_OTHER
from harness.errors import InputError, ToolError
from harness.finding import Outcome
from harness.journal import Event

MAX_STEP_BACK_NS = 5_000_000_000  # of the clock, that is no doubt: it is kept in step
MAX_EMAIL_BYTES = 25 * 1024 * 1024
FOLDER = "acceptance"

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Step of the plan (B.3.4).")]
TargetArgument = Annotated[str, typer.Argument(metavar="TARGET", help="site/host, site or system.")]
WordsOption = Annotated[str, typer.Option("--words", metavar="TEXT", help="In words.")]
ByOption = Annotated[str, typer.Option("--by", metavar="NAME", help="Who says it.")]
ByTester = Annotated[
    str, typer.Option("--by", metavar="NAME", help="Who says it, if not the tester.")
]


class Says(StrEnum):
    """A verdict as it is typed."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    OTHER = "other"


class Severity(StrEnum):
    """How much a caveat matters."""

    MINOR = "minor"
    MAJOR = "major"


def caveat(  # noqa: PLR0913, PLR0917 - each argument is a parameter
    folder: RunArgument,
    case: CaseArgument,
    target: TargetArgument,
    words: WordsOption,
    severity: Annotated[Severity, typer.Option(help="How much it matters.")] = Severity.MINOR,
    by: ByTester = "",
) -> None:
    """Put a caveat on a PASS or an OTHER; the customer must then accept it."""

    def compose(known: Known) -> list[Told]:
        number = known.attempt((case, target)).number
        fields = {"attempt": number, "words": words, "severity": severity.value}
        return [("caveat", _box(case, target) | fields | {"by": by or _tester(known)})]

    _record(folder, compose)
    typer.echo(f"{case} {target}: caveat recorded; it waits for the customer (fst accept)")


def comment(
    folder: RunArgument,
    case: CaseArgument,
    target: TargetArgument,
    words: WordsOption,
    by: ByTester = "",
) -> None:
    """Write a comment beside a box; it changes no verdict."""

    def compose(known: Known) -> list[Told]:
        known.row(case, target)
        if not words.strip():
            raise known.refused("--words", words, "a comment is made of words", "")
        return [("comment", _box(case, target) | {"text": words, "by": by or _tester(known)})]

    _record(folder, compose)
    typer.echo(f"{case} {target}: comment recorded")


def witness(  # noqa: PLR0913, PLR0917 - each argument is a parameter
    folder: RunArgument,
    case: CaseArgument,
    target: TargetArgument,
    by: ByOption,
    says: Annotated[Says, typer.Option(help="The witness's own verdict.")],
    words: WordsOption = "",
) -> None:
    """Record the verdict of a witness; one that differs from the tester's is printed as such."""

    def compose(known: Known) -> list[Told]:
        number = known.attempt((case, target)).number
        fields = {"attempt": number, "by": by, "says": says.value, "words": words}
        return [("witness", _box(case, target) | fields)]

    _record(folder, compose)
    row = Known.read(folder).row(case, target)
    same = row.state.value == says.value.upper()
    typer.echo(
        f"{case} {target}: recorded"
        + ("" if same else f"; a disagreement: the box is {row.state}, {by} says {says.upper()}")
    )


def declare(  # noqa: PLR0913, PLR0917 - each argument is a parameter
    folder: RunArgument,
    case: CaseArgument,
    target: TargetArgument,
    says: Annotated[Says, typer.Argument(metavar="VERDICT", help="pass, fail or other.")],
    by: ByOption,
    words: WordsOption = "",
) -> None:
    """Declare the verdict of a box; it may lower the one that was earned, and never better it.

    A box that was not tried, or whose attempt was cut off, gets an attempt of this person's own.
    """

    def compose(known: Known) -> list[Told]:
        known.row(case, target)
        box, latest = _box(case, target), known.boxes.latest((case, target))
        fresh = latest is None or bool(latest.stopped)
        number = known.boxes.next_number((case, target)) - (0 if fresh else 1)
        said = {"attempt": number, "outcome": says.value.upper(), "words": words, "by": by}
        declared = ("verdict.declared", box | said)
        if latest is not None and latest.is_open:  # who had begun it was cut off
            return [declared, ("attempt.end", box)]
        if not fresh:
            return [declared]
        start = {"attempt": number, "reason": "declared by a person"}
        return [("attempt.start", box | start), declared, ("attempt.end", box)]

    _record(folder, compose)
    row = Known.read(folder).row(case, target)
    typer.echo(f"{case} {target}: {row.state}: {row.words}")


def accept(
    folder: RunArgument,
    by: ByOption,
    boxes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE TARGET]...", help="Only these; else all that need it."),
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="The consent, in words.")] = "",
    email: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The customer's e-mail; is copied.")
    ] = None,
) -> None:
    """Record that the customer accepts boxes as they are now: their caveats, and OTHERs.

    A box that changes later has to be accepted again. Nothing of a rehearsal is accepted.
    """
    if bool(note.strip()) == (email is not None):
        why = "consent is a note or an e-mail"
        raise InputError(why, field="--note/--email", fix="give one of the two")
    if not by.strip():  # before the e-mail is copied: what is refused changes nothing
        raise InputError("somebody accepts, by name", field="--by", value=by)
    content = b"" if email is None else _read_email(email)

    def compose(known: Known) -> list[Told]:
        if known.boxes.mode == REHEARSAL:
            raise InputError("nothing of a rehearsal is accepted", file=str(folder))
        keys = _named(known, boxes) if boxes else _unaccepted(known)
        for key in keys:
            _refuse_unacceptable(known, key)
        _refuse_changed(known)
        chosen = [[*key, known.attempt(key).number] for key in keys]
        consent: dict[str, Any] = {"note": note}
        if email is not None:
            consent = _keep_email(folder, email.name, content)
        return [("acceptance", {"boxes": chosen, "by": by} | consent)]

    (event,) = _record(folder, compose)
    for step, target, _ in event.fields["boxes"]:
        typer.echo(f"{step} {target}: accepted by {by}")


def status(
    folder: RunArgument,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Say how a run stands by the plan's own criteria, and everything that is missing."""
    known = Known.read(folder)
    standing, doubts = stand(known.report), _doubts(known)
    if as_json:
        typer.echo(json.dumps(as_json_values(known.report), ensure_ascii=False, indent=1))
    else:
        typer.echo("\n".join(_lines(known, standing, doubts)))
    accepted = standing.exit_code == 0
    raise typer.Exit(EXIT_OTHER if doubts and accepted else standing.exit_code)


def _doubts(known: Known) -> list[str]:
    """Return what is not as the journal says: files that were changed, a journal of another run."""
    found = changed_attachments(known.folder, known.events)
    run = known.report.run.id
    if known.folder.resolve().name != run:
        found.append(f"the journal is of run {run}, which is not the folder's name")
    for before, event in pairwise(known.events):
        if before.at_ns - event.at_ns > MAX_STEP_BACK_NS:
            back_s = (before.at_ns - event.at_ns) / 1e9
            found.append(f"the clock was set back by {back_s:.0f} s before event {event.seq}")
    return [legible(one) for one in found]


def _lines(known: Known, standing: Standing, doubts: Sequence[str]) -> Iterable[str]:
    totals = known.report.totals
    counts = ", ".join(f"{count} {state.value}" for state, count in totals.items() if count)
    yield f"{known.report.run.id}: {standing.word.value}"
    yield f"  boxes: {counts}"
    aborted = [event for event in known.events if event.type == "run.aborted"]
    if aborted:
        last = aborted[-1]
        safe = "SAFE" if last.fields.get("safe") is True else "NOT SAFE"
        why = legible(str(last.fields.get("reason", "")))
        yield f"  aborted at {utc(last.at_ns)} ({why}): {safe} then"
    yield f"  fully executed: {'yes' if standing.is_complete else 'no'}"
    for title, lacks in (
        ("open FAIL", standing.failed),
        ("without a verdict", standing.missing),
        (
            "suspect, try again (fst run --resume RUN --retest suspect --reason TEXT)",
            standing.suspect,
        ),
        ("to be accepted by the customer (fst accept)", standing.unaccepted),
        ("accepted by the customer", standing.accepted),
    ):
        if lacks:
            yield f"{title}: {len(lacks)}"
            yield from _grouped(lacks)
    for doubt in doubts:
        yield f"doubt: {doubt}"
    if standing.formal:
        yield "missing of the whole:"
        yield from (f"  {each}" for each in standing.formal)
    if standing.word is Word.REHEARSAL:
        yield "A rehearsal proves nothing and is never accepted."


def _grouped(lacks: Iterable[Lack]) -> Iterable[str]:
    """Return a line for all cases of one target that lack the same."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in lacks:
        groups.setdefault((each.target, each.why), []).append(each.step)
    for (target, why), steps in groups.items():
        yield f"  {', '.join(steps)} {target}: {why}"


def _record(folder: Path, compose: Callable[[Known], Sequence[Told]]) -> tuple[Event, ...]:
    return record(folder, SystemClock(), compose)


def _box(case: str, target: str) -> dict[str, Any]:
    return {"step": case, "target": target}


def _tester(known: Known) -> str:
    """Return who carries the run out now."""
    found = known.report.run.tester.rpartition(", then ")[2]
    if not found:
        raise known.refused("--by", "", "the run names no tester; say who", "")
    return found


def _named(known: Known, words: list[str]) -> list[Key]:
    if len(words) % 2:
        raise known.refused("CASE TARGET", words[-1], "a case without a target", "")
    return list(dict.fromkeys(zip(words[::2], words[1::2], strict=True)))


def _unaccepted(known: Known) -> list[Key]:
    found = list(dict.fromkeys(_key(each) for each in stand(known.report).unaccepted))
    if not found:
        raise known.refused("", None, "nothing in it waits for acceptance", "")
    return found


def _key(lack: Lack) -> Key:
    return lack.step, lack.target


def _refuse_unacceptable(known: Known, key: Key) -> None:
    row = known.row(*key)
    if row.state.value not in {Outcome.PASS.value, Outcome.OTHER.value}:
        why = f"is {row.state}; only a PASS or an OTHER can be accepted"
        raise known.refused(f"{key[0]} {key[1]}", None, why, "")


def _refuse_changed(known: Known) -> None:
    found = changed_attachments(known.folder, known.events)
    changed = [line for line in found if not line.endswith(MISSING)]  # that may be kept elsewhere
    if changed:
        raise known.refused("", None, f"not as it was recorded: {'; '.join(changed)}", "")


def _read_email(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_EMAIL_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    if not content or len(content) > MAX_EMAIL_BYTES:
        raise InputError(f"empty, or more than {MAX_EMAIL_BYTES} bytes", file=str(path))
    return content


def _keep_email(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    """Return the fields of a copy in the run's folder, which its hash names."""
    digest = hashlib.sha256(content).hexdigest()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-") or "e-mail"
    path = folder / FOLDER / f"{digest[:12]}-{plain[-80:]}"
    part = path.with_name(f".{path.name}.part")
    if path.parent.is_symlink():
        raise InputError("a link, which leads out of the run", file=str(path.parent))
    try:
        path.parent.mkdir(exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ToolError(f"{path}: cannot be written: {error.strerror}") from error
    where = path.relative_to(folder).as_posix()
    return {"path": where, "sha256": digest, "bytes": len(content)}
