"""What counts as the time of a recovery."""

from hasync.database.restore import TIDYING, RestoreResult
from hasync.steps import PROCEDURES


def test_recovery_is_over_when_the_new_rows_are_confirmed() -> None:
    """Nobody waits for an old database to be dropped, or for the server to be stopped."""
    seconds = {"load": 2.0, "swap": 0.5, "confirm": 0.25, "prune": 60.0, "stop": 8.0}

    assert RestoreResult("", 1, seconds, 0.1, "", tail=False).recovery_s == 2.75


def test_all_that_follows_the_confirmation_is_tidying() -> None:
    """A step that is added there is none of the recovery either, and one before it is."""
    names = [step.name for step in PROCEDURES["restore"]]

    assert set(names[names.index("confirm") + 1 :]) == TIDYING
