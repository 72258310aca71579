"""The procedures as data: each step by name, in order, with what it does.

The journal, `--dry-run`, `recover` and the tests all read this list, so a new step is journalled,
shown, and killed before and after by the fault tests from the day it is written.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One step: idempotent, journalled, with a failpoint before and after it."""

    name: str
    does: str  # in words, for --dry-run and for a person at night


PROCEDURES: dict[str, tuple[Step, ...]] = {
    "publish": (  # pgsync on the active site
        Step("guard", "read the role; only an active site publishes"),
        Step("sweep", "remove what interrupted runs of ours left in work/"),
        Step("space", "refuse when dump and set do not fit beside the reserve"),
        Step("dump", "pg_dump in a snapshot of its own; count rows in the same snapshot"),
        Step("compress", "zstd each data file, on all processors"),
        Step("manifest", "hash every file, write and sign the manifest, flush all to the disk"),
        Step("catalogue", "rename the set into the catalogue"),
    ),
    "send": (  # after publish, and for every set that the peer does not have
        Step("hello", "ask the peer for its role, epoch, clock, space and newest set"),
        Step("transfer", "rsync the set into the peer's inbox, resuming what is there"),
        Step("commit", "have the peer verify the set and take it into its catalogue"),
    ),
    "restore": (  # pgsync on the standby, and hasync restore
        Step("guard", "role standby, service inactive, no open write, no prepared transaction"),
        Step("select", "take the newest verified set that is newer than what is live"),
        Step("authenticate", "check the signature, then size and sha256 of every file"),
        Step("preflight", "versions, extensions, locale, roles, tablespaces, space, connections"),
        Step("unpack", "decompress the set into work/"),
        Step("start", "start PostgreSQL when it is down, and remember that we did"),
        Step("globals", "create missing roles; never drop one"),
        Step("tail", "dump a database that was written to since its last restore, as a tail set"),
        Step("create", "create the new database beside the live one, closed to clients"),
        Step("load", "pg_restore into it, ending at the first error"),
        Step("properties", "give it owner, rights, settings and comment of the source"),
        Step("analyze", "collect statistics"),
        Step("verify", "rows, sequences, large objects, schema against the manifest"),
        Step("reguard", "ask again for role, epoch, service and sessions"),
        Step("swap", "exchange the two names in one transaction"),
        Step("confirm", "read back who has which name, and write the status"),
        Step("prune", "drop the databases before the previous one"),
        Step("stop", "stop PostgreSQL, if we started it"),
    ),
    "rollback": (
        Step("guard", "role standby or forced by hand, no prepared transaction"),
        Step("exchange", "exchange the live database and its predecessor in one transaction"),
        Step("hold", "hold back the set that was rolled back, so that no run takes it again"),
    ),
    "keep": (Step("prune", "remove the sets that no rule keeps"),),
    "application": (  # ngpsync on the active site
        Step("guard", "read the role; only an active site publishes"),
        Step("sweep", "remove what interrupted runs of ours left in work/"),
        Step("space", "refuse when the set does not fit"),
        Step("archive", "tar and zstd each root, SQLite files through their backup API"),
        Step("manifest", "hash every file, write and sign the manifest, flush all to the disk"),
        Step("catalogue", "rename the set into the catalogue"),
    ),
    "install": (  # hasync restore of an application set
        Step("guard", "the service is not active here"),
        Step("authenticate", "check the signature, then size and sha256 of every file"),
        Step("space", "refuse when a second tree does not fit"),
        Step("extract", "extract beside the live tree: exactly the manifest's names"),
        Step("exchange", "exchange the trees by rename, one root after the other"),
        Step("confirm", "flush, and write the status"),
    ),
    "import": (  # of a backup that the old script made
        Step("guard", "start PostgreSQL when it is down, and remember that we did"),
        Step("unpack", "unpack the file into work/: plain files and folders only"),
        Step("load", "restore it into a database of its own, ending at the first error"),
        Step("dump", "dump what came out, with its rows counted, and drop that database"),
        Step("catalogue", "sign the set, and rename it into the catalogue, pinned and held"),
    ),
    "tail": (  # hasync tail restore
        Step("guard", "start PostgreSQL when it is down; refuse a name that is taken"),
        Step("authenticate", "check the signature, then size and sha256 of every file"),
        Step("preflight", "versions, extensions, tablespaces, roles, space, connections"),
        Step("unpack", "decompress the set into work/"),
        Step("load", "pg_restore into a database of its own, ending at the first error"),
        Step("verify", "rows, sequences, large objects, schema against the manifest"),
        Step("name", "give it its name and a note of the set, in one transaction"),
    ),
    "undo": (  # of an install
        Step("guard", "the service is not active here, and the trees before it are still there"),
        Step("exchange", "exchange the live trees and the previous ones by rename"),
        Step("confirm", "flush, and write the status"),
    ),
}
EDGES = ("before", "after")  # of each step


def failpoints() -> tuple[str, ...]:
    """Return the names of all failpoints: procedure.step.before and procedure.step.after.

    >>> failpoints()[0]
    'publish.guard.before'
    """
    return tuple(
        f"{procedure}.{step.name}.{edge}"
        for procedure, steps in PROCEDURES.items()
        for step in steps
        for edge in EDGES
    )
