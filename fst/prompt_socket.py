"""The edge that asks on a Unix socket in the run's folder, for `fst answer` and for a page.

The socket is the owner's alone (mode 0600, set before anybody can connect); who is at the other end
is asked of the kernel, not believed.
"""

import asyncio
import logging
import os
import pwd
import socket
import stat
import struct
from pathlib import Path

from fst.prompt import Answer, Prompt
from fst.prompt_desk import Counter
from fst.prompt_wire import (
    MAX_LINE_BYTES,
    NAME,
    SCHEMA,
    encode,
    encode_closed,
    encode_refused,
    parse_offer,
)
from harness.clock import Clock
from harness.errors import HarnessError, ToolError

logger = logging.getLogger(__name__)

GOODBYE_S = 1.0  # for a client to read the last lines
MAX_BEHIND_BYTES = 1024 * 1024  # that a client may leave unread

_PEER = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


def short_path(folder: int) -> str:
    """Return a path of the socket in the open *folder*: one in the file system may be too long.

    unix(7): 108 bytes with the final zero; a folder of evidence easily has more.
    """
    return f"/proc/self/fd/{folder}/{NAME}"


def open_folder(folder: Path) -> int:
    """Return *folder*, opened; raises ToolError when it can't be."""
    try:
        return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ToolError(f"{folder}: {error.strerror}") from error


def peer_of(connection: socket.socket) -> tuple[str, int]:
    """Return login name and process of who is at the other end, as the kernel knows them."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, _ = _PEER.unpack(found)
    try:
        return pwd.getpwuid(uid).pw_name, pid
    except KeyError:
        return f"uid {uid}", pid


class PromptSocket:
    """The socket as a channel of the desk."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Keep the parts; `open` makes the socket in *folder*."""
        self._folder, self._clock = folder, clock
        self._counter: Counter | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._notes: dict[str, list[str]] = {}

    async def open(self, counter: Counter) -> None:
        """Make the socket; raises ToolError when that can't be done."""
        self._counter = counter
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = open_folder(self._folder)
        try:
            path = short_path(folder)
            self._remove_old()
            listener.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101 - before anybody can connect: it does not listen
            self._server = await asyncio.start_unix_server(
                self._connected, sock=listener, limit=MAX_LINE_BYTES
            )
        except OSError as error:
            listener.close()
            raise ToolError(f"{self._folder / NAME}: {error.strerror}") from error
        finally:
            os.close(folder)

    async def close(self) -> None:
        """Let everybody go, and take the socket away."""
        if self._server is not None:
            self._server.close()
        for client in tuple(self._clients):
            client.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GOODBYE_S)
        for client in tuple(self._clients):
            client.transport.abort()  # it reads nothing: the run does not wait for it
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._remove_old()

    def show(self, prompt: Prompt) -> None:
        """Put the question."""
        self._notes[prompt.id] = []
        self._send(encode("asked", **prompt.to_json()))

    def note(self, prompt: Prompt, line: str) -> None:
        """Add a line to a question."""
        self._notes.setdefault(prompt.id, []).append(line)
        self._send(encode("note", prompt=prompt.id, text=line))

    def closed(self, prompt: Prompt, answer: Answer | None) -> None:
        """Tell who has answered."""
        self._notes.pop(prompt.id, None)
        self._send(encode_closed(prompt.id, answer))

    def tell(self, line: str) -> None:
        """Send a line."""
        self._send(encode("told", text=line))

    def redraw(self) -> None:
        """Do nothing: a client redraws its own screen."""

    def _remove_old(self) -> None:
        """Take away the socket, also one that a killed run left; never any other file."""
        path = self._folder / NAME
        try:
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        except FileNotFoundError:
            return

    def _send(self, line: bytes) -> None:
        for client in tuple(self._clients):
            if client.transport.get_write_buffer_size() > MAX_BEHIND_BYTES:
                client.transport.abort()  # it reads nothing: nobody is there
            else:
                client.write(line)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it goes."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        name, pid = peer_of(writer.get_extra_info("socket"))
        asked = () if self._counter is None else self._counter.open_prompts
        hello = {"schema": SCHEMA, "run": self._folder.name, "open": len(asked)}
        writer.write(encode("hello", **hello))
        for prompt in asked:
            writer.write(encode("asked", **prompt.to_json()))
            for text in self._notes.get(prompt.id, ()):
                writer.write(encode("note", prompt=prompt.id, text=text))
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                writer.write(self._reply(line, name, pid))
                await writer.drain()
        except (OSError, ValueError) as error:  # gone; or a line longer than any answer
            logger.debug("client=%s pid=%d gone=%s", name, pid, error)
        finally:
            self._clients.discard(writer)
            writer.close()

    def _reply(self, line: bytes, name: str, pid: int) -> bytes:
        """Return what is said to one line of a client."""
        prompt_id = ""
        try:
            offer = parse_offer(line)
            prompt_id = offer.prompt
            where = f"socket, login {name}, process {pid}"
            where = f"{offer.where}; {where}" if offer.where else where
            answer = Answer(offer.key, offer.words, offer.who or name, where, self._clock.wall_ns())
            if self._counter is None:
                raise ToolError("nothing is asked now")
            first = self._counter.offer(offer.prompt, answer)
        except HarnessError as error:
            return encode_refused(prompt_id, str(error))
        if first is not None:
            return encode_refused(prompt_id, "somebody was first", first)
        return encode("accepted", prompt=prompt_id)
