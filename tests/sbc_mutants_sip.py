"""Mutants that ask their servers as they should, and show what is wrong in SIP only.

They are judged by the plan's cases (`fst.judgement`), with both sides of the SBC on the wire.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from enumtest.dns.message import Answer, Query, encode_answer
from enumtest.naptr.naptr import NaptrRecord
from enumtest.sbc.decision import Decision
from enumtest.sbc.open_call import OpenCall
from enumtest.sbc.sbc import Sbc
from fst.exercises import CONTRAST
from fst.judgement import judge
from fst.observation import MarkKind, Observation
from harness.finding import Finding, Outcome
from harness.number import PhoneNumber
from tests.enum_bench import CONFIG, PLAIN, TABLE, Bench, End, Placed, bench, sound, tell
from tests.enum_wire import (
    ALLOW,
    MS,
    REDIRECT,
    TERMINATE,
    Down,
    Reply,
    Script,
    WholeNumber,
    Wire,
)
from tests.sbc_defects import SOUND, Make, of_class
from tests.sbc_mutants_blind import GivenUpPool

RULED = (PhoneNumber("12125550130"),)
FOR_EVER = (0, 10**15)


@dataclass(frozen=True, slots=True)
class SipMutant:
    """One SBC, the case that judges it, and the rule that must not pass."""

    name: str
    wrong: str
    breaks: str
    step: str
    rule: str
    outcome: Outcome  # what the rule says; OTHER where the packets leave an excuse
    record: Callable[[], Observation]

    def found(self) -> Finding:
        """Return the worst that the rule says."""
        judged = judge(self.step, "", self.record(), WholeNumber())
        found = [one for one in judged.findings if one.rule == self.rule]
        worst = [Outcome.FAIL, Outcome.OTHER, Outcome.PASS]
        return min(found, key=lambda one: worst.index(one.outcome))


class LastOrderSbc(Sbc):
    """Takes the record with the highest order."""

    def _decide_by(self, call: OpenCall, answer: Answer, now_ns: int) -> None:
        records = tuple(
            replace(one, naptr=replace(one.naptr, order=100 - one.naptr.order))
            for one in answer.records
        )
        super()._decide_by(call, replace(answer, records=records), now_ns)


class AnyCallerSbc(Sbc):
    """Gives the answer for one caller to all others, and asks no more."""

    def _decide_by(self, call: OpenCall, answer: Answer, now_ns: int) -> None:
        self.__dict__.setdefault("known", {})[call.number] = answer
        super()._decide_by(call, answer, now_ns)

    def _ask_next(self, call: OpenCall, now_ns: int) -> None:
        known: dict[PhoneNumber, Answer] = self.__dict__.setdefault("known", {})
        if call.number in known and not call.tried:
            super()._decide_by(call, known[call.number], now_ns)
        else:
            super()._ask_next(call, now_ns)


class GivenUpSbc(Sbc):
    """Never asks again once every server was held."""

    def _new_pool(self) -> GivenUpPool:
        return GivenUpPool(tuple(self.config.servers), self.config.profile)


class OtherCallerSbc(Sbc):
    """Sends the calling number of the call before."""

    def place_call(self, number: PhoneNumber, source: str, now_ns: int) -> int:
        """Place a call."""
        before = self.__dict__.setdefault("before", source)
        self.__dict__["before"] = source
        return super().place_call(number, before, now_ns)


def answering(*records: NaptrRecord) -> Script:
    """Return servers that answer every question with *records*."""

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        del server, now_ns
        return (Reply(encode_answer(query, records=records)),)

    return script


def _calls(made: Bench, numbers: tuple[PhoneNumber, ...] = RULED, count: int = 6) -> Observation:
    made.mark(0, MarkKind.BEGIN)
    made.mark(made.place(count, numbers=numbers), MarkKind.END)
    return made.finish()


def _ruled(script: Script, make: Make = SOUND, end: End = sound) -> Observation:
    made = bench(make, script)
    made.end = end
    return _calls(made)


def _all_down(make: Make = SOUND, end: End = sound) -> Observation:
    made = bench(make, Down(dict.fromkeys(TABLE.enum_servers, FOR_EVER)))
    made.end = end
    made.mark(0, MarkKind.DOWN, *TABLE.enum_servers)
    return _calls(made, PLAIN, 15)


def _allowed_first(make: Make) -> Observation:
    """Return a recording of B.2.1 in which the allow rule has the lower order of two."""
    begin_ns = 400 * MS
    both = (replace(TERMINATE, order=90), replace(ALLOW, order=10))

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        act = answering(TERMINATE) if now_ns < begin_ns else answering(*both)
        return tuple(act(server, query, now_ns))

    made = bench(make, script)
    made.mark(0, MarkKind.INSTALLED, CONTRAST)
    made.place(6, numbers=RULED)
    made.mark(begin_ns, MarkKind.INSTALLED, "fst-allow")
    made.mark(begin_ns, MarkKind.BEGIN)
    made.mark(made.place(6, from_ns=begin_ns, numbers=RULED), MarkKind.END)
    return made.finish()


def _recovered(make: Make) -> Observation:
    """Return a recording of B.3.7: everybody was down, and is back."""
    hold_ns = CONFIG.profile.hold_down_ns
    made = bench(make, Down(dict.fromkeys(TABLE.enum_servers, (0, 2 * hold_ns))))
    begin_ns = made.place(30)
    begin_ns = max(begin_ns, 4 * hold_ns)
    made.mark(begin_ns, MarkKind.BEGIN)
    made.mark(made.place(15, from_ns=begin_ns), MarkKind.END)
    return made.finish()


def delimiter_kept(wire: Wire, call: Placed, decision: Decision) -> None:
    """Find no route for the host "sbc.example.net!" that comes of a delimiter left in."""
    del decision
    tell(wire, call, 404)


def closed(wire: Wire, call: Placed, decision: Decision) -> None:
    """End each call that no server decided."""
    if decision is Decision.NO_SERVER:
        tell(wire, call, 503)
    else:
        sound(wire, call, decision)


def let_through(wire: Wire, call: Placed, decision: Decision) -> None:
    """Let the call go on although it is to be ended."""
    del decision
    sound(wire, call, Decision.ALLOW)


IGNORING_CASE = NaptrRecord(100, 10, "u", "E2U+sip", REDIRECT.regexp + "i")
SIP_MUTANTS: tuple[SipMutant, ...] = (
    SipMutant(
        "ignores order",
        "Of two records the one with the higher order is taken.",
        "RFC 3403 section 4.1: once a record matched, no higher order",
        "B.2.1",
        "policy.call",
        Outcome.FAIL,
        lambda: _allowed_first(of_class(LastOrderSbc)),
    ),
    SipMutant(
        "keeps the delimiter with flag i",
        "The closing delimiter stays in the URI, so that nobody is found there.",
        "RFC 3402 section 3.2: flags stand behind the last delimiter",
        "B.2.3",
        "policy.call",
        Outcome.FAIL,
        lambda: _ruled(answering(IGNORING_CASE), end=delimiter_kept),
    ),
    SipMutant(
        "lets the terminate through",
        "A call that is to be ended goes on to the called party.",
        "FST plan B.2 step 2: the call will not go to the dialed destination",
        "B.2.2",
        "policy.call",
        Outcome.FAIL,
        lambda: _ruled(answering(TERMINATE), end=let_through),
    ),
    SipMutant(
        "closed when all are down",
        "With no server left each call is ended.",
        "FST plan B.3 step 6: all calls proceed normally",
        "B.3.6",
        "calls.completed",
        Outcome.FAIL,
        lambda: _all_down(end=closed),
    ),
    SipMutant(
        "caches across callers",
        "The answer for one caller is used for all.",
        "draft-kaplan-enum-source-uri-00 section 5: the client must not cache",
        "B.2.1",
        "calls.asked",
        Outcome.OTHER,
        lambda: _allowed_first(of_class(AnyCallerSbc)),
    ),
    SipMutant(
        "gives ENUM up, with SIP",
        "Once all servers were held, no call asks again.",
        "FST plan B.3 step 7: requests are again received",
        "B.3.7",
        "calls.asked",
        Outcome.OTHER,
        lambda: _recovered(of_class(GivenUpSbc)),
    ),
    SipMutant(
        "caller of the call before",
        "Each question carries the calling number of the call before it.",
        "draft-kaplan-enum-source-uri-00 section 5: the URI of the caller",
        "B.1.3",
        "top.source",
        Outcome.FAIL,
        lambda: _calls(bench(of_class(OtherCallerSbc)), PLAIN, len(PLAIN)),
    ),
)
