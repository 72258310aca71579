"""The edge to PostgreSQL: psql as a child that is told SQL and gives JSON, one object a row.

    with Psql(settings.database, "ngp").session() as session:
        session.do("begin isolation level repeatable read read only")
        session.rows("select relname, relkind from pg_class", limit_s=10)

Laws
- The first error ends a session: what follows it in a script is never carried out, and an open
  transaction is rolled back by the server.
- A statement that outlives its limit is ended by the server; a session whose client was killed is
  ended by the server too, within seconds (14 and later), with all its locks.
- What a database or a role has set (search_path, timeouts, encoding) does not reach our SQL.
"""

import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from harness import child
from harness.errors import InputError
from hasync.database.sql import conninfo
from hasync.failure import Exit, Stop
from hasync.settings import Database

CONNECT_S = 15
LIMIT_S = 120.0  # of a statement that brings no limit of its own
GRACE_S = 5.0  # for the server to end a statement itself, before its client is killed
MAX_OUTPUT_BYTES = 256 << 20  # of one statement; more is a bug of ours, or a hostile catalogue
_CHUNK = 1 << 16
_PINNED = {  # stronger than what ALTER DATABASE and ALTER ROLE have set
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "row_security": "off",  # an error beats rows that are silently missing
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read\\ committed",
    "datestyle": "ISO",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_NEWER = (  # since version, setting, value
    (140000, "client_connection_check_interval", "2s"),
    (140000, "idle_session_timeout", "0"),
    (170000, "transaction_timeout", "0"),
)
_ERROR = re.compile(r"^(?:psql:\S+ )?[^\s:]+:  (?P<state>[0-9A-Z]{5}): (?P<why>.*)", re.MULTILINE)
_MORE = re.compile(r"^DETAIL:  (?P<more>.*)", re.MULTILINE)
_CODES = {  # SQLSTATE, or its class, to how we end
    "53100": Exit.NO_SPACE,
    "57014": Exit.TIMEOUT,  # query_canceled: our statement_timeout
}


class SqlError(Stop):
    """PostgreSQL refused: `sqlstate` (08006 when there was no connection) and its `message`."""

    def __init__(self, sqlstate: str, message: str, *, fix: str = "") -> None:
        """Keep the state for code, the words for people."""
        self.sqlstate, self.message = sqlstate, message
        code = _CODES.get(sqlstate, Exit.FAILED)
        super().__init__(code, "PostgreSQL refused", fact=f"{sqlstate}: {message}", fix=fix)


def connection(database: Database, name: str) -> str:
    """Return the connection string to database *name* of this cluster, for any client program.

    A name such as `host=elsewhere` stays a name: programs that take a database name parse it.
    """
    return conninfo(
        {
            "dbname": name,
            "host": database.socket,
            "port": str(database.port),
            "user": database.user,
            "connect_timeout": str(CONNECT_S),
            "application_name": "hasync",
            "client_encoding": "UTF8",
        }
    )


class Session:
    """One psql, connected; made by `Psql.session`."""

    def __init__(self, process: subprocess.Popen[bytes], psql: "Psql") -> None:
        """Take over the streams of a psql that was just started."""
        self.psql = psql  # where it is connected to
        self._process = process
        self._done = f"{os.urandom(12).hex()} done"  # a row of COPY may be anything but this
        self._said = b""  # on stderr, since the last statement
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None  # noqa: S101 - pipes, by `Psql.session`
            os.set_blocking(stream.fileno(), False)

    def rows(self, sql: str, *, limit_s: float = LIMIT_S) -> list[dict[str, Any]]:
        """Return the rows of one query, each by its column names; without `;` at its end.

        Raises:
            SqlError: the server refused.
            Stop: TIMEOUT, or FAILED when what it says is no UTF-8 or too much.
        """
        wrapped = f"select row_to_json(q)::text from (\n{sql}\n) q;"  # noqa: S608 - a query of ours
        lines = self._told(wrapped, limit_s)
        return [json.loads(line) for line in lines]

    def value(self, sql: str, *, limit_s: float = LIMIT_S) -> Any:  # noqa: ANN401 - JSON
        """Return the first column of the only row; None when there is no row.

        Raises:
            SqlError, Stop: as `rows`.
            InputError: more than one row.
        """
        rows = self.rows(sql, limit_s=limit_s)
        if len(rows) > 1:
            raise InputError("gave more than one row", field="sql", value=sql)
        return next(iter(rows[0].values())) if rows else None

    def do(self, sql: str, *, limit_s: float = LIMIT_S, transaction: bool = False) -> None:
        """Carry out statements; as one *transaction*, or each for itself. *limit_s* is for each.

        Raises:
            SqlError, Stop: as `rows`; nothing after the refused statement was carried out.
        """
        self._told(f"begin;\n{sql}\n;\ncommit;" if transaction else f"{sql}\n;", limit_s)

    def stream(
        self, sql: str, at_once: int, *, limit_s: float = LIMIT_S
    ) -> Iterator[list[dict[str, Any]]]:
        """Give the rows of a query, some at a time; within a transaction. *limit_s* is for each.

        Raises:
            SqlError, Stop: as `rows`.
        """
        wrapped = f"select row_to_json(q)::text from (\n{sql}\n) q"  # noqa: S608 - a query of ours
        self.do(f"declare told no scroll cursor for {wrapped}")
        while lines := self._told(f"fetch {at_once:d} from told;", limit_s):
            yield [json.loads(line) for line in lines]
        self.do("close told")

    def copy(self, query: str, *, limit_s: float = LIMIT_S) -> bytes:
        """Return the rows of a query in the text format of COPY, one a line.

        Raises:
            SqlError, Stop: as `rows`.
        """
        lines = self._told(f"copy (\n{query}\n) to stdout;", limit_s)
        return "".join(f"{line}\n" for line in lines).encode()

    def _told(self, sql: str, limit_s: float) -> list[str]:
        """Return the lines that psql printed for *sql*."""
        if "\0" in sql:
            raise InputError("has a NUL character", field="sql", value=sql)
        done = self._done
        script = f"set statement_timeout = {round(limit_s * 1e3)};\n{sql}\n\\echo '{done}'\n"
        out = self._talk(script.encode(), f"{done}\n".encode(), limit_s + GRACE_S)
        try:
            return out.decode("utf-8").split("\n")[:-1]
        except UnicodeDecodeError as error:
            raise Stop(
                Exit.FAILED,
                "the database has names or text that are no UTF-8",
                fact=ascii(out[max(0, error.start - 20) : error.end + 20]),
                fix="give the database an encoding (SQL_ASCII has none), or rename the object",
            ) from error

    def _talk(self, script: bytes, done: bytes, limit_s: float) -> bytes:
        """Send *script*; return what came before the line *done*."""
        kept, left, deadline_s = bytearray(), memoryview(script), time.monotonic() + limit_s
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)  # type: ignore[arg-type] # pipes
            selector.register(stderr, selectors.EVENT_READ)  # type: ignore[arg-type]
            selector.register(stdin, selectors.EVENT_WRITE)  # type: ignore[arg-type]
            while not kept.endswith(done):
                ready = selector.select(deadline_s - time.monotonic())
                if not ready and time.monotonic() >= deadline_s:
                    raise Stop(Exit.TIMEOUT, "psql gave no answer", fact=f"in {limit_s:g} s")
                for key, _ in ready:
                    stream: IO[bytes] = key.fileobj  # type: ignore[assignment] # our own
                    if stream is stdin:
                        left = left[_write(stream, left) :]
                        if not left:
                            selector.unregister(stream)
                        continue
                    piece = os.read(stream.fileno(), _CHUNK)
                    if not piece:
                        raise self._error()
                    if stream is stderr:
                        self._said = (self._said + piece)[-_CHUNK:]
                    else:
                        kept += piece
                if len(kept) > MAX_OUTPUT_BYTES:
                    raise Stop(Exit.FAILED, "PostgreSQL gave more than is ever read")
        self._said = b""
        return bytes(kept[: -len(done)])

    def _error(self) -> Stop:
        """Return why psql ended: the server's error, or the lost connection."""
        stderr = self._process.stderr
        with suppress(BlockingIOError):
            while stderr is not None and (piece := os.read(stderr.fileno(), _CHUNK)):
                self._said = (self._said + piece)[-_CHUNK:]
        text = self._said.decode("utf-8", "backslashreplace").strip()
        if match := _ERROR.search(text):
            more = _MORE.search(text, match.end())
            why = match["why"] + (f" ({more['more']})" if more else "")
            return SqlError(match["state"], why)
        lines = [line for line in text.splitlines() if line]
        return SqlError("08006", lines[0] if lines else "the connection was lost")


