"""The settings of one host: one TOML file, every field typed, nothing from the environment.

Read by `hasync.settings_file`; the text of each field's meaning is in docs/hasync-settings.md.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folders:
    """Where everything lies, below one *base* folder of mode 0700."""

    base: Path

    @property
    def inbox(self) -> Path:
        """Return the only folder that the peer's ssh key may write."""
        return self.base / "inbox"

    @property
    def work(self) -> Path:
        """Return where sets are made and unpacked; all in it may be swept."""
        return self.base / "work"

    @property
    def sets(self) -> Path:
        """Return the catalogue: sets/<kind>/<site>/<name>/."""
        return self.base / "sets"

    @property
    def state(self) -> Path:
        """Return the role, states of sets, journals, status and locks."""
        return self.base / "state"

    @property
    def log(self) -> Path:
        """Return the folder of the rotating log."""
        return self.base / "log"


@dataclass(frozen=True, slots=True)
class Peer:
    """How the other side is reached; its address comes from the command line."""

    site: str = ""  # its name, whose sets alone are taken; needed in a file ("": any, in tests)
    user: str = ""  # "": as ssh_config says
    port: int = 0  # 0: as ssh_config says
    ssh: tuple[str, ...] = ("ssh",)  # for example ("ssh", "-F", "/etc/hasync/ssh_config")
    agent: tuple[str, ...] = ("hasync", "agent")  # there; a forced command overrides it
    bandwidth_kib_s: int = 0  # 0: no limit


@dataclass(frozen=True, slots=True)
class Signing:
    """The keys that make a set trusted (OpenSSH formats)."""

    key: Path
    allowed_signers: Path


@dataclass(frozen=True, slots=True)
class Database:
    """The PostgreSQL cluster and the one database that is kept in step."""

    socket: str  # folder of the Unix socket, or a host name
    bin: Path  # folder of pg_dump, pg_restore, psql, pg_ctl
    data: Path  # PGDATA
    name: str = "ngp"
    port: int = 5432
    user: str = "postgres"
    manage: bool = True  # may start and stop the cluster on the standby
    lock_wait_s: float = 60.0  # of pg_dump for a table
    reserve_bytes: int = 1 << 30  # never used up on the file system of PGDATA
    keep_previous: int = 1  # databases __prev that stay after a swap


@dataclass(frozen=True, slots=True)
class Service:
    """The probe of the application's service: a veto, never a reason."""

    status: tuple[str, ...] = ("service", "ngp", "status")
    active: tuple[int, ...] = (0,)
    inactive: tuple[int, ...] = (3,)  # any other exit code means unknown
    limit_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest that each kind of child may take, in seconds."""

    dump_s: float = 6 * 3600.0
    restore_s: float = 12 * 3600.0
    transfer_s: float = 6 * 3600.0
    command_s: float = 120.0
    swap_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Which sets stay; a set that any rule keeps is kept."""

    min_keep: int = 2
    keep_days: int = 0  # 0: this rule keeps nothing
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    max_bytes: int = 0  # 0: no budget


@dataclass(frozen=True, slots=True)
class Root:
    """One folder tree of the application, under a name of its own in the set."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Application:
    """What `ngpsync` takes."""

    roots: tuple[Root, ...] = (Root("ngp", Path("/opt/ngp")), Root("m2", Path("/root/.m2")))
    exclude: tuple[str, ...] = ()  # () means the guide's list, see hasync.files.exclusions
    sqlite: tuple[str, ...] = ()  # "ngp/bin/enum/config.db": copied through SQLite's backup API
    min_bytes: int = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """All of one host."""

    site: str
    folders: Folders
    signing: Signing
    database: Database | None = None  # None on a mediation server
    application: Application | None = None  # None on a database server
    peer: Peer = field(default_factory=Peer)
    service: Service = field(default_factory=Service)
    limits: Limits = field(default_factory=Limits)
    retention: Retention = field(default_factory=Retention)
