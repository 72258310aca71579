"""What each verb of `hasync` that works on settings does."""

from collections.abc import Callable

from hasync.commands import cli_database, cli_look, cli_sets, cli_tail
from hasync.commands.command import Context, Outcome
from hasync.commands.verbs import HasyncOptions

_Act = Callable[[Context, HasyncOptions], Outcome]


def _tail(context: Context, options: HasyncOptions) -> Outcome:
    restores = options.action == "restore"
    return (cli_tail.restore if restores else cli_tail.tail)(context, options)


def _role(context: Context, options: HasyncOptions) -> Outcome:
    declares = options.action == "set"
    return (cli_sets.declare_role if declares else cli_look.role)(context, options)


ACTS: dict[str, _Act] = {
    "status": cli_look.status,
    "check": cli_look.checked,
    "sets": cli_look.sets,
    "doctor": cli_look.examine,
    "verify": cli_sets.verify,
    "pin": cli_sets.pin,
    "unpin": cli_sets.unpin,
    "hold": cli_sets.hold,
    "release": cli_sets.release,
    "keep": cli_sets.prune,
    "role": _role,
    "restore": cli_database.restore_set,
    "rollback": cli_database.roll_back,
    "recover": cli_database.settle,
    "tail": _tail,
    "install": cli_database.install,
    "import": cli_database.import_old,
}
