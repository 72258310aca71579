"""Simulated SBCs with one defect each: what the judge has to find, and nothing else does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from enumtest.profiles.profile_groups import Event, Selection
from enumtest.sbc.decision import Decision
from enumtest.sbc.pool import ServerPool
from enumtest.sbc.sbc import Outgoing, Sbc, SbcConfig
from harness.number import PhoneNumber
from tests.enum_wire import WholeNumber, changed, ids

Make = Callable[[SbcConfig], Sbc]


class StuckPool(ServerPool):
    """Always the first server, held or not."""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the first server that the call has not tried."""
        del now_ns, held_too
        return next((name for name in self.servers if name not in tried), None)


class ForgetfulPool(ServerPool):
    """No hold-down: each call finds out by itself that a server is dead."""

    def on_failure(self, server: str, now_ns: int) -> bool:
        """Forget it."""
        del server, now_ns
        return False


class PermanentPool(ServerPool):
    """A server that failed once is never asked again."""

    def on_failure(self, server: str, now_ns: int) -> bool:
        """Hold it for a year."""
        return super().on_failure(server, now_ns + 365 * 86_400 * 1_000_000_000)


class ScaledPool(ServerPool):
    """A hold-down of another length than was set."""

    percent = 100

    def on_failure(self, server: str, now_ns: int) -> bool:
        """Hold it for a part of the time."""
        later_ns = self.profile.hold_down_ns * (self.percent - 100) // 100
        return super().on_failure(server, now_ns + later_ns)


class EarlyPool(ScaledPool):
    """Back at 80 % of the hold-down."""

    percent = 80


class LatePool(ScaledPool):
    """Back at 160 % of the hold-down."""

    percent = 160


class TogetherPool(ServerPool):
    """One server fails, and all are held."""

    def on_failure(self, server: str, now_ns: int) -> bool:
        """Hold everybody."""
        del server
        begun = [self.health[name].on_failure(now_ns) for name in self.servers]
        return any(begun)


class NeighbourPool(ServerPool):
    """The hold-down goes to the server after the one that failed."""

    def on_failure(self, server: str, now_ns: int) -> bool:
        """Hold the wrong one."""
        at = (self.servers.index(server) + 1) % len(self.servers)
        return super().on_failure(self.servers[at], now_ns)


class BlindPool(ServerPool):
    """Never asks the last server."""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return one of the others."""
        return super().next_server(now_ns, (*tried, self.servers[-1]), held_too=held_too)


class ProbingPool(ServerPool):
    """Asks a held server all the same, every fourth time."""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the next server, or now and then one that is held down."""
        held = [name for name in self.servers if self.is_held(name, now_ns)]
        server = super().next_server(now_ns, tried, held_too=held_too)
        dead = next((name for name in held if name not in tried), None)
        return dead if dead is not None and self._turns_taken % 4 == 0 else server


class TwicePool(ServerPool):
    """Two calls in a row to each server."""

    _last: str | None = None

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the last server once more, then the next."""
        if self._last is not None and self._last not in tried:
            server, self._last = self._last, None
            return server
        self._last = super().next_server(now_ns, tried, held_too=held_too)
        return self._last


class LastResortPool(ServerPool):
    """With every server held it asks the first one again."""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return a healthy server, else a held one."""
        server = super().next_server(now_ns, tried, held_too=held_too)
        return self.servers[0] if server is None and not tried else server


def with_pool(pool: type[ServerPool]) -> Make:
    """Return what makes an SBC with *pool* in place of its own."""

    class Odd(Sbc):
        """The SBC with the other pool."""

        def _new_pool(self) -> ServerPool:
            return pool(tuple(self.config.servers), self.config.profile)

    return lambda config: Odd(config, ids(), WholeNumber())


class NoFailoverSbc(Sbc):
    """Gives the call up when its first server fails."""

    def _failed(self, call: "object", event: Event, now_ns: int, result: str = "") -> None:
        self._pool.on_failure(call.server, now_ns)  # type: ignore[attr-defined]
        self._note(call, result or event.value, now_ns)  # type: ignore[arg-type]
        self._decide(call, (Decision.NO_SERVER, ""), now_ns)  # type: ignore[arg-type]


