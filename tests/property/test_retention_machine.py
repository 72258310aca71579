"""Retention over a long life: clocks that jump, sets that rot, policies that change every day."""

from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from hasync.sets.backup import Kind, SetName, SetState, State, StoredSet
from hasync.sets.retention import DAY_NS, FUTURE_NS, made_at_ns, plan
from hasync.settings import Retention

START_NS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
POLICIES = st.builds(
    Retention,
    min_keep=st.integers(1, 3),
    keep_days=st.integers(0, 30),
    daily=st.integers(0, 3),
    weekly=st.integers(0, 3),
    monthly=st.integers(0, 3),
    max_bytes=st.sampled_from([0, 1, 250, 1000]),
)
GOOD = {State.VERIFIED, State.RESTORED}


class Life(RuleBasedStateMachine):
    """A catalogue of two sites and two kinds, and what must never be lost from it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = START_NS
        self.sequence = 0
        self.sets: dict[str, StoredSet] = {}

    @rule(
        state=st.sampled_from(State),
        kind=st.sampled_from([Kind.DATABASE, Kind.APPLICATION, Kind.TAIL]),
        site=st.sampled_from(["east", "west"]),
        pinned=st.booleans(),
        held=st.sampled_from(["", "", "rolled back"]),
        size_bytes=st.integers(1, 300),
    )
    def arrive(  # noqa: PLR0913, PLR0917 - all that retention looks at
        self, state: State, kind: Kind, site: str, pinned: bool, held: str, size_bytes: int
    ) -> None:
        """A set comes, dated by whatever the clock says just now."""
        self.sequence += 1
        made = datetime.fromtimestamp(self.now_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
        name = SetName(1, self.sequence, made, f"{self.sequence:08x}")
        known = SetState(state=state, pinned=pinned, held=held)
        one = f"{self.sequence:032x}"
        self.sets[one] = StoredSet(kind, site, name, one, None, known, size_bytes)

    @rule(days=st.integers(-2000, 2600))
    def jump(self, days: int) -> None:
        """The clock is set to some other day."""
        self.now_ns = max(START_NS - 3000 * DAY_NS, self.now_ns + days * DAY_NS)

    @precondition(lambda self: self.sets)
    @rule(data=st.data(), state=st.sampled_from(State))
    def change(self, data: st.DataObject, state: State) -> None:
        """A set is found corrupt, verified, restored, or its state is lost."""
        one = data.draw(st.sampled_from(sorted(self.sets)))
        old = self.sets[one]
        known = SetState(state=state, pinned=old.state.pinned, held=old.state.held)
        self.sets[one] = StoredSet(
            old.kind, old.site, old.name, old.id, None, known, old.size_bytes
        )

    @rule(policy=POLICIES, keep=st.integers(1, 5))
    def prune(self, policy: Retention, keep: int) -> None:
        """A run removes what its plan names, under any policy."""
        before = dict(self.sets)
        found = plan(before.values(), policy, keep, self.now_ns)
        removed = {one.id for one in found.remove}
        assert removed.isdisjoint(found.keep)
        assert removed | set(found.keep) == set(before)
        if any(made_at_ns(one) > self.now_ns + FUTURE_NS for one in newest(before).values()):
            assert found.refused
            assert not removed
        for one in found.remove:
            assert not one.state.pinned
            assert not one.state.held
            assert one.kind is not Kind.TAIL
            del self.sets[one.id]
        for (kind, site), was in copies(before).items():
            left = copies(self.sets)[kind, site]
            assert left[: policy.min_keep] == was[: policy.min_keep]
            if removed & {
                one.id for one in before.values() if (one.kind, one.site) == (kind, site)
            }:
                assert len(left) >= min(len(was), policy.min_keep)
        again = plan(self.sets.values(), policy, keep, self.now_ns)
        assert again.remove == ()


def newest(sets: dict[str, StoredSet]) -> dict[tuple[Kind, str], StoredSet]:
    """Return the newest set of each kind and site, good or not."""
    ordered = sorted(sets.values(), key=lambda one: one.order)
    return {(one.kind, one.site): one for one in ordered}


def copies(sets: dict[str, StoredSet]) -> dict[tuple[Kind, str], list[tuple[int, int]]]:
    """Return the orders of the good sets of each kind and site, newest first."""
    found: dict[tuple[Kind, str], list[tuple[int, int]]] = {}
    for one in sets.values():
        good = one.state.state in GOOD and not one.state.held
        found.setdefault((one.kind, one.site), []).extend([one.order] if good else [])
    return {key: sorted(orders, reverse=True) for key, orders in found.items()}


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
