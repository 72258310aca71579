"""Random histories of a few boxes: whatever is tried, the rules of the verdicts hold."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fst.boxes import Boxes, Key
from harness.errors import InputError
from harness.finding import Outcome
from harness.journal import FIRST, Event, chain

KEYS = st.sampled_from([("B.3.2", "site1"), ("B.1.1", "site1/enum1")])
OUTCOMES = st.sampled_from(["PASS", "OTHER", "FAIL"])
WORDS = st.sampled_from(["", "because"])
RANK = {"PASS": 0, "OTHER": 1, "FAIL": 2}


class Desk(RuleBasedStateMachine):
    """A machine and people who say anything at any time; refused events leave no trace."""

    def __init__(self) -> None:
        """Start with an empty journal, and what should come of it."""
        super().__init__()
        self.boxes, self.events = Boxes(), list[Event]()
        self.worst: dict[tuple[Key, int], int] = {}  # by box and attempt, of all that was said
        self.sealed: dict[tuple[Key, int], object] = {}

    def tell(self, kind: str, key: Key, **fields: object) -> bool:
        prev = chain(self.events[-1].encode()) if self.events else FIRST
        told = {"step": key[0], "target": key[1], **fields}
        event = Event(len(self.events) + 1, len(self.events), kind, prev, told)
        before = repr(self.boxes.attempts)
        try:
            self.boxes.take(event)
        except InputError:
            assert repr(self.boxes.attempts) == before
            return False
        self.events.append(event)
        return True

    def said(self, key: Key, outcome: str) -> None:
        place = (key, len(self.boxes.attempts[key]))
        self.worst[place] = max(RANK[outcome], self.worst.get(place, 0))

    @rule(key=KEYS, number=st.integers(0, 4), reason=WORDS)
    def start(self, key: Key, number: int, reason: str) -> None:
        """Begin an attempt, with any number."""
        before = self.boxes.latest(key)
        if self.tell("attempt.start", key, attempt=number, reason=reason):
            assert number == len(self.boxes.attempts[key])
            assert before is None or not before.is_open
            assert before is None or before.verdict is None or reason
            if before is not None:
                self.sealed[key, before.number] = before.verdict

    @rule(key=KEYS, outcome=OUTCOMES)
    def propose(self, key: Key, outcome: str) -> None:
        """Let the machine judge, with a check that agrees."""
        told = {"rule": "r", "outcome": outcome, "frames": [1]}
        if self.tell("finding", key, **told):
            assert self.tell("verdict.proposed", key, outcome=outcome, words="checked")
            self.said(key, outcome)

    @rule(key=KEYS, outcome=OUTCOMES, words=WORDS)
    def declare(self, key: Key, outcome: str, words: str) -> None:
        """Let a person judge."""
        before = self.boxes.latest(key)
        stood = before.said if before else None
        if self.tell("verdict.declared", key, outcome=outcome, words=words, by="T. Ester"):
            assert before is not None
            assert not before.stopped
            assert stood is None or RANK[outcome] >= RANK[stood.outcome]
            assert words or outcome == "PASS"
            self.said(key, outcome)

    @rule(key=KEYS, stopped=st.sampled_from([{}, {"interrupted": True}, {"parked": True}]))
    def end(self, key: Key, stopped: dict[str, bool]) -> None:
        """End the attempt, in one of its ways."""
        if self.tell("attempt.end", key, **stopped) and stopped:
            assert self.boxes.verdict(key) is None

    @rule(key=KEYS, number=st.integers(1, 3))
    def accept(self, key: Key, number: int) -> None:
        """Let the customer accept."""
        verdict = self.boxes.verdict(key)
        boxes = [[*key, number]]
        if self.tell("acceptance", key, boxes=boxes, by="C. Ustomer", note="agreed"):
            assert verdict is not None
            assert verdict.outcome is not Outcome.FAIL
            assert number == len(self.boxes.attempts[key])

    @rule(key=KEYS)
    def caveat(self, key: Key) -> None:
        """Put a caveat there."""
        verdict = self.boxes.verdict(key)
        if self.tell("caveat", key, words="two servers only", by="T. Ester"):
            assert verdict is not None
            assert verdict.outcome is not Outcome.FAIL
            latest = self.boxes.latest(key)
            assert latest is not None
            assert not latest.is_accepted

    @invariant()
    def verdicts_are_the_worst_that_was_said(self) -> None:
        """No verdict is better than anything said in its attempt, and no attempt is lost."""
        for key, found in self.boxes.attempts.items():
            assert [one.number for one in found] == list(range(1, len(found) + 1))
            assert all(not one.is_open for one in found[:-1])
            for one in found:
                if one.verdict is not None:
                    assert RANK[one.verdict.outcome] == self.worst[key, one.number]

    @invariant()
    def superseded_attempts_never_change(self) -> None:
        """What an older attempt said stays."""
        for (key, number), verdict in self.sealed.items():
            assert self.boxes.attempts[key][number - 1].verdict == verdict

    def teardown(self) -> None:
        """The same events give the same boxes again."""
        assert repr(Boxes.fold(self.events).attempts) == repr(self.boxes.attempts)


TestDesk = Desk.TestCase
TestDesk.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
