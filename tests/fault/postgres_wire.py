"""A PostgreSQL client of its own, in a hundred lines: no driver, no psql, nothing of hasync.

The writer and the poller ask a server through it, so that a fault of hasync's own way to the
database cannot hide from them. Simple queries over a Unix socket, with trust authentication.
Source: PostgreSQL 15, chapter 55 "Frontend/Backend Protocol".
"""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PROTOCOL = 196608  # 3.0
TRUSTED = 0  # AuthenticationOk
GONE = ""  # the SQLSTATE of a server that did not say why

Row = tuple[str | None, ...]


class ServerError(Exception):
    """What the server said no with, or that it is gone (*sqlstate* is then empty)."""

    def __init__(self, sqlstate: str, message: str) -> None:
        """Keep both; the text joins them."""
        self.sqlstate, self.message = sqlstate, message
        super().__init__(f"{sqlstate}: {message}" if sqlstate else message)


@dataclass(frozen=True, slots=True)
class Address:
    """One database of one server."""

    folder: Path  # of the Unix socket
    database: str
    user: str = "ngp"
    port: int = 5432


class Connection:
    """One session; ends with the block it is used in."""

    def __init__(self, address: Address, limit_s: float = 5.0) -> None:
        """Connect; each answer has *limit_s*.

        Raises:
            ServerError: the server is not there, or does not want us.
        """
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(limit_s)
        self._buffer = bytearray()
        try:
            self._socket.connect(str(address.folder / f".s.PGSQL.{address.port}"))
            words = ("user", address.user, "database", address.database, "client_encoding", "UTF8")
            body = b"".join(word.encode() + b"\0" for word in words) + b"\0"
            self._socket.sendall(struct.pack("!II", len(body) + 8, PROTOCOL) + body)
            self._until_ready()
        except OSError as error:
            self.close()
            raise ServerError(GONE, f"no connection: {error}") from error
        except ServerError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Give the session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the session."""
        self.close()

    def close(self) -> None:
        """End the session, without asking."""
        self._socket.close()

    def query(self, sql: str) -> list[Row]:
        """Return the rows of all statements in *sql*: one transaction, unless it says otherwise.

        Raises:
            ServerError: a statement failed, or the server is gone: then its fate is unknown.
        """
        body = sql.encode() + b"\0"
        try:
            self._socket.sendall(b"Q" + struct.pack("!I", len(body) + 4) + body)
            return self._until_ready()
        except OSError as error:
            raise ServerError(GONE, f"connection lost: {error}") from error

    def _until_ready(self) -> list[Row]:
        rows: list[Row] = []
        failed: ServerError | None = None
        while True:
            kind, body = self._message()
            if kind == b"Z":
                if failed:
                    raise failed
                return rows
            if kind == b"D":
                rows.append(_row(body))
            elif kind == b"E":
                failed = _error(body)
                if failed.sqlstate.startswith(("57P", "3D", "28", "53", "55")):
                    raise failed  # the server closes the session after these: no more to read
            elif kind == b"R" and struct.unpack("!I", body[:4])[0] != TRUSTED:
                raise ServerError(GONE, "the server wants a password")

    def _message(self) -> tuple[bytes, bytes]:
        kind, length = struct.unpack("!cI", self._exactly(5))
        return kind, self._exactly(length - 4)

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise ServerError(GONE, "the server closed the connection")
            self._buffer += piece
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _row(body: bytes) -> Row:
    (count,) = struct.unpack("!H", body[:2])
    values: list[str | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack("!i", body[at : at + 4])
        at += 4
        values.append(None if length < 0 else body[at : at + length].decode())
        at += max(0, length)
    return tuple(values)


def _error(body: bytes) -> ServerError:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    return ServerError(fields.get(b"C", ""), fields.get(b"M", ""))
