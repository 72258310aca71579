"""Facts of a host, out of its watch."""

from fst.event_table import TYPES
from fst.events import check
from fst.facts import facts_of
from fst.roles import RoleSpec
from harness.journal import FIRST, Event
from tests.fake_hosts import GUIDE, HOSTS, ROLES, record, without

HOST = HOSTS[0]


def spec() -> RoleSpec:
    return ROLES.spec(HOST.role, HOST.standing)


def test_facts_are_processes_settings_and_the_clock() -> None:
    """Each process with its id and start, each settings file with its hash, at both ends."""
    first, last = facts_of(record(rounds=3), HOST.target, spec(), GUIDE)
    assert (first["when"], last["when"]) == ("start", "end")
    assert first["target"] == HOST.target
    processes = {name for name in first["values"] if name.startswith("process.")}
    assert processes == {f"process.{one.name}" for one in spec().processes}
    assert all("@" in first["values"][name] for name in processes)
    hashes = [value for name, value in first["values"].items() if name.startswith("config.")]
    assert hashes
    assert {len(value) for value in hashes} == {64}
    assert isinstance(first["clock_offset_ms"], float)
    assert last["values"] == first["values"]


def test_facts_are_events_of_the_schema() -> None:
    """They can be written as they are."""
    for fields in facts_of(record(rounds=2), HOST.target, spec(), GUIDE):
        check(Event(1, 0, TYPES["facts"].name, FIRST, fields))


def test_a_host_that_was_not_seen_has_no_facts() -> None:
    """Nothing is made up for it; one look is one fact."""
    seen = record(rounds=2)
    assert facts_of(without(seen, HOST.target, [0, 1]), HOST.target, spec(), GUIDE) == ()
    assert len(facts_of(without(seen, HOST.target, [1]), HOST.target, spec(), GUIDE)) == 1
