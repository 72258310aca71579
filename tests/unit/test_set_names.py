"""Names, order, states and back-off of sets."""

from dataclasses import replace

import pytest

from harness.errors import InputError
from harness.manifest import FileEntry
from hasync.sets.backup import (
    Catalogue,
    Kind,
    SetName,
    SetState,
    State,
    StoredSet,
    legacy,
    may_retry,
    newest,
)
from hasync.sets.manifest import SetManifest

MINUTE_NS = 60 * 10**9
VERIFIED = SetState(State.VERIFIED)


def stored(epoch: int, sequence: int, state: SetState = VERIFIED, utc_ns: int = 0) -> StoredSet:
    manifest = SetManifest(
        kind="db",
        site="east",
        epoch=epoch,
        sequence=sequence,
        id=f"{epoch:08x}{sequence:024x}",
        parent="",
        parent_hash="",
        made_at_ns=utc_ns,
        snapshot_at_ns=utc_ns,
        tool="test",
        versions={},
        files=(FileEntry("toc.dat", 5, "0" * 64),),
        facts={},
    )
    return replace(StoredSet.of(manifest), state=state)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "e3-s41-20261122T184100Z-1a2b3c4d",
        "e000003-s000000041-20261122T184100Z-1a2b3c4d",
        "e000003-s00000000-20261122T184100Z-1a2b3c4d",
        "e000003-s00000041-20261322T184100Z-1a2b3c4d",
        "e000003-s00000041-20261122T246100Z-1a2b3c4d",
        "e000003-s00000041-20261122T184100Z-1A2B3C4D",
        "e\u0660\u0660\u0660\u0660\u0660\u0663-s00000041-20261122T184100Z-1a2b3c4d",
        "e000003-s00000041-20261122T184100Z-1a2b3c4d\n",
        "e000003-s00000041-20261122T184100Z-1a2b3c4d.tgz",
        "../e000003-s00000041-20261122T184100Z-1a2b3c4d",
    ],
)
def test_name_in_another_form_is_foreign(text: str) -> None:
    """Only what we would write ourselves is a set's name."""
    with pytest.raises(InputError):
        SetName.parse(text)


def test_order_is_epoch_then_sequence() -> None:
    """A set made while the clock was seven years ahead is not newer than its successor."""
    future, later, promoted = (
        stored(3, 7, utc_ns=2_000_000_000 * 10**9),
        stored(3, 8),
        stored(4, 2),
    )

    assert newest([future, later]) == later
    assert newest([promoted, later, future]) == promoted
    assert newest([promoted, later], newer_than=promoted.order) is None
    assert newest([future, later], newer_than=future.order) == later


@pytest.mark.parametrize("state", [State.NEW, State.FAILED, State.CORRUPT])
def test_only_proved_sets_are_taken(state: State) -> None:
    """A set that is new, corrupt or failed gives way to the older proved one."""
    assert newest([stored(3, 1), stored(3, 2, SetState(state, 1))]) == stored(3, 1)


def test_held_set_is_not_taken() -> None:
    """A set that was rolled back is left alone until a person lets it go."""
    held = SetState(State.RESTORED, held="rolled back")

    assert newest([stored(3, 1), stored(3, 2, held)]) == stored(3, 1)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 360), (1000, 360)]
)
def test_failed_set_is_due_after_back_off(attempts: int, minutes: int) -> None:
    """The wait doubles up to six hours; then the set is tried again, for ever."""
    at_ns = 10**18
    failed = SetState(State.FAILED, attempts, at_ns=at_ns)

    assert not may_retry(failed, at_ns + minutes * MINUTE_NS - 1)
    assert may_retry(failed, at_ns + minutes * MINUTE_NS)
    assert newest([stored(3, 2, failed)], now_ns=at_ns + minutes * MINUTE_NS) is not None
    assert newest([stored(3, 2, failed)], now_ns=at_ns) is None


def test_clock_that_went_back_never_blocks() -> None:
    """A failure in the future is due at once."""
    assert may_retry(SetState(State.FAILED, 3, at_ns=2 * 10**18), 10**18)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pgbackup.20150131060000.tgz", True),
        ("ngpbackup.20150131060000.tgz", True),
        ("ngpbackup20150131.tgz", True),
        ("pgbackup.2015013106000.tgz", False),
        ("pgbackup_old.tgz", False),
        ("before-upgrade.tgz", False),
        ("pgbackup.20150131060000.tgz\n", False),
        ("ngpbackup/../x.tgz", False),
    ],
)
def test_old_scripts_files_are_known(name: str, expected: bool) -> None:
    """Names of the scripts that came before, and only these, are legacy."""
    assert legacy(name) is expected


def test_person_finds_a_set_by_any_of_its_names() -> None:
    """Id, first eight digits or name; two that fit are refused, as is none."""
    one, other, third = stored(3, 1), stored(3, 2), stored(4, 1)
    catalogue = Catalogue((one, other, third))

    assert catalogue.find(one.id) == one
    assert catalogue.find(other.name.text) == other
    assert catalogue.find(third.name.id8) == third
    with pytest.raises(InputError, match="more than one"):
        catalogue.find(one.name.id8)
    with pytest.raises(InputError, match="no such set"):
        catalogue.find("")
    assert catalogue.of(Kind.DATABASE, "east") == (one, other, third)
    assert catalogue.of(Kind.DATABASE, "west") == catalogue.of(Kind.TAIL) == ()
    assert catalogue.by_id(one.id) == one
    assert catalogue.by_id("") is None


@pytest.mark.parametrize("change", [{"parent": "0" * 32}, {"parent_hash": "0" * 64}])
def test_parent_and_its_hash_go_together(change: dict[str, str]) -> None:
    """A link to a parent without its hash proves nothing."""
    manifest = stored(3, 1).manifest
    assert manifest is not None

    with pytest.raises(InputError):
        replace(manifest, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "dump"},
        {"site": ""},
        {"site": ".."},
        {"id": "A" * 32},
        {"sequence": 0},
        {"epoch": -1},
        {"epoch": True},
        {"made_at_ns": -1},
        {"files": (FileEntry(".hasync-partial/toc.dat", 0, "0" * 64),)},
    ],
)
def test_manifest_out_of_bounds_cannot_exist(change: dict[str, object]) -> None:
    """Each field is checked when a manifest is made, not only when one is read."""
    manifest = stored(3, 1).manifest
    assert manifest is not None

    with pytest.raises(InputError):
        replace(manifest, **change)  # type: ignore[arg-type] # wrong on purpose
