"""The values that tell one SBC's ENUM behaviour from another's, in groups.

The whole is `enumtest.profiles.profiles.Profile`.

Laws: each group refuses nothing by itself: `problems` yields all that is wrong with it, so that one
reading of a profile names every bad value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from enumtest.dns.source_uri import MAX_CODE, Framing
from harness.errors import NumberError
from harness.number import PhoneNumber

MAX_SENDS = 21  # of one query to one server; Ribbon's limit, 20 retransmissions, is the highest
MAX_FAILURES = 1000
MAX_NS = 10**18  # 31 years: longer than any timer, and still a sum of times fits 64 bits

Problem = tuple[str, object, str]  # path, value, why


class Selection(StrEnum):
    """How the SBC chooses the server for a call."""

    ROUND_ROBIN = "round-robin"  # each in turn
    HUNT = "hunt"  # the first of the list that is not held
    PROPORTIONAL = "proportional"  # by weight
    LIST_ORDER = "list-order"  # the first of the list, whatever it did before: no memory


class Share(StrEnum):
    """Who gets the calls whose turn is at a held server."""

    NEXT = "next"
    FIRST_LIVE = "first-live"  # the first of the list that is not held


class Event(StrEnum):
    """What can come of a query, apart from a usable answer."""

    SILENCE = "silence"
    SERVFAIL = "SERVFAIL"
    REFUSED = "REFUSED"
    NOTIMP = "NOTIMP"
    FORMERR = "FORMERR"
    OTHER_RCODE = "other-rcode"
    NXDOMAIN = "NXDOMAIN"
    NODATA = "NODATA"  # no error, and no NAPTR record
    GARBLED = "garbled"  # the right id, and then nothing that can be read
    WRONG_ID = "wrong-id"
    WRONG_QUESTION = "wrong-question"
    TRUNCATED = "truncated"
    LATE = "late"  # an answer from a server that was given up already


class Then(StrEnum):
    """What the SBC does next."""

    NEXT_SERVER = "next-server"
    FINAL = "final"  # the call is decided by it
    IGNORE = "ignore"  # as if it had not come
    TCP = "tcp"  # the same server again, over TCP
    RETRY_WITHOUT_EDNS = "retry-without-edns"  # once; without EDNS in the query it is final


class Timers(StrEnum):
    """What becomes of the sends when people set another time-out."""

    DRAWN_OUT = "drawn-out"  # all times in proportion, for want of a rule
    ORACLE = "oracle"  # `enumtest.profiles.oracle_timers`


class IdScope(StrEnum):
    """For how long one message id, or one source port, is kept."""

    SEND = "send"
    SERVER = "server"  # a retransmission repeats it
    CALL = "call"  # a failover too
    ALWAYS = "always"


class InFlight(StrEnum):
    """What becomes of other calls' queries to a server when its hold-down begins."""

    FINISH = "finish"
    ABANDON = "abandon"  # the next server is asked at once


class Scope(StrEnum):
    """Whose memory a failure is."""

    SERVER = "server"
    CALL = "call"  # the next call knows nothing of it


class ReadmitBy(StrEnum):
    """What brings a held server back."""

    TIME = "time"
    PROBES = "probes"


class AllDown(StrEnum):
    """What becomes of a call when no ENUM server is left to ask."""

    FAIL_OPEN = "fail-open"  # on to the next hop as dialled (the plan's B.3.6)
    FAIL_CLOSED = "fail-closed"
    ASK_ANYWAY = "ask-anyway"  # held servers are asked all the same; if they fail too, fail-open


class CacheKey(StrEnum):
    """What a cached answer is kept under."""

    NUMBER = "number"
    NUMBER_AND_SOURCE = "number+source"


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """Who is asked, and what moves the rotation."""

    method: Selection
    failover_takes_turn: bool  # True: the rotation goes on behind the server that was asked last
    skipped_takes_turn: bool  # True: a held server's turn is used up by the call that got past it
    weights: tuple[int, ...] = ()  # proportional: one a server; none: all the same
    rounds: int = 1  # how often one call goes through the servers

    def problems(self) -> Iterator[Problem]:
        """Yield what cannot be: path, value, why."""
        if any(weight < 1 for weight in self.weights):
            yield "weights", self.weights, "each weight is 1 or more"
        if self.weights and self.method is not Selection.PROPORTIONAL:
            yield "weights", self.weights, "only a proportional choice has weights"
        if not 1 <= self.rounds <= MAX_SENDS:
            yield "rounds", self.rounds, f"not 1 to {MAX_SENDS}"


@dataclass(frozen=True, slots=True)
class Retransmission:
    """When one query is sent to one server, and when that server is given up."""

    schedule_ns: tuple[int, ...]  # from the first send, which is 0
    expire_ns: int
    id_per: IdScope
    port_per: IdScope

    def problems(self) -> Iterator[Problem]:
        """Yield what cannot be: path, value, why."""
        times_ns = self.schedule_ns
        rising = all(one < two for one, two in pairwise(times_ns))
        if not times_ns or times_ns[0] != 0 or not rising or len(times_ns) > MAX_SENDS:
            yield "schedule_ns", times_ns, f"1 to {MAX_SENDS} rising times, the first of them 0"
        elif not times_ns[-1] < self.expire_ns <= MAX_NS:
            why = "not behind the last send, or longer than 31 years"
            yield "expire_ns", self.expire_ns, why


