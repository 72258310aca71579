"""Manifests, paths, names and states of sets: a value or an InputError, never else."""

import json
import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.manifest import FileEntry, Files, canonical, parse_object, safe_path
from hasync.sets.backup import SetName, SetState, State
from hasync.sets.manifest import SetManifest, checked_id, checked_site

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
WORDS = st.text("abc.-_ é中/\\\n\0", max_size=12)
ENTRIES = st.builds(
    FileEntry, st.from_regex(r"[a-z]{1,6}(/[a-z]{7,9})?", fullmatch=True), st.integers(0, 9), HEX
)
FILES = st.lists(ENTRIES, unique_by=lambda entry: entry.path, max_size=6).map(
    lambda entries: Files.of(
        entry for entry in entries if entry.path.split("/")[0] not in _heads(entries, entry)
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("aé中\n", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


def _heads(entries: list[FileEntry], one: FileEntry) -> set[str]:
    return {entry.path for entry in entries if entry is not one}


MANIFESTS = st.builds(
    SetManifest,
    kind=st.sampled_from(["db", "app", "rp", "tail"]),
    site=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}", fullmatch=True),
    epoch=st.integers(0, 999_999),
    sequence=st.integers(1, 10**12 - 1),
    id=st.text("0123456789abcdef", min_size=32, max_size=32),
    parent=st.just(""),
    parent_hash=st.just(""),
    made_at_ns=st.integers(0, 253_402_300_799 * 10**9),
    snapshot_at_ns=st.integers(0, 253_402_300_799 * 10**9),
    tool=st.text(max_size=5).filter(lambda text: text.isprintable()),
    versions=st.dictionaries(st.text("ab"), st.text("1."), max_size=2),
    files=FILES.map(lambda files: files.entries),
    facts=st.dictionaries(st.text("ab"), JSON, max_size=3),
)


@given(MANIFESTS)
def test_manifest_comes_back_whole(manifest: SetManifest) -> None:
    """What was encoded parses to the same manifest, and its name is one of ours."""
    data = manifest.encode()

    assert SetManifest.parse(data) == manifest
    assert SetManifest.parse(data).encode() == data
    name = SetName.of(manifest)
    assert SetName.parse(name.text) == name


@given(MANIFESTS, st.data())
def test_manifest_with_one_changed_byte_is_another_or_none(
    manifest: SetManifest, draw: st.DataObject
) -> None:
    """No byte is without meaning: a change is refused, or gives another manifest."""
    data = bytearray(manifest.encode())
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))

    try:
        found = SetManifest.parse(bytes(data))
    except InputError:
        return
    assert found != manifest


@given(MANIFESTS, st.integers(0, 300))
def test_manifest_that_is_cut_is_refused(manifest: SetManifest, kept: int) -> None:
    """A part of a manifest is none, nor is one with a tail."""
    data = manifest.encode()

    with pytest.raises(InputError):
        SetManifest.parse(data[: min(kept, len(data) - 1)])
    with pytest.raises(InputError):
        SetManifest.parse(data + b"\n")


@given(MANIFESTS, st.data())
def test_manifest_with_a_strange_field_is_refused(
    manifest: SetManifest, draw: st.DataObject
) -> None:
    """Each field has its type and bounds, none may be missing, none may be added."""
    found: dict[str, Any] = json.loads(manifest.encode())
    key = draw.draw(st.sampled_from(sorted(found)))
    before = found[key]
    found[key] = draw.draw(JSON | st.lists(st.lists(JSON, max_size=4), max_size=3))
    try:
        again = SetManifest.parse(canonical(found))
    except InputError:
        pass
    else:
        assert json.loads(again.encode()) == found
    found[key] = before
    found["more"] = 1
    with pytest.raises(InputError):
        SetManifest.parse(canonical(found))
    del found["more"], found[key]
    with pytest.raises(InputError):
        SetManifest.parse(canonical(found))


@given(st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b"9" * 9999]))
def test_any_bytes_are_refused(data: bytes) -> None:
    """Bytes from anywhere never raise anything else, however deep or long."""
    for parse in (SetManifest.parse, SetState.parse):
        with pytest.raises(InputError):
            parse(data)
    with pytest.raises(InputError):
        parse_object(data + b"x", limit_bytes=1 << 20)


@pytest.mark.parametrize(
    "data", [b'{"a":1,"a":1}\n', b'{"a":NaN}\n', b'{"a": 1}\n', b'{"b":1,"a":1}\n', b'{"a":1}']
)
def test_object_in_another_spelling_is_refused(data: bytes) -> None:
    """Duplicate keys, NaN, spaces, another order, no newline: not canonical."""
    with pytest.raises(InputError):
        parse_object(data, limit_bytes=100)


@given(WORDS | st.text(max_size=20))
def test_safe_path_stays_below(text: str) -> None:
    """A path that is let through names something below any folder, on any day."""
    try:
        path = safe_path(text)
    except InputError:
        return
    joined = posixpath.normpath(posixpath.join("/base", path))
    assert joined == f"/base/{path}"
    assert path.isprintable() or not any(ord(letter) < 32 for letter in path)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "/", "/etc/passwd", "a//b", "a/", "a/./b", "a/../b", "../a", "a\\b"),
        *("a\nb", "a\0b", "\udcff", "a\u2028b", "a\x7fb", "x" * 256, "é" * 128, "a/" * 600 + "a"),
    ],
)
def test_unsafe_paths_are_refused(text: str) -> None:
    """Each way out of the folder, and each name that a log or a shell would mistake."""
    with pytest.raises(InputError):
        safe_path(text)
    with pytest.raises(InputError):
        FileEntry(text, 0, "0" * 64)


@given(st.text("e0123456789-sTZabcdef.\n", max_size=50))
def test_set_name_is_ours_or_refused(text: str) -> None:
    """A name that parses is written back the same."""
    try:
        name = SetName.parse(text)
    except InputError:
        return
    assert name.text == text


@given(
    st.integers(0, 999_999),
    st.integers(1, 10**12 - 1),
    st.datetimes().map(lambda at: f"{at.year:04d}{at:%m%dT%H%M%SZ}"),
    st.text("0123456789abcdef", min_size=8, max_size=8),
    st.sampled_from(["", "\n", " ", "0", "-x", "/.."]),
)
def test_set_name_comes_back(
    epoch: int, sequence: int, made_at_utc: str, id8: str, tail: str
) -> None:
    """A name comes back from its text, and never with a tail."""
    name = SetName(epoch, sequence, made_at_utc, id8)

    assert SetName.parse(name.text) == name
    if tail:
        with pytest.raises(InputError):
            SetName.parse(name.text + tail)


@given(
    st.sampled_from(State),
    st.integers(0, 99),
    st.text("aé\n", max_size=9),
    st.booleans(),
    st.dictionaries(st.text("ab"), JSON, max_size=3),
)
def test_state_comes_back(
    state: State, attempts: int, why: str, pinned: bool, measurements: dict[str, Any]
) -> None:
    """A state comes back with the name of the set that it is about."""
    name = SetName(3, 41, "20261122T184100Z", "1a2b3c4d")
    known = SetState(state, attempts, why, 7, pinned, why, measurements)

    assert SetState.parse(known.encode(name)) == (known, name)


@given(st.text(max_size=40))
def test_site_and_id_are_plain_words(text: str) -> None:
    """A site's name and an id can be folders: no dot, no slash, nothing that is not ASCII."""
    for check in (checked_site, checked_id):
        try:
            word = check(text)
        except InputError:
            continue
        assert word.isascii()
        assert word.replace("-", "").replace("_", "").isalnum()
