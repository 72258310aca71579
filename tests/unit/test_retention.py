"""Retention: what stays and what goes, case by case."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from harness.errors import InputError
from hasync.sets.backup import Kind, SetName, SetState, State, StoredSet
from hasync.sets.retention import DAY_NS, RetentionPlan, plan
from hasync.settings import Retention

NOW_NS = int(datetime(2026, 11, 22, 6, tzinfo=UTC).timestamp()) * 10**9
LEAST = Retention(min_keep=1)


def stored(  # noqa: PLR0913 - the fields that retention looks at
    sequence: int,
    state: State = State.VERIFIED,
    *,
    at_ns: int | None = None,
    site: str = "east",
    kind: Kind = Kind.DATABASE,
    size_bytes: int = 100,
    pinned: bool = False,
    held: str = "",
) -> StoredSet:
    """Return a set; by default number 100 was made now, and one a day before it."""
    made_ns = NOW_NS - (100 - sequence) * DAY_NS if at_ns is None else at_ns
    made = datetime.fromtimestamp(made_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
    one = f"{sequence:032x}"
    name = SetName(3, sequence, made, f"{sequence:08x}")
    known = SetState(state=state, pinned=pinned, held=held)
    return StoredSet(kind, site, name, one, None, known, size_bytes)


def gone(found: RetentionPlan) -> list[int]:
    return [one.name.sequence for one in found.remove]


def test_the_newest_so_many_stay() -> None:
    """Of five good sets and three to keep, the two oldest go, oldest first."""
    assert gone(plan(map(stored, range(96, 101)), LEAST, 3, NOW_NS)) == [96, 97]


@pytest.mark.parametrize("state", [State.NEW, State.FAILED, State.CORRUPT])
def test_only_good_sets_count(state: State) -> None:
    """Thirteen newer sets that are no copies do not push out the one that is (F41)."""
    sets = [stored(87), *(stored(number, state) for number in range(88, 101))]

    for keep in (1, 14):
        assert plan(sets, LEAST, keep, NOW_NS).remove == ()


def test_a_bad_set_goes_once_enough_newer_good_ones_exist() -> None:
    """A corrupt set stays until as many verified ones are newer as are kept anyway."""
    sets = [stored(97, State.CORRUPT), stored(98), stored(99, State.CORRUPT), stored(100)]

    assert gone(plan(sets, Retention(min_keep=2), 2, NOW_NS)) == [97]
    assert gone(plan(sets, Retention(min_keep=2), 3, NOW_NS)) == []


def test_min_keep_is_stronger_than_the_command_line() -> None:
    """`-b 1` with min_keep 2 keeps two."""
    assert gone(plan(map(stored, range(97, 101)), Retention(min_keep=2), 1, NOW_NS)) == [97, 98]


@pytest.mark.parametrize("keep", [0, -1])
def test_a_count_that_would_delete_all_is_refused(keep: int) -> None:
    """Zero and negative counts are refused, nothing is planned (F42)."""
    with pytest.raises(InputError, match="backups"):
        plan([stored(100)], LEAST, keep, NOW_NS)


@pytest.mark.parametrize("field", ["min_keep", "keep_days", "daily", "weekly", "monthly"])
def test_a_negative_policy_is_refused(field: str) -> None:
    """No field of the policy may be negative, and min_keep not zero."""
    with pytest.raises(InputError, match=field):
        plan([stored(100)], replace(Retention(), **{field: -1}), 1, NOW_NS)
    with pytest.raises(InputError, match="min_keep"):
        plan([stored(100)], Retention(min_keep=0), 1, NOW_NS)


def test_nothing_goes_while_the_newest_is_in_the_future() -> None:
    """A clock that was put back seven years deletes nothing, in any kind or site (F40)."""
    sets = [stored(number, site=site) for number in range(90, 101) for site in ("east", "west")]

    found = plan(sets, LEAST, 1, NOW_NS - 7 * 365 * DAY_NS)

    assert found.remove == ()
    assert "in the future" in found.refused
    assert len(found.keep) == len({one.id for one in sets})


def test_order_is_by_sequence_not_by_clock() -> None:
    """Fourteen sets made while the clock said 2031 are the older ones all the same (H61)."""
    wrong = [stored(n, at_ns=NOW_NS + 5 * 365 * DAY_NS) for n in range(80, 94)]
    right = [stored(n) for n in range(94, 101)]

    assert gone(plan([*wrong, *right], LEAST, 7, NOW_NS)) == list(range(80, 94))


def test_days_weeks_and_months_keep_their_newest() -> None:
    """Each rule about time keeps the newest good set of its period."""
    sets = [stored(number) for number in range(1, 101)]

    found = plan(sets, Retention(min_keep=1, keep_days=2, daily=4, weekly=3, monthly=3), 1, NOW_NS)

    stay = sorted(int(one, 16) for one in found.keep)
    # 22 Nov is day 100, a Sunday: weeks end on 100, 93, 86; months on 100, 78 (31 Oct), 47 (30 Sep)
    assert stay == [47, 78, 86, 93, 97, 98, 99, 100]


def test_a_pin_a_hold_and_a_tail_never_go() -> None:
    """Three old sets stay, each with its reason."""
    sets = [
        stored(1, pinned=True),
        stored(2, held="rolled back"),
        stored(3, kind=Kind.TAIL),
        *(stored(number) for number in range(95, 101)),
    ]

    found = plan(sets, Retention(min_keep=1, max_bytes=1), 1, NOW_NS)

    assert gone(found) == [95, 96, 97, 98, 99]
    assert "pinned" in found.keep[f"{1:032x}"]
    assert "held: rolled back" in found.keep[f"{2:032x}"]


def test_a_held_set_is_no_copy_to_rely_on() -> None:
    """A set that was rolled back does not count as the verified one that stays."""
    sets = [stored(98), stored(99, held="wrong data"), stored(100, held="wrong data")]

    assert plan(sets, Retention(min_keep=1, max_bytes=1), 1, NOW_NS).remove == ()


def test_the_set_behind_the_live_database_stays() -> None:
    """The newest RESTORED set stays even when many verified ones are newer (H68)."""
    sets = [stored(90, State.RESTORED), *(stored(number) for number in range(91, 101))]

    assert gone(plan(sets, LEAST, 2, NOW_NS)) == list(range(91, 99))


def test_a_budget_takes_the_oldest_and_stops_at_the_last_good_ones() -> None:
    """A budget of bytes overrides the count, never min_keep."""
    sets = [stored(number) for number in range(91, 101)]

    assert gone(plan(sets, Retention(min_keep=2, max_bytes=350), 14, NOW_NS)) == list(range(91, 98))
    assert gone(plan(sets, Retention(min_keep=2, max_bytes=1), 14, NOW_NS)) == list(range(91, 99))


def test_own_and_received_sets_are_counted_apart() -> None:
    """Each kind and site keeps its own newest (H66)."""
    sets = [
        *(stored(number) for number in (97, 98)),
        *(stored(number, site="west") for number in (99, 100)),
        stored(10, kind=Kind.APPLICATION),
    ]

    assert gone(plan(sets, LEAST, 1, NOW_NS)) == [97, 99]