class Psql:
    """Database *name* of the cluster, reached by a psql for each call, or by one in a session."""

    def __init__(self, database: Database, name: str) -> None:
        """Connect to nothing yet."""
        self.database, self.name = database, name

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give a connected session; its transaction, if one is open, is rolled back at the end.

        Raises:
            SqlError: no connection (08006), or no psql.
        """
        database = self.database
        argv = [str(database.bin / "psql"), "-X", "-q", "-A", "-t", "-w"]
        argv += ["-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
        argv += ["-d", connection(database, self.name)]
        try:
            with child.started(argv, stderr=subprocess.PIPE, env=environment()) as process:
                session = Session(process, self)
                session.do(_newer(), limit_s=CONNECT_S)
                yield session
        except FileNotFoundError as error:
            why = f"{argv[0]}: {error.strerror}"
            raise SqlError("08006", why, fix="see database.bin") from error

    def rows(self, sql: str, *, limit_s: float = LIMIT_S) -> list[dict[str, Any]]:
        """Return the rows of one query; see `Session.rows`."""
        with self.session() as session:
            return session.rows(sql, limit_s=limit_s)

    def value(self, sql: str, *, limit_s: float = LIMIT_S) -> Any:  # noqa: ANN401 - JSON
        """Return the first column of the only row; see `Session.value`."""
        with self.session() as session:
            return session.value(sql, limit_s=limit_s)

    def do(self, sql: str, *, limit_s: float = LIMIT_S, transaction: bool = False) -> None:
        """Carry out statements; see `Session.do`."""
        with self.session() as session:
            session.do(sql, limit_s=limit_s, transaction=transaction)


def environment() -> Mapping[str, str]:
    """Return what every client of PostgreSQL sees: pinned settings, no PG* of the caller."""
    options = " ".join(f"-c {name}={value}" for name, value in _PINNED.items())
    return child.environment(PGOPTIONS=options)


def _newer() -> str:
    """Return SQL that sets what only newer servers know; older ones skip it."""
    return "\n".join(
        f"select set_config('{name}', '{value}', false)"
        f" where current_setting('server_version_num')::int >= {since};"
        for since, name, value in _NEWER
    )


def _write(stream: IO[bytes], left: memoryview) -> int:
    """Return how much psql took; all of it when psql is gone (its words say why)."""
    try:
        return os.write(stream.fileno(), left[:_CHUNK])
    except BrokenPipeError:
        return len(left)
