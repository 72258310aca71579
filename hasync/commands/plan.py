"""The steps of a procedure as `--dry-run` shows them: from the list that also runs."""

from hasync.steps import PROCEDURES


def procedure_lines(procedure: str) -> tuple[str, ...]:
    """Return one line for each step, in order.

    >>> procedure_lines("keep")
    ('keep.prune: remove the sets that no rule keeps',)
    """
    return tuple(f"{procedure}.{step.name}: {step.does}" for step in PROCEDURES[procedure])
