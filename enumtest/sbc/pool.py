"""Which ENUM server the SBC asks next, by its profile: turns, hunting, weights, held servers.

Rule 1: nothing here reads a clock, opens a socket or rolls a die; `now_ns` always comes in.
Rule 2: what counts as a failure (silence, SERVFAIL, ...) is decided before: SBCs differ.
Rule 3: what moves the rotation, who gets a held server's share and what brings a server back are
the profile's; a held server is never chosen unless the caller asks for held ones.

FST plan, part B.3 "routing by ENUM server status".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from enumtest.profiles.profile_groups import Scope, Selection, Share
from enumtest.profiles.profiles import Profile
from enumtest.sbc.health import ServerHealth

_FIRST = Share.FIRST_LIVE


@dataclass(slots=True)
class ServerPool:
    """The choice over *servers* (names in site-file order) as *profile* has it.

    *drift_every* is a defect for tests of the judge: every so many turns the rotation slips by one
    more (0: never).
    """

    servers: tuple[str, ...]
    profile: Profile
    drift_every: int = 0
    health: dict[str, ServerHealth] = field(init=False)
    _turn: int = 0
    _turns_taken: int = 0
    _credit: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Start with every server healthy."""
        hold_down, readmission = self.profile.hold_down, self.profile.readmission
        self.health = {name: ServerHealth(hold_down, readmission) for name in self.servers}
        self._credit = dict.fromkeys(self.servers, 0)

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the server whose turn it is at *now_ns*, or None when there is none to ask.

        Those that the call has *tried* already, in that order, are passed over; so are held ones,
        unless *held_too*.
        """
        if not tried:  # a failover is no new call
            for health in self.health.values():
                health.call_came(now_ns)
        free = [
            name
            for name in self.servers
            if name not in tried and (held_too or not self.is_held(name, now_ns))
        ]
        if not free:
            return None
        match self.profile.selection.method:
            case Selection.HUNT | Selection.LIST_ORDER:
                chosen = free[0]
            case Selection.PROPORTIONAL:
                chosen = self._weighted(free)
            case Selection.ROUND_ROBIN:
                chosen = self._in_turn(free, now_ns, tried)
        return chosen

    def is_held(self, server: str, now_ns: int) -> bool:
        """Say whether *server* is held down at *now_ns*."""
        return self.health[server].is_held(now_ns)

    def on_success(self, server: str, now_ns: int, *, late: bool = False) -> None:
        """Note that *server* did its work."""
        self.health[server].on_answer(now_ns, late=late)

    def on_failure(self, server: str, now_ns: int) -> bool:
        """Note that *server* failed at *now_ns*; say whether a hold-down begins with it."""
        if self.profile.hold_down.scope is Scope.CALL:  # nobody but that call knows
            return False
        return self.health[server].on_failure(now_ns)

    def _in_turn(self, free: Sequence[str], now_ns: int, tried: Sequence[str]) -> str:
        """Return the server of *free* whose turn it is, and move the rotation on."""
        rules, size = self.profile.selection, len(self.servers)
        moves = not tried or rules.failover_takes_turn
        start = (self._turn if moves else self.servers.index(tried[-1]) + 1) % size
        places = [(start + step) % size for step in range(size)]
        at = next(place for place in places if self.servers[place] in free)
        past = self.servers[start] not in (*free, *tried)  # held, and it would have been its turn
        if past and not tried and self.health[self.servers[start]].share(now_ns) is _FIRST:
            at = self.servers.index(free[0])
        if moves:
            self._turns_taken += 1
            drifts = self.drift_every and self._turns_taken % self.drift_every == 0
            used_up = start if past and rules.skipped_takes_turn else at
            self._turn = used_up + (2 if drifts else 1)
        return self.servers[at]

    def _weighted(self, free: Sequence[str]) -> str:
        """Return the server of *free* that is furthest behind its share; no die is needed."""
        given = self.profile.selection.weights or (1,) * len(self.servers)
        weights = dict(zip(self.servers, given, strict=True))
        for name in free:
            self._credit[name] += weights[name]
        chosen = max(free, key=lambda name: self._credit[name])
        self._credit[chosen] -= sum(weights[name] for name in free)
        return chosen
