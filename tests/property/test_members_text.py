"""The list of an application set: members, or an `InputError`, whatever is in the file."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from hasync.files.members import Member, encode, parse
from hasync.files.tar import Kind, safe_target

FOLDER = Member("ngp", Kind.FOLDER, 0o755, 0, 0, "root", "root", 0)
NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
FILES = st.builds(
    Member,
    path=NAMES.map("ngp/{}".format),
    kind=st.just(Kind.FILE),
    mode=st.integers(0, 0o777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    user=NAMES,
    group=st.just(""),
    mtime_ns=st.integers(-(2**62), 2**62),
    size_bytes=st.integers(0, 2**62),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.lists(FILES, max_size=4, unique_by=lambda one: one.path))
def test_what_is_written_is_read(files: list[Member]) -> None:
    """All fields come back."""
    assert parse(encode([FOLDER, *files])) == (FOLDER, *files)


@given(st.binary(max_size=500))
def test_any_bytes_give_members_or_an_input_error(raw: bytes) -> None:
    """What is no list is refused in words."""
    with contextlib.suppress(InputError):
        parse(raw.splitlines(keepends=True))


@given(st.sampled_from(list(Member.__slots__)), JSON)
def test_any_value_in_any_field_gives_members_or_an_input_error(field: str, value: object) -> None:
    """A field of another type or range never gives any other exception."""
    (line,) = encode([FOLDER])
    changed = json.dumps(json.loads(line) | {field: value}).encode() + b"\n"

    with contextlib.suppress(InputError):
        (member,) = parse([changed])
        assert (member.kind, member.path.count("/")) == (Kind.FOLDER, 0)


@pytest.mark.parametrize(
    "paths",
    [("ngp/a",), ("ngp", "ngp"), ("ngp", "ngp/a/b"), ("ngp", "m2/a"), ("ngp", "ngp/x/../y")],
)
def test_a_member_needs_a_folder_before_it(paths: tuple[str, ...]) -> None:
    """Named twice, or below no folder of the list: refused, with the line."""
    lines = []
    for path in paths:
        found = json.loads(next(iter(encode([FOLDER]))))
        lines.append(json.dumps(found | {"path": path}).encode() + b"\n")

    with pytest.raises(InputError, match="line"):
        parse(lines)


@given(
    st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1, max_size=6).map("/".join),
    st.integers(0, 3),
)
def test_a_safe_target_never_leads_out(target: str, depth: int) -> None:
    """Followed component by component from a real folder, it stays below the root."""
    path = "/".join(["ngp", *["d"] * depth, "link"])
    if not safe_target(path, target):
        return
    place = ["ngp", *["d"] * depth]
    for part in target.split("/"):
        if part == "..":
            place.pop()
        else:
            place.append(part)
        assert place[:1] == ["ngp"]
