"""state/status.json never says more than is true."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from hasync.commands.record import RunRecord, began, encode, ended, parse


def run(before: dict[str, RunRecord], code: int, at_ns: int = 100) -> dict[str, RunRecord]:
    """Return the record after one more run of pgsync."""
    on = began(before, "pgsync", 7, at_ns)
    return ended(on, "pgsync", at_ns=at_ns + 9, took_s=9e-9, exit_code=code, why="w", facts={})


def test_success_counts_from_its_end() -> None:
    """A success sets the failures to 0 and is the last success."""
    record = run(run({}, 2), 0, 200)["pgsync"]

    assert record.ok
    assert (record.failures, record.last_ok_at_ns) == (0, 209)


def test_failures_in_row_are_counted() -> None:
    """The last success stays known while failures follow it."""
    record = run(run(run({}, 0), 14, 200), 2, 300)["pgsync"]

    assert not record.ok
    assert (record.failures, record.last_ok_at_ns, record.exit_code) == (2, 109, 2)


def test_killed_run_leaves_no_success() -> None:
    """A run that never ended stays on record as running, which is not ok."""
    record = began(run({}, 0), "pgsync", 8, 200)["pgsync"]

    assert record.running
    assert not record.ok


def test_killed_runs_count_as_failures() -> None:
    """Ten kills in row are as bad as ten failures."""
    runs: dict[str, RunRecord] = {}
    for _ in range(10):
        runs = began(runs, "pgsync", 8, 200)

    assert run(runs, 2)["pgsync"].failures == 11


def test_commands_do_not_touch_each_other() -> None:
    """A restore by hand does not hide that the nightly run failed."""
    runs = began(run({}, 2), "hasync restore", 9, 300)

    assert runs["pgsync"].exit_code == 2


def test_written_record_reads_back() -> None:
    """Encode and parse are a pair."""
    runs = began(run({}, 14), "ngpsync", 9, 300)

    assert parse(encode(runs), "status.json") == runs


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_a_record_or_refused(content: bytes) -> None:
    """A torn or foreign file is an InputError and nothing else."""
    with contextlib.suppress(InputError):
        assert parse(content, "status.json") == {}


@pytest.mark.parametrize(
    "change", [(b'"pid": 7', b'"pid": "7"'), (b'"pid": 7,', b""), (b'"pid": 7', b'"pod": 7')]
)
def test_record_with_other_fields_is_refused(change: tuple[bytes, bytes]) -> None:
    """Each field must be there, of its type, and no other."""
    with pytest.raises(InputError):
        parse(encode(run({}, 0)).replace(*change), "status.json")


def test_killed_run_of_another_command_is_settled() -> None:
    """Whoever holds the lock next puts it on record: it does not run, it failed."""
    runs = began(began({}, "hasync restore", 7, 100), "pgsync", 8, 200)

    killed = runs["hasync restore"]
    assert (killed.running, killed.exit_code, killed.failures) == (False, 137, 1)
    assert runs["pgsync"].running
