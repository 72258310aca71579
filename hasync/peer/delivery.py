"""The edge that brings sets to the other site: hello, transfer, commit; the newest first.

A set that cannot be delivered stays here and is sent by a later run. What the peer has committed
once is remembered, so that its own retention does not make us send it again every day.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.clock import Clock
from hasync.commands.choice import backlog
from hasync.failure import Exit, Stop
from hasync.operation import Operation, close_unfinished
from hasync.peer import peer_file
from hasync.peer.address import PeerAddress
from hasync.peer.agent import introduce
from hasync.peer.hello import Hello
from hasync.peer.remote import Peer, TransferResult
from hasync.role import SiteFact
from hasync.sets.backup import SENT, Kind, StoredSet
from hasync.sets.store import Store
from hasync.settings import Settings

logger = logging.getLogger(__name__)

ONE_TRY_S = 0.0  # of the first hello: no second attempt


@dataclass(frozen=True, slots=True)
class Delivered:
    """What reached the peer's catalogue in this run, and why the rest did not."""

    sets: Mapping[str, TransferResult]  # by name
    trouble: Stop | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what goes on record."""
        return {
            name: {"bytes_sent": result.bytes_sent, "attempts": result.attempts}
            for name, result in self.sets.items()
        }


class Delivery:
    """The way to the peer for one run."""

    def __init__(
        self, settings: Settings, store: Store, address: PeerAddress, clock: Clock
    ) -> None:
        """Reach nobody yet."""
        self._settings, self._store, self._clock = settings, store, clock
        self._first = Peer(settings, address, give_up_s=ONE_TRY_S)
        self._peer = Peer(settings, address)
        self._hello: Hello | None = None
        self.trouble: Stop | None = None  # why the last hello failed

    def hello(self, *, succeeded: bool = False) -> Hello | None:
        """Return what the peer says of itself now; None when it says nothing, see `trouble`.

        It is asked once: a site that is cut off publishes all the same. Sending has more patience.
        *succeeded*: this run, still on record as running, has done what it is for.

        Raises:
            Stop: it is not trusted, or not the other site.
        """
        return self._asked(self._first, succeeded=succeeded)

    def distrusted(self) -> Stop | None:
        """Say hello; return why nothing may be sent in this run. A set is made all the same.

        Raises:
            Stop: the command line or the settings name the wrong host.
        """
        try:
            self.hello()
        except Stop as stop:
            if stop.code is not Exit.TRUST:
                raise
            return stop
        return None

    def _asked(self, peer: Peer, *, succeeded: bool = False) -> Hello | None:
        own = introduce(self._settings, self._clock, self._store)
        if succeeded:
            own = replace(own, exit_code=int(Exit.OK), failures=0)
        try:
            self._hello = peer.hello(own)
        except Stop as stop:
            if stop.code not in {Exit.TRANSFER, Exit.TIMEOUT}:
                raise
            self.trouble = stop
            logger.warning("no hello why=%s", stop)
            return None
        self.trouble = None
        return self._hello

    def known_peer(self) -> SiteFact | None:
        """Return what the peer said now, or else what it said last: that can only forbid."""
        hello = self._hello or peer_file.remembered(self._settings.folders.state)
        return hello.fact if hello else None

    def seen_sequence(self, kind: Kind) -> int:
        """Return the highest sequence of our own sets that the peer has told of; 0: none."""
        hello = self._hello or peer_file.remembered(self._settings.folders.state)
        return hello.sequences.get(f"{kind}/{self._settings.site}", 0) if hello else 0

    def deliver(self, kind: Kind, allowed: Callable[[SiteFact], Stop | None]) -> Delivered:
        """Return what of our sets of *kind* the peer took in; the first failure ends it.

        *allowed* is asked with what the peer says now: it may have taken over meanwhile.
        """
        state, clock = self._settings.folders.state, self._clock
        close_unfinished(state, "send", clock)
        done: dict[str, TransferResult] = {}
        try:
            with Operation("send", state, clock, kind=str(kind)) as operation:
                with operation.step("hello"):
                    hello = self._asked(self._peer)
                if hello is None:
                    return Delivered(done, self.trouble)
                if (stop := allowed(hello.fact)) is not None:
                    raise stop
                found = self._store.scan().sets
                self._remember(found, hello)
                own = self._settings.site
                for stored in backlog(found, kind, own, hello.ids, hello.corrupt):
                    done[stored.name.text] = self._one(operation, stored)
        except Stop as stop:
            logger.warning("not delivered why=%s", stop)
            return Delivered(done, stop)
        return Delivered(done)

    def _one(self, operation: Operation, stored: StoredSet) -> TransferResult:
        folder = self._store.folder(stored)
        with operation.step("transfer", set=stored.id):
            result = self._peer.send(folder, stored.id)
        with operation.step("commit", set=stored.id):
            again = self._commit(stored)
        took = TransferResult(
            result.bytes_sent + again.bytes_sent, result.attempts + again.attempts
        )
        self._sent(stored)
        logger.info("sent set=%s bytes=%d attempts=%d", stored.id, took.bytes_sent, took.attempts)
        return took

    def _commit(self, stored: StoredSet) -> TransferResult:
        """Return what it took beside the transfer: files that rotted on the way are sent anew."""
        try:
            self._peer.commit(stored.id)
        except Stop as stop:
            if stop.code is not Exit.NOT_VERIFIED:
                raise
            logger.warning("commit refused set=%s why=%s; sent by content", stored.id, stop)
            again = self._peer.send(self._store.folder(stored), stored.id, checksum=True)
            self._peer.commit(stored.id)
            return again
        return TransferResult(0, 0)

    def _remember(self, found: tuple[StoredSet, ...], hello: Hello) -> None:
        """Note the sets that the peer has though we did not know: killed after a commit."""
        for stored in found:
            known = SENT in stored.state.measurements
            if stored.proved and stored.id in hello.ids and not known:
                self._sent(stored)

    def _sent(self, stored: StoredSet) -> None:
        self._store.note(stored, **{SENT: self._clock.wall_ns()})
