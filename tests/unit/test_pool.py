"""The SBC's rotation over its ENUM servers."""

import pytest

from enumtest.pool import Selection, ServerPool

SECOND_NS = 1_000_000_000
HOLD_NS = 30 * SECOND_NS
POOL = ("enum1", "enum2", "enum3")


def turns(pool: ServerPool, count: int, now_ns: int = 0) -> list[str | None]:
    return [pool.next_server(now_ns) for _ in range(count)]


def test_takes_servers_in_turn() -> None:
    """With every server healthy, calls 1 to 4 go to 1, 2, 3, 1 (plan B.3.2)."""
    assert turns(ServerPool(POOL, HOLD_NS), 4) == ["enum1", "enum2", "enum3", "enum1"]


def test_hunt_takes_the_first_healthy_server() -> None:
    """Without rotation every call goes to the first, and to the second while that is held."""
    pool = ServerPool(POOL, HOLD_NS, Selection.HUNT)

    assert turns(pool, 3) == ["enum1"] * 3
    pool.on_failure("enum1", now_ns=0)
    assert turns(pool, 2) == ["enum2"] * 2
    assert turns(pool, 2, now_ns=HOLD_NS) == ["enum1"] * 2


def test_skips_a_held_server_until_its_time_is_up() -> None:
    """A silent server gets nothing for the hold-down, and its turn back at the end of it."""
    pool = ServerPool(POOL, HOLD_NS)
    pool.on_failure("enum1", now_ns=0)

    assert "enum1" not in turns(pool, 9, now_ns=HOLD_NS - 1)
    assert "enum1" in turns(pool, 3, now_ns=HOLD_NS)


def test_turns_go_on_where_they_were_after_a_hold_down() -> None:
    """A held server loses its turns; nobody else's place changes."""
    pool = ServerPool(POOL, HOLD_NS)
    pool.on_failure("enum2", now_ns=0)

    assert turns(pool, 3) == ["enum1", "enum3", "enum1"]
    assert turns(pool, 3, now_ns=HOLD_NS) == ["enum2", "enum3", "enum1"]


def test_second_failure_begins_a_new_hold_down() -> None:
    """The time counts from the last failure."""
    pool = ServerPool(POOL[:1], HOLD_NS)
    pool.on_failure("enum1", now_ns=0)
    pool.on_failure("enum1", now_ns=10)

    assert pool.next_server(HOLD_NS + 9) is None
    assert pool.next_server(HOLD_NS + 10) == "enum1"


def test_success_ends_a_hold_down() -> None:
    """A server that did its work is healthy."""
    pool = ServerPool(POOL[:1], HOLD_NS)
    pool.on_failure("enum1", now_ns=0)
    pool.on_success("enum1")

    assert pool.next_server(1) == "enum1"


def test_success_of_a_server_that_never_failed_changes_nothing() -> None:
    """Good answers are the usual case."""
    pool = ServerPool(POOL, HOLD_NS)
    pool.on_success("enum3")

    assert turns(pool, 3) == list(POOL)


@pytest.mark.parametrize("selection", Selection)
def test_offers_none_when_all_are_held(selection: Selection) -> None:
    """With every server silent the SBC is told to route without ENUM (plan B.3.6)."""
    pool = ServerPool(POOL, HOLD_NS, selection)
    for server in POOL:
        pool.on_failure(server, now_ns=0)

    assert pool.next_server(now_ns=1) is None


@pytest.mark.parametrize("selection", Selection)
def test_offers_no_server_that_the_call_has_tried(selection: Selection) -> None:
    """Without a hold-down a call still asks each server once, then none."""
    pool = ServerPool(POOL, 0, selection)
    pool.on_failure("enum1", now_ns=0)

    assert pool.next_server(0, {"enum1"}) == "enum2"
    assert pool.next_server(0, {"enum1", "enum2"}) == "enum3"
    assert pool.next_server(0, set(POOL)) is None


def test_failing_to_find_a_server_takes_no_turn() -> None:
    """A call that nobody is left to answer does not move the rotation."""
    pool = ServerPool(POOL, HOLD_NS)
    pool.next_server(0)
    pool.next_server(0, set(POOL))

    assert pool.next_server(0) == "enum2"


def test_drift_slips_by_one_server_every_so_many_turns() -> None:
    """The defect that the judge must find: every third turn the next server is passed over."""
    pool = ServerPool(POOL, HOLD_NS, drift_every=3)

    assert turns(pool, 6) == ["enum1", "enum2", "enum3", "enum2", "enum3", "enum1"]
