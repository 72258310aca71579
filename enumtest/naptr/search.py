"""Which URI the NAPTR records give: in one answer, or in those that it leads to.

    domain ─▶ asked ─▶ records by order, preference ─▶ URI
                ▲                 │ not terminal
                └──── domain ◀────┘ at most five on; then the next record of the one before

Laws: nothing is asked here (`search` yields a domain and is sent its records); the search ends,
whatever the answers are; all matching is on the number first asked for, never on a domain.

Sources: RFC 3403 section 4.1, RFC 5483 sections 4 to 6.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from enumtest.naptr.naptr import NaptrRecord
from enumtest.naptr.naptr_dialect import STRICT, NaptrDialect
from enumtest.naptr.reading import Ended, Follow, Passed, Uri, Void, rank, read_behind
from harness.regex import RegexEngine

MAX_QUESTIONS = 32  # of one search, whatever the answers lead to: a hostile zone must not fill it


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one record, in words."""

    record: NaptrRecord
    verdict: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """The URI that a set of records gives for a number, or None; and every step to it."""

    uri: str | None
    steps: tuple[Step, ...]
    services: tuple[str, ...] = ()  # of the record that gave the URI


def resolve(
    records: Iterable[NaptrRecord], aus: str, engine: RegexEngine, services: tuple[str, ...]
) -> Resolution:
    """Return the first URI by order, then preference, then place (RFC 3403 s4.1, RFC 5483 s4, s5).

    *services* are the enumservices that the client accepts, such as ("sip", "pstn:tel"). One answer
    is read as the RFCs say; `search` also asks the domains that it leads to.
    """
    dialect = replace(STRICT, services=tuple(map(str.lower, services)))
    return resolve_as(records, aus, engine, dialect)


def resolve_as(
    records: Iterable[NaptrRecord], aus: str, engine: RegexEngine, dialect: NaptrDialect
) -> Resolution:
    """Return the URI that a client of *dialect* takes first; no other domain is asked.

    What *dialect* leaves open is read as the RFCs say.
    """
    seeking = _Seeking(aus, engine, replace(dialect.completed(), max_hops=0))
    visit = seeking.visit("", 0)
    next(visit)
    with suppress(StopIteration):
        visit.send(records)
    return Resolution(seeking.uri, seeking.asked[0].steps, seeking.services)


@dataclass(frozen=True, slots=True)
class Asked:
    """One domain that was asked, and what became of each of its records."""

    domain: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """How a search ended: a URI, or that nobody has the number, or neither."""

    uri: str | None
    is_void: bool
    asked: tuple[Asked, ...]
    services: tuple[str, ...] = ()  # of the record that gave the URI


Search = Generator[str, Iterable[NaptrRecord], Found]


def search(domain: str, aus: str, engine: RegexEngine, dialect: NaptrDialect = STRICT) -> Search:
    """Yield each domain to be asked, starting with *domain*; take its records; return the end.

    What *dialect* leaves open is read as the RFCs say. Send no records for NXDOMAIN or no answer.
    """
    seeking = _Seeking(aus, engine, dialect.completed())
    yield from seeking.visit(domain, 0)
    return Found(seeking.uri, seeking.is_void, tuple(seeking.asked), seeking.services)


def run(seeking: Search, ask: Callable[[str], Iterable[NaptrRecord]]) -> Found:
    """Return how *seeking* ends when *ask* gives the records of a domain."""
    domain = next(seeking)
    while True:
        try:
            domain = seeking.send(ask(domain))
        except StopIteration as end:
            found: Found = end.value
            return found


class _Seeking:
    """A search on its way."""

    def __init__(self, aus: str, engine: RegexEngine, dialect: NaptrDialect) -> None:
        self.uri: str | None = None
        self.is_void = False
        self.services: tuple[str, ...] = ()
        self.asked: list[Asked] = []
        self._aus, self._engine, self._dialect = aus, engine, dialect
        self._seen: set[str] = set()

    def visit(self, domain: str, hops: int) -> Generator[str, Iterable[NaptrRecord], bool]:
        """Ask *domain*, which *hops* domains led to; return whether the search is over."""
        self._seen.add(domain.lower().rstrip("."))
        at = len(self.asked)
        self.asked.append(Asked(domain, ()))
        records = yield domain
        steps: list[Step] = []
        over = False
        chosen = -1  # the order that ended the search
        before: NaptrRecord | None = None
        for record in sorted(records, key=rank):
            if over:
                steps.append(Step(record, _left_out(record, chosen)))
                continue
            how = (self._aus, self._engine, self._dialect)
            effect = read_behind(before, record, *how).effects[0]
            before = record
            steps.append(Step(record, effect.how))
            match effect:
                case Uri(text=uri, services=services):
                    self.uri, self.services, over = uri, services, True
                case Void():
                    self.is_void = over = True
                case Ended():
                    over = True
                case Passed():
                    pass
                case Follow(domain=target):
                    why = self._objection(target, hops)
                    steps[-1] = Step(record, f"not followed: {why}" if why else effect.how)
                    self.asked[at] = Asked(domain, tuple(steps))
                    over = not why and (yield from self.visit(target, hops + 1))
            chosen = record.order
        self.asked[at] = Asked(domain, tuple(steps))
        return over

    def _objection(self, target: str, hops: int) -> str:
        """Say why *target* is not asked, or "" when it is."""
        if target.lower().rstrip(".") in self._seen:
            return f"{target} was asked already: a loop"
        if hops >= (self._dialect.max_hops or 0):
            return f"{hops} domains led here already (RFC 5483 section 6)"
        if len(self.asked) >= MAX_QUESTIONS:
            return f"{MAX_QUESTIONS} domains were asked already"
        return ""


def _left_out(record: NaptrRecord, chosen: int) -> str:
    """Say why *record*, behind the one of order *chosen* that ended the search, is not used."""
    if record.order == chosen:
        return f"not tried: a record of order {chosen} came first and matched"
    return f"not considered: order {chosen} matched already"
