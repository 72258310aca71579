"""The edge where the options of `fst run` become a guide; nothing is written or opened yet."""

from dataclasses import dataclass
from pathlib import Path

from fst.answers import Answers, parse_answers
from fst.guided import Guide
from fst.matrix import Matrix
from fst.plan import Plan
from fst.prompt_terminal import has_terminal
from fst.site import SiteFile
from harness.clock import Clock
from harness.dialplan import DialPlan
from harness.errors import InputError


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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", file=str(path), field="--answers"
        ) from error
    return parse_answers(content, file=str(path), plan=plan, site=file.name, matrix=matrix)
