"""The edge of the role: state/role.json, written by a person's command alone.

What cannot be read for certain is unknown; and an unknown site does nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.clock import Clock
from harness.errors import HarnessError
from hasync import durable
from hasync.lock import held
from hasync.role import MAX_ROLE_BYTES, Role, RoleFact, declared, parse, unknown

NAME = "role.json"
WAIT_S = 30.0  # for whoever holds the role as it is: an exchange of databases, for a second


def read(state: Path) -> RoleFact:
    """Return this site's role; missing, broken or unreadable gives `unknown`, with the reason."""
    path = state / NAME
    try:
        return parse(durable.read(path, MAX_ROLE_BYTES), file=str(path))
    except (HarnessError, OSError) as error:
        return unknown(str(error))


@contextmanager
def unchanged(state: Path) -> Iterator[None]:
    """Keep every declaration waiting for the length of the block, which must be short.

    Raises:
        Stop: somebody else kept them waiting for too long (code LOCKED).
    """
    with held(state / "role.lock", WAIT_S):
        yield


def declare(  # noqa: PLR0913 - named facts of one declaration
    state: Path,
    role: Role,
    epoch: int,
    *,
    clock: Clock,
    by: str,
    why: str,
    own_seen: int = 0,
    peer_seen: int = 0,
) -> RoleFact:
    """Return the declared role once it is on the disk; of two at once, one waits for the other.

    Raises:
        Stop: the epoch goes back, or is not new (`hasync.role.declared`), or the databases were
            being exchanged for all of `WAIT_S`.
        InputError: no such role or epoch.
    """
    durable.make_folder(state)
    with unchanged(state):
        old = read(state)
        new = declared(
            old,
            role,
            epoch,
            own_seen=own_seen,
            peer_seen=peer_seen,
            at_ns=clock.wall_ns(),
            by=by,
            why=why,
        )
        if new != old:
            durable.write(state / NAME, new.encode())
    return new
