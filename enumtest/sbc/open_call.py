"""A call that waits for its decision, with the query that is open for it; and those given up.

Laws: values and comparisons only, `enumtest.sbc.sbc` acts on them; a question is for one domain,
and
only NAPTR answers it; what is remembered of queries that were given up is bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from enumtest.dns.message import Answer
from enumtest.naptr.search import Search
from enumtest.profiles.profile_groups import Retransmission
from harness.number import PhoneNumber

MAX_GIVEN_UP = 4096  # queries whose late answers are still known for what they are


@dataclass(frozen=True, slots=True)
class Asked:
    """One server asked for one call, and what came of it: an rcode, "silence", "garbled", …."""

    server: str
    result: str
    after_ns: int


@dataclass(slots=True)
class OpenCall:
    """One call on its way."""

    call: int
    number: PhoneNumber
    source: str
    placed_ns: int
    server: str = ""
    ids: tuple[int, ...] = ()  # of the open query; the last one sent stands last
    tcp: bool = False
    plain: bool = False  # asked again without EDNS
    payload: bytes = b""
    asked_ns: int = 0
    sends: int = 0
    tried: tuple[str, ...] = ()  # in this round
    rounds: int = 1
    domain: str = ""  # that is asked: the number's, or one that a record led to
    seeking: Search | None = None  # from the first answer on
    unanswered: bool = False  # one that a record led to
    ttls_s: tuple[int, ...] = ()  # of all records that had a part in it
    asked: tuple[Asked, ...] = ()

    @property
    def qname(self) -> str:
        """Return the name asked for as answers repeat it: small letters, no final dot."""
        return self.domain.lower().removesuffix(".")

    def is_asked_by(self, answer: Answer) -> bool:
        """Say whether *answer* repeats this call's question, whatever its id."""
        return (answer.qname, answer.qtype) == (self.qname, "NAPTR")

    def is_for(self, answer: Answer) -> bool:
        """Say whether *answer* answers the open query."""
        return answer.id in self.ids and self.is_asked_by(answer)

    def next_send_ns(self, rules: Retransmission) -> int:
        """Return when it is sent again, or given up."""
        times_ns = rules.schedule_ns
        after_ns = rules.expire_ns if self.sends >= len(times_ns) else times_ns[self.sends]
        return self.asked_ns + after_ns


@dataclass(slots=True)
class GivenUpQueries:
    """Which call a query belonged to whose server was given up: its answer may come late."""

    _calls: dict[tuple[str, int, str], int] = field(default_factory=dict)

    def keep(self, call: OpenCall) -> None:
        """Remember the open query of *call*, and forget the oldest ones."""
        for id_ in call.ids:
            self._calls[call.server, id_, call.qname] = call.call
        while len(self._calls) > MAX_GIVEN_UP:
            del self._calls[next(iter(self._calls))]

    def take(self, server: str, answer: Answer) -> int | None:
        """Return the call that *answer* of *server* is late for, once; None when there is none."""
        return self._calls.pop((server, answer.id, answer.qname), None)


def wrong_about(answer: Answer, calls: Sequence[OpenCall]) -> tuple[OpenCall, bool] | None:
    """Return which of *calls* an answer misses by one thing, and whether that is the question.

    Without an id or a question in common it is for none of them.
    """
    for call in calls:
        if call.is_asked_by(answer):
            return call, False
        if answer.id in call.ids and answer.qname:
            return call, True
    return None
