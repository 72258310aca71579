"""The edge that asks every fact which could forbid a restore: role, service, peer, server.

Asked at the start and again immediately before the swap: a restore takes an hour, and in that hour
a person may have made this site the active one.

A client that only reads does not forbid: it is disconnected by the swap, and comes back to the new
content. One that has written in an open transaction does: somebody takes this site for the active
one. What it has committed by then is kept as a tail all the same.
"""

from hasync.database.psql import Session
from hasync.database.sql import literal
from hasync.failure import Exit, Stop
from hasync.role import RoleFact, SiteFact, may_restore
from hasync.role_file import read
from hasync.service import probe
from hasync.settings import Settings


def site(settings: Settings, peer: SiteFact | None, epoch: int | None = None) -> RoleFact:
    """Return this site's role, which allows a restore; with *epoch* it must be unchanged.

    Raises:
        Stop: the role, its epoch, the service or the peer forbids it.
    """
    role = read(settings.folders.state)
    if refusal := may_restore(role, probe(settings.service), peer):
        raise refusal
    if epoch is not None and role.epoch != epoch:
        fact = f"epoch {epoch} at the start, {role.epoch} now"
        raise Stop(Exit.REFUSED, "the role was declared anew meanwhile", fact=fact)
    return role


def server(session: Session, name: str) -> None:
    """Return when nothing in the database *name* stands against replacing it.

    Raises:
        Stop: a prepared transaction, or a client that has written.
    """
    gid = session.value(
        f"select min(gid) as gid from pg_prepared_xacts where database = {literal(name)}"  # noqa: S608 - quoted names, numbers
    )
    if gid is not None:
        raise Stop(
            Exit.FAILED,
            f"a prepared transaction holds the database {name}",
            fact=f"gid {gid!r}",
            fix="ask its owner, then COMMIT PREPARED or ROLLBACK PREPARED",
        )
    writers = session.rows(
        "select pid, usename, application_name from pg_stat_activity"  # noqa: S608 - quoted names, numbers
        f" where datname = {literal(name)} and backend_xid is not null"
        " and pid <> pg_backend_pid() and application_name <> 'hasync' limit 1"
    )
    if writers:
        one = writers[0]
        raise Stop(
            Exit.REFUSED,
            f"a client is writing to {name} on this standby",
            fact=f"pid {one['pid']}, user {one['usename']}, {one['application_name']!r}",
            fix="find out who takes this site for the active one",
        )
