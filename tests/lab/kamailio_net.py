"""Two network namespaces and the cable between them, with the addresses of one SBC's lab.

A namespace here is that of one thread: it needs no name that could be left over, and whatever is
started from the thread, sockets and processes, is in it.
"""

import asyncio
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.packets.frame import Endpoint
from tests.lab.peers import need

T = TypeVar("T")

NET = "198.51.100"
SERVERS = {f"enum{at}": Endpoint(f"{NET}.{at}", 53) for at in (1, 2, 3)}
SBC = Endpoint(f"{NET}.10", 5060)
CALLER, CALLEE = Endpoint(f"{NET}.20", 5060), Endpoint(f"{NET}.30", 5060)
LIMIT_S = 90.0
CLONE_NEWNET = 0x4000_0000  # sched.h


@dataclass(slots=True)
class Namespace:
    """A network namespace, and the thread with an event loop that is in it."""

    loop: asyncio.AbstractEventLoop
    link: Path  # the kernel's name for it

    def run(self, deed: Coroutine[Any, Any, T]) -> T:
        """Return what *deed* returns, done inside."""
        return asyncio.run_coroutine_threadsafe(deed, self.loop).result(LIMIT_S)

    def do(self, deed: Callable[[], T]) -> T:
        """Return what *deed* returns, done inside; meanwhile nothing else is done there."""

        async def done() -> T:
            return deed()

        return self.run(done())

    def ip(self, *words: str) -> None:
        """Run the command `ip` inside."""
        argv = [need("ip", "iproute2"), *words]
        done = self.do(lambda: subprocess.run(argv, capture_output=True, text=True, check=False))
        assert done.returncode == 0, f"{argv}: {done.stderr}"


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Give a new namespace with nothing in it but its own loopback interface, up."""
    made: Future[Namespace] = Future()

    def live() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            made.set_exception(OSError(ctypes.get_errno(), "unshare"))
            return
        task = f"/proc/{os.getpid()}/task/{threading.get_native_id()}"
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            made.set_result(Namespace(loop, Path(task) / "ns" / "net"))
            loop.run_forever()

    thread = threading.Thread(target=live)
    thread.start()
    inside = made.result(LIMIT_S)
    try:
        inside.ip("link", "set", "lo", "up")
        yield inside
    finally:
        inside.loop.call_soon_threadsafe(inside.loop.stop)
        thread.join(LIMIT_S)


def cable(sbc: Namespace, outside: Namespace) -> None:
    """Join the two, with all addresses and no packets but ours."""
    sbc.ip(
        *("link", "add", "sbc", "type", "veth"),
        *("peer", "name", "outside", "netns", str(outside.link)),
    )
    places = [*SERVERS.values(), CALLER, CALLEE]
    # Six ICMP messages to one host, and then one a second, is a kernel's limit: beyond it a closed
    # port is a silent one. Here it is to be told from one.
    limit = Path("/proc/sys/net/ipv4/icmp_ratelimit")
    outside.do(lambda: limit.write_text("0"))
    for end, inside, own in (("sbc", sbc, [SBC]), ("outside", outside, places)):
        inside.ip("link", "set", end, "addrgenmode", "none")
        for place in own:
            inside.ip("address", "add", f"{place.address}/24", "dev", end)
        inside.ip("link", "set", end, "up")
