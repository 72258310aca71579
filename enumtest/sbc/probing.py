"""Health queries to held servers: when one is sent, and what a reply to it is worth.

Laws: only a server that is held down by a profile with probes is probed; a probe is no call: it is
sent once, and nothing is decided by it; an answer that the profile counts as a failure is no reply.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enumtest.dns.message import Answer, encode_query
from enumtest.profiles.profiles import Profile
from enumtest.sbc.health import ServerHealth


@dataclass(frozen=True, slots=True)
class _Probe:
    id: int
    sent_ns: int


@dataclass(slots=True)
class Prober:
    """The probes to the servers of *health*, as *profile* has them."""

    profile: Profile
    apex: str
    health: Mapping[str, ServerHealth]
    _open: dict[str, _Probe] = field(default_factory=dict)

    def due(self, now_ns: int, ids: Iterator[int]) -> Iterator[tuple[str, bytes]]:
        """Yield server and query of each probe that is due; the unanswered ones are given up."""
        rules = self.profile.readmission
        for server, health in self.health.items():
            probe, next_ns = self._open.get(server), health.next_probe_ns()
            is_due = next_ns is not None and next_ns <= now_ns
            if probe is not None and (is_due or now_ns >= self._expires_ns(probe)):
                del self._open[server]
                health.on_probe_lost()
            if is_due:
                self._open[server] = probe = _Probe(next(ids), now_ns)
                health.on_probe_sent(now_ns)
                yield server, encode_query(probe.id, self._name, qtype=rules.probe_type)

    def next_timer(self) -> int | None:
        """Return when `due` has something to do, or None."""
        times_ns = [self._expires_ns(probe) for probe in self._open.values()]
        times_ns += [
            due_ns for one in self.health.values() if (due_ns := one.next_probe_ns()) is not None
        ]
        return min(times_ns, default=None)

    def answered(self, server: str, answer: Answer, *, well: bool) -> bool:
        """Say whether *answer* of *server* is for a probe; if so, it is counted."""
        probe = self._open.get(server)
        wanted = (self._name, self.profile.readmission.probe_type)
        if probe is None or (probe.id, *wanted) != (answer.id, answer.qname, answer.qtype):
            return False
        del self._open[server]
        if well:
            self.health[server].on_probe_reply()
        else:
            self.health[server].on_probe_lost()
        return True

    @property
    def _name(self) -> str:
        return self.profile.readmission.asked_for(self.apex)

    def _expires_ns(self, probe: _Probe) -> int:
        return probe.sent_ns + self.profile.timeout_ns
