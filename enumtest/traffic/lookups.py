"""From transactions to what the SBC did: one lookup a call, its failovers joined.

    datagrams ─▶ transactions ─▶ lookups (failovers joined)

Laws: a retransmission is not a turn; an answer that comes when the server was given up already (a
process that hung answers all it was asked, late), or of which only a part came, does not make the
transaction a success.

Sources: RFC 6116 section 3 (owner name).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from enumtest.dns.message import number_from_qname
from enumtest.traffic.transactions import (
    FAILURE_RCODES,
    OddMessage,
    Seen,
    Transaction,
    longest_wait_ns,
    read_transactions,
)
from harness.errors import InputError
from harness.number import PhoneNumber
from harness.packets.frame import Datagrams, Endpoint

__all__ = [
    "FAILURE_RCODES",
    "Lookup",
    "OddMessage",
    "Seen",
    "Traffic",
    "Transaction",
    "read_traffic",
]


@dataclass(frozen=True, slots=True)
class Lookup:
    """One call's questions in order: the first server asked, then each failover."""

    hops: tuple[Transaction, ...]

    @property
    def at_ns(self) -> int:
        """Return when the first query was sent (wall time)."""
        return self.hops[0].sends[0].at_ns

    @property
    def qname(self) -> str:
        """Return the owner name that was asked, in lower case."""
        return self.hops[0].query.qname

    @property
    def first(self) -> Transaction:
        """Return the hop whose server had the turn."""
        return self.hops[0]

    @property
    def last(self) -> Transaction:
        """Return the last hop, whose answer (if any) decided the call."""
        return self.hops[-1]

    @property
    def frames(self) -> tuple[int, ...]:
        """Return all frames, in order of hops."""
        return tuple(frame for hop in self.hops for frame in hop.frames)

    def number(self, apex: str) -> PhoneNumber | None:
        """Return the number that was asked for under *apex*, or None when the name is not one."""
        try:
            return number_from_qname(self.qname, apex)
        except InputError:
            return None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Everything between SBCs and the named servers that a capture holds."""

    lookups: tuple[Lookup, ...]
    malformed: tuple[OddMessage, ...]  # from a client or a server; they do not parse
    strays: tuple[OddMessage, ...]  # answers that match no query; messages not captured whole
    probes: tuple[Transaction, ...]  # questions that are not NAPTR (health checks and the like)


def read_traffic(
    datagrams: Datagrams,
    servers: Mapping[Endpoint, str],
    *,
    timeout_ns: int,
    failures: frozenset[str] = FAILURE_RCODES,
) -> Traffic:
    """Return the lookups that *datagrams* show at *servers* (address to name).

    *timeout_ns* is how long the SBC waits for one server: it bounds what may be a retransmission
    and what may be the failover of the same call. *failures* are the rcodes that it takes for a
    failure of the server; after any other answer it asks nobody else.
    """
    read = read_transactions(datagrams, servers, timeout_ns=timeout_ns, failures=failures)
    enum = [one for one in read.asked if one.query.qtype == "NAPTR"]
    probes = tuple(one for one in read.asked if one.query.qtype != "NAPTR")
    return Traffic(_join(enum, timeout_ns), read.malformed, read.strays, probes)


def _join(transactions: Sequence[Transaction], timeout_ns: int) -> tuple[Lookup, ...]:
    """Join each failover to the lookup that waited for it.

    Calls with the same parties can overlap, so what fits best is joined first: a failover after an
    error, then one when the time-out is just over, then one near it, then one far too early.
    """
    chains = [[transaction] for transaction in sorted(transactions, key=_first_send)]
    for fit in (_after_error, _on_time, _near, _early):
        chains = _merge(chains, fit, timeout_ns)
    return tuple(Lookup(_without_parts(chain)) for chain in chains)


def _first_send(transaction: Transaction) -> tuple[int, int]:
    return (transaction.sends[0].at_ns, transaction.sends[0].frame)


def _merge(
    chains: list[list[Transaction]], fit: "_Fit", timeout_ns: int
) -> list[list[Transaction]]:
    """Return the chains in order, with each appended to the earlier one that it fits best."""
    kept: list[list[Transaction]] = []
    waiting: dict[tuple[str, str, str], list[list[Transaction]]] = {}
    for chain in chains:
        new = chain[0]
        # What a failover repeats: the SBC's address, the question, the calling URI.
        queue = waiting.setdefault((new.client.address, new.query.qname, new.source), [])
        since_ns = new.sends[0].at_ns - longest_wait_ns(timeout_ns)
        queue[:] = [one for one in queue if one[-1].sends[0].at_ns >= since_ns]
        fits = [
            (distance_ns, at)
            for at, one in enumerate(queue)
            if (distance_ns := fit(one, new, timeout_ns)) is not None
        ]
        if fits:
            whole = queue.pop(min(fits)[1])
            whole[-1] = _overtaken(whole[-1], new)
            whole += chain
        else:
            kept.append(whole := chain)
        queue.append(whole)
    return kept


_Fit = Callable[[list[Transaction], Transaction, int], int | None]  # smaller is better


def _after_error(chain: list[Transaction], new: Transaction, timeout_ns: int) -> int | None:
    """Say how soon *new* comes after an answer that is of no use, or half of one."""
    last = chain[-1]
    if last.answer is None or last.answered is None:
        return None
    since_ns = new.sends[0].at_ns - last.answered.at_ns
    over_tcp = new.tcp and not last.tcp and new.server == last.server
    useless = last.answer.truncated and (over_tcp or _is_elsewhere(chain, new))
    useless = useless or (last.failed and _is_elsewhere(chain, new))
    return since_ns if useless and 0 <= since_ns <= timeout_ns // 2 else None


def _on_time(chain: list[Transaction], new: Transaction, timeout_ns: int) -> int | None:
    """Say how far from the end of the time-out *new* comes, if that is within 5 %."""
    distance_ns = _near(chain, new, timeout_ns)
    return distance_ns if distance_ns is not None and distance_ns <= timeout_ns // 20 else None


def _near(chain: list[Transaction], new: Transaction, timeout_ns: int) -> int | None:
    """Say how far from the end of the time-out *new* comes, if that is within 50 %."""
    last = chain[-1]
    waited_ns = new.sends[0].at_ns - last.sends[0].at_ns
    if last.answered is not None and (
        last.answered.at_ns <= new.sends[0].at_ns
        or last.answered.at_ns - last.sends[0].at_ns <= timeout_ns
    ):
        return None  # it was answered: *new* is another call's
    distance_ns = abs(waited_ns - timeout_ns)
    return distance_ns if _is_elsewhere(chain, new) and distance_ns <= timeout_ns // 2 else None


def _early(chain: list[Transaction], new: Transaction, timeout_ns: int) -> int | None:
    """Say how soon *new* comes, as after an ICMP "port unreachable".

    The last server never answered, was not asked again, and nothing better followed it.
    """
    last = chain[-1]
    waited_ns = new.sends[0].at_ns - last.sends[0].at_ns
    silent = last.answer is None and not last.later_answers
    gave_way = silent and last.sends[-1].at_ns <= new.sends[0].at_ns
    fits = gave_way and _is_elsewhere(chain, new) and waited_ns < timeout_ns
    return waited_ns if fits else None


def _is_elsewhere(chain: list[Transaction], new: Transaction) -> bool:
    """Say whether *new* goes to a server that was not asked yet."""
    return all(hop.server != new.server for hop in chain)


def _overtaken(last: Transaction, new: Transaction) -> Transaction:
    """Return *last* as a failure when its answer came after its failover."""
    if last.answered is None or last.answered.at_ns <= new.sends[0].at_ns:
        return last
    later = (last.answered, *last.later_answers)
    return replace(last, answer=None, answered=None, later_answers=later)


def _without_parts(chain: list[Transaction]) -> tuple[Transaction, ...]:
    """Return the hops; a truncated answer that was not asked for again over TCP counts as none."""
    hops: list[Transaction] = []
    for hop, following in zip(chain, [*chain[1:], None], strict=True):
        again = following is not None and following.server == hop.server
        if hop.answer is None or hop.answered is None or again or not hop.answer.truncated:
            hops.append(hop)
        else:
            later = (hop.answered, *hop.later_answers)
            hops.append(replace(hop, answer=None, answered=None, later_answers=later))
    return tuple(hops)
