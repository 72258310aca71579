"""pgsync: the drop-in for cron on both database servers; the role decides what it does.

pgsync [-h] [-t TIMEOUT] [-j JOBS] [-b BACKUPS] REMOTE_HOST
"""

import logging
import sys
from collections.abc import Sequence

from harness.errors import InputError
from hasync.commands import active, command, standby
from hasync.commands.command import Command, Context, Outcome
from hasync.commands.options import PgsyncOptions, pgsync_options
from hasync.database.databases import companions
from hasync.database.recover import recover
from hasync.failure import Exit, Stop
from hasync.peer.address import PeerAddress
from hasync.role import Role
from hasync.sets.store import Store

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of one run (docs/hasync-settings.md)."""
    return command.run(COMMAND, argv)


def act(context: Context, options: PgsyncOptions) -> Outcome:
    """Return how the run went.

    Raises:
        Stop: a guard or a failure that ended it.
        InputError: no database in the settings, or no address.
    """
    settings = context.settings
    address = PeerAddress.parse(options.host)
    if settings.database is None:
        fix = "add [database], or run this on the database server"
        raise InputError("no database to keep in step", field="database", fix=fix)
    companions(settings.database)  # a name whose companions do not fit is refused before all else
    store = Store(settings.folders, settings.signing, settings.site, context.clock)
    if not options.dry_run:
        recovered = recover(settings, store, context.clock, context.log)
        logger.info("role and recovery found=%d", len(recovered))
    role = active.settings_role(context)
    match role.role:
        case Role.ACTIVE if options.dry_run:
            return active.shown(context, store, options)
        case Role.ACTIVE:
            return active.run(context, store, options, address)
        case Role.STANDBY if options.dry_run:
            return standby.shown(context, store, options)
        case Role.STANDBY:
            return standby.run(context, store, options)
        case Role.UNKNOWN:
            raise Stop(
                Exit.REFUSED,
                "the role of this site is not known, so nothing is done",
                fact=role.why,
                fix="declare it: hasync role set active|standby --epoch N",
            )


COMMAND = Command(
    "pgsync", pgsync_options, act, lambda options: "" if options.dry_run else "pgsync"
)


if __name__ == "__main__":
    sys.exit(main())
