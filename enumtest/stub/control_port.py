"""The edge of the control protocol: a TCP port that takes one request a line."""

import asyncio
import os

from enumtest.stub.control import MAX_LINE_BYTES, encode_error
from enumtest.stub.server import EnumServers
from harness.errors import InputError, ToolError
from harness.packets.frame import Endpoint

MAX_CONNECTIONS = 100


class ControlPort:
    """A loopback TCP port that takes requests for *servers*, one JSON object a line."""

    def __init__(self, servers: EnumServers, endpoint: Endpoint) -> None:
        """Keep the parts; `start` opens the port."""
        self._servers, self.endpoint = servers, endpoint
        self._tcp: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Open the port.

        Raises:
            ToolError: the address is in use or not of this machine.
        """
        place = (self.endpoint.address, self.endpoint.port)
        try:
            self._tcp = await asyncio.start_server(self._connected, *place, limit=MAX_LINE_BYTES)
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise ToolError(f"cannot listen on {self.endpoint} for control: {why}") from error
        self.endpoint = Endpoint(*self._tcp.sockets[0].getsockname()[:2])

    async def stop(self) -> None:
        """Close the port and its connections."""
        if self._tcp is not None:
            self._tcp.close()
        # Not by cancelling: in Python 3.11 a cancelled connection is logged as an error.
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections[task] = writer
        try:
            while line := await reader.readline():
                writer.write(await self._servers.control(line))
                await writer.drain()
        except ValueError:  # what StreamReader raises for a line beyond its limit
            writer.write(encode_error(InputError(f"longer than {MAX_LINE_BYTES} bytes")))
        except OSError:
            pass  # the client went away
        finally:
            del self._connections[task]
            writer.close()