class TurnBySendSbc(Sbc):
    """Counts a retransmission as a turn."""

    def to_send(self) -> Outgoing | None:
        """Return the next message, and take a turn for one that was sent before."""
        found = super().to_send()
        sent = self.__dict__.setdefault("sent", set())
        if found is not None and found.payload in sent:
            self._pool.next_server(0)
        sent.update(() if found is None else (found.payload,))
        return found


class RotateOnRetransmitSbc(Sbc):
    """Sends each retransmission to the next server, and lets the first one be."""

    def to_send(self) -> Outgoing | None:
        """Return the next message; a repeated one goes to the neighbour."""
        found = super().to_send()
        sent = self.__dict__.setdefault("sent", set())
        if found is None or found.payload not in sent:
            sent.update(() if found is None else (found.payload,))
            return found
        everyone = list(self.config.servers.values())
        at = (everyone.index(found.server) + 1) % len(everyone)
        return replace(found, server=everyone[at])


class NxdomainFailsSbc(Sbc):
    """Takes "no such number" for a failure of the server."""

    def _answered(self, call: "object", answer: "object", now_ns: int) -> None:
        if answer.rcode == "NXDOMAIN":  # type: ignore[attr-defined]
            self._pool.on_failure(call.server, now_ns)  # type: ignore[attr-defined]
            self._note(call, "NXDOMAIN", now_ns)  # type: ignore[arg-type]
            self._ask_next(call, now_ns)  # type: ignore[arg-type]
        else:
            super()._answered(call, answer, now_ns)  # type: ignore[arg-type]


class CachingSbc(Sbc):
    """Asks once for a number, and then never again."""

    def place_call(self, number: PhoneNumber, source: str, now_ns: int) -> int:
        """Place a call that is looked up only when its number is new."""
        known = self.__dict__.setdefault("known", set())
        if number in known:
            return 0
        known.add(number)
        return super().place_call(number, source, now_ns)


class EveryoneSbc(Sbc):
    """Asks all servers at once."""

    def to_send(self) -> Outgoing | None:
        """Return the next message; each goes to every server."""
        copies: list[Outgoing] = self.__dict__.setdefault("copies", [])
        if not copies and (found := super().to_send()) is not None:
            copies += [replace(found, server=server) for server in self.config.servers.values()]
        return copies.pop(0) if copies else None


def of_class(kind: type[Sbc]) -> Make:
    """Return what makes an SBC of *kind*."""
    return lambda config: kind(config, ids(), WholeNumber())


def configured(**changes: object) -> Make:
    """Return what makes a sound SBC that is set otherwise than declared."""
    return lambda config: Sbc(changed(config, **changes), ids(), WholeNumber())


SOUND: Make = of_class(Sbc)
DEFECTS: Mapping[str, Make] = {
    "stuck on the first server": with_pool(StuckPool),
    "hunts": configured(selection=Selection.HUNT),
    "drifts every 7 turns": configured(drift_every=7),
    "two calls a server": with_pool(TwicePool),
    "skips one server for ever": with_pool(BlindPool),
    "counts a retransmission as a turn": of_class(TurnBySendSbc),
    "retransmits to the next server": of_class(RotateOnRetransmitSbc),
    "asks all at once": of_class(EveryoneSbc),
    "no failover": of_class(NoFailoverSbc),
    "no hold-down": with_pool(ForgetfulPool),
    "holds the wrong server": with_pool(NeighbourPool),
    "holds all when one fails": with_pool(TogetherPool),
    "asks a held server now and then": with_pool(ProbingPool),
    "asks the first when all are held": with_pool(LastResortPool),
    "comes back at 80 %": with_pool(EarlyPool),
    "comes back at 160 %": with_pool(LatePool),
    "never comes back": with_pool(PermanentPool),
    "takes NXDOMAIN for a failure": of_class(NxdomainFailsSbc),
    "asks once a number": of_class(CachingSbc),
}
