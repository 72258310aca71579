"""The edge where the options of `fst run` become a guide; nothing is written or opened yet."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from fst.answers import Answers, parse_answers
from fst.boxes import REHEARSAL
from fst.guided import Guide
from fst.matrix import Matrix
from fst.plan import Plan
from fst.prompt_terminal import has_terminal
from fst.resume import Began
from fst.site import SiteFile
from harness.clock import Clock
from harness.dialplan import DialPlan
from harness.errors import InputError

MAX_BYTES = 1024 * 1024  # of an answers file


@dataclass(frozen=True, slots=True)
class Guidance:
    """What the options ask for; a rehearsal is guided too."""

    guided: bool = False
    rehearse: bool = False
    answers: Path | None = None
    no_terminal: bool = False  # people answer on the run's socket

    @property
    def is_wanted(self) -> bool:
        """Say whether people are to be asked at all.

        Raises:
            InputError: an option that only a guided run has.
        """
        if self.guided or self.rehearse:
            return True
        if self.answers is not None or self.no_terminal:
            field = "--answers" if self.answers is not None else "--no-terminal"
            raise InputError("nobody is asked anything", field=field, fix="add --guided")
        return False

    @property
    def options(self) -> str:
        """Return what a command line that goes on with the run needs; the rest is in its journal.

        >>> Guidance(guided=True, no_terminal=True).options
        ' --no-terminal'
        """
        found = [] if self.answers is None else ["--answers", shlex.quote(str(self.answers))]
        found += ["--no-terminal"] if self.no_terminal else []
        return "".join(f" {one}" for one in found)


def as_begun(asked: Guidance, known: Began) -> Guidance:
    """Return what is asked of people in a run that goes on: it stays guided, or a rehearsal.

    Raises:
        InputError: a rehearsal was asked for, of a run that is none.
    """
    was = known.mode == REHEARSAL
    if asked.rehearse and not was:
        fix = "rehearse in a run of its own"
        raise InputError("the run is no rehearsal", field="--rehearse", fix=fix)
    return replace(asked, guided=asked.guided or known.guided, rehearse=was)


def make_guide(  # noqa: PLR0913 - a guided run has these parts
    guidance: Guidance,
    *,
    file: SiteFile,
    dial_plan: DialPlan,
    plan: Plan,
    matrix: Matrix,
    clock: Clock,
) -> Guide | None:
    """Return the guide of a run; None when nobody is to be asked.

    Raises:
        InputError: an answers file that can't be read, or is for another plan, site or host.
    """
    if not guidance.is_wanted:
        return None
    answers = None
    if guidance.answers is not None:
        answers = _read(guidance.answers, file, plan, matrix)
    return Guide(
        clock,
        file=file,
        dial_plan=dial_plan,
        answers=answers,
        rehearse=guidance.rehearse,
        terminal=not guidance.no_terminal and has_terminal(),
    )


def _read(path: Path, file: SiteFile, plan: Plan, matrix: Matrix) -> Answers:
    if path.exists() and not path.is_file():
        raise InputError("not a file", file=str(path), field="--answers")
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", file=str(path), field="--answers"
        ) from error
    if len(content) > MAX_BYTES:
        raise InputError(f"more than {MAX_BYTES} bytes", file=str(path), field="--answers")
    return parse_answers(content, file=str(path), plan=plan, site=file.name, matrix=matrix)