@dataclass(frozen=True, slots=True)
class Reaction:
    """What the SBC does about one event, and whether it is a failure of the server."""

    then: Then
    counts: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """So many failures bring a server into this state."""

    failures: int
    consecutive: bool  # True: an answer in between begins the count again
    window_ns: int  # in which they have to come; 0: any time
    length_ns: int  # 0 when probes bring the server back
    share: Share

    def problems(self) -> Iterator[Problem]:
        """Yield what cannot be: path, value, why."""
        if not 1 <= self.failures <= MAX_FAILURES:
            yield "failures", self.failures, f"not 1 to {MAX_FAILURES}"
        for field in ("window_ns", "length_ns"):
            if not 0 <= getattr(self, field) <= MAX_NS:
                yield field, getattr(self, field), "below 0, or longer than 31 years"


@dataclass(frozen=True, slots=True)
class HoldDown:
    """When a server is left alone; without stages it never is."""

    stages: tuple[Stage, ...]  # the last one whose failures are there is in force
    answer_ends: bool  # an answer to a query that was still open ends the hold-down
    late_answer_ends: bool
    end_resets: bool  # after the last stage the count begins at 0
    runs_while_idle: bool  # False: the time begins with the next call, to whomever
    in_flight: InFlight
    shared_between_interfaces: bool
    scope: Scope

    def problems(self) -> Iterator[Problem]:
        """Yield what cannot be: path, value, why."""
        for at, (lower, upper) in enumerate(pairwise(self.stages), 1):
            if upper.failures <= lower.failures:
                yield f"stages.{at}.failures", upper.failures, "not more than the stage before"


@dataclass(frozen=True, slots=True)
class Readmission:
    """What brings a held server back; the fields of probes are 0 and empty without them."""

    by: ReadmitBy
    replies: int  # in a row
    interval_ns: int  # 0: none are sent, and the server stays held
    give_up_ns: int  # of probing, from the hold-down on; 0: never
    probe_name: str  # owner name asked for, or "+" and a number; "": the apex
    probe_type: str

    def asked_for(self, apex: str) -> str:
        """Return the owner name that a probe asks for under *apex*: small letters, no final dot."""
        name = self.probe_name or apex
        if name.startswith("+"):
            name = PhoneNumber.parse(name).enum_domain(apex)
        return name.lower().removesuffix(".")

    def problems(self) -> Iterator[Problem]:
        """Yield what cannot be: path, value, why."""
        least = 1 if self.by is ReadmitBy.PROBES else 0
        if not least <= self.replies <= MAX_FAILURES:
            yield "replies", self.replies, f"not {least} to {MAX_FAILURES}"
        if self.probe_name.startswith("+"):
            try:
                PhoneNumber.parse(self.probe_name)
            except NumberError as error:
                yield "probe_name", self.probe_name, error.why
        for field in ("interval_ns", "give_up_ns"):
            if not 0 <= getattr(self, field) <= MAX_NS:
                yield field, getattr(self, field), "below 0, or longer than 31 years"


@dataclass(frozen=True, slots=True)
class Cache:
    """What the SBC remembers of answers; 0 means none."""

    positive: bool
    honours_ttl: bool  # no longer than the TTL, and nothing with TTL 0
    inactivity_ns: int  # an entry that nobody asks for is dropped after this; 0: no such limit
    negative_ns: int
    key: CacheKey

    def problems(self) -> Iterator[Problem]:
        """Yield what cannot be: path, value, why."""
        for field in ("inactivity_ns", "negative_ns"):
            if not 0 <= getattr(self, field) <= MAX_NS:
                yield field, getattr(self, field), "below 0, or longer than 31 years"
        if self.positive and not self.honours_ttl and not self.inactivity_ns:
            yield "positive", True, "nothing would ever end an entry: no TTL, no inactivity"


@dataclass(frozen=True, slots=True)
class EdnsUse:
    """What stands in the OPT record of a query."""

    udp_payload_bytes: int  # 0: no OPT record, unless the calling number needs one
    source_sent: bool  # the calling URI goes along
    source_code: int
    source_framing: Framing

    def is_used(self, source: str) -> bool:
        """Say whether a query for a call from *source* has an OPT record."""
        return bool(self.udp_payload_bytes or (self.source_sent and source))

    def problems(self) -> Iterator[Problem]:
        """Yield what cannot be: path, value, why."""
        for field in ("udp_payload_bytes", "source_code"):
            if not 0 <= getattr(self, field) <= MAX_CODE:
                yield field, getattr(self, field), f"not 0 to {MAX_CODE}"
