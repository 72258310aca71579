"""pgsync: the drop-in for cron on both database servers; the role decides what it does.

pgsync [-h] [-t TIMEOUT] [-j JOBS] [-b BACKUPS] REMOTE_HOST
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

from harness.errors import InputError
from hasync.commands import active, command, standby
from hasync.commands.command import Command, Context, Outcome
from hasync.commands.options import PgsyncOptions, pgsync_options
from hasync.database.databases import companions
from hasync.database.recover import planned, recover
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
    _known_role(context)
    if options.dry_run:
        return _shown(context, store, options)
    recovered = recover(settings, store, context.clock, context.log)
    logger.info("role and recovery found=%d", len(recovered))
    if _known_role(context) is Role.ACTIVE:
        return active.run(context, store, options, address)
    return standby.run(context, store, options)


def _shown(context: Context, store: Store, options: PgsyncOptions) -> Outcome:
    """Return what a run would do now, recovery first."""
    lines = planned(context.settings, store, context.clock)
    is_active = _known_role(context) is Role.ACTIVE
    shown = active.shown if is_active else standby.shown
    found = shown(context, store, options)
    return replace(found, lines=(*lines, *found.lines))


def _known_role(context: Context) -> Role:
    """Return the role of this site; it is asked before anything is done here.

    Raises:
        Stop: it is not known.
    """
    role = active.settings_role(context)
    if role.role is Role.UNKNOWN:
        raise Stop(
            Exit.REFUSED,
            "the role of this site is not known, so nothing is done",
            fact=role.why,
            fix="declare it: hasync role set active|standby --epoch N",
        )
    return role.role


COMMAND = Command(
    "pgsync", pgsync_options, act, lambda options: "" if options.dry_run else "pgsync"
)


if __name__ == "__main__":
    sys.exit(main())
