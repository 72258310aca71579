"""Lists of files and how two of them differ."""

import pytest

from harness.errors import InputError
from harness.manifest import FileEntry, Files, canonical, differences, parse_object, shortened

ZERO, ONE = "0" * 64, "1" * 64


def test_differences_name_each_kind() -> None:
    """Missing, resized, changed and added files are told apart."""
    wanted = [FileEntry(name, 5, ZERO) for name in ("gone", "longer", "other", "same")]
    found = [
        FileEntry("longer", 6, ZERO),
        FileEntry("new", 5, ZERO),
        FileEntry("other", 5, ONE),
        FileEntry("same", 5, ZERO),
    ]

    assert differences(wanted, found) == (
        "gone: missing",
        "longer: 6 bytes, not 5",
        "other: content changed (SHA-256)",
        "new: not in the manifest",
    )


def test_many_differences_are_counted() -> None:
    """A set of which all files are gone gives no page of them."""
    told = differences([FileEntry(f"{number}", 0, ZERO) for number in range(5000)], [])

    assert len(told) == 21
    assert told[-1] == "and 4980 more"
    assert shortened(["one"]) == ("one",)


@pytest.mark.parametrize(
    "paths", [("b", "a"), ("a", "a"), ("a", "a/b"), ("a", "a-b", "a/b/c"), ("a/b", "a/b/c")]
)
def test_files_are_in_order_and_apart(paths: tuple[str, ...]) -> None:
    """No path twice, none out of order, no file that is also a folder."""
    with pytest.raises(InputError):
        Files(tuple(FileEntry(path, 0, ZERO) for path in paths))


@pytest.mark.parametrize("size", [-1, 1 << 63])
def test_size_is_one_of_a_file(size: int) -> None:
    """A size is neither negative nor beyond any file system."""
    with pytest.raises(InputError):
        FileEntry("a", size, ZERO)


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"])
def test_hash_is_lower_hex(digest: str) -> None:
    """One spelling of a hash, so that equal files have equal entries."""
    with pytest.raises(InputError):
        FileEntry("a", 0, digest)


@pytest.mark.parametrize(
    "found",
    [None, {}, "a", [1], [["a", 0]], [["a", True, ZERO]], [["a", "0", ZERO]], [["a", 0.0, ZERO]]],
)
def test_list_of_anything_else_is_refused(found: object) -> None:
    """Each entry is exactly path, size and hash, each of its type."""
    with pytest.raises(InputError):
        Files.parse(found)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": {1}}, "\udc80", {"a": "\ud800"}])
def test_value_that_is_no_json_is_refused(value: object) -> None:
    """What cannot be read back is not written."""
    with pytest.raises(InputError):
        canonical(value)


def test_object_longer_than_allowed_is_refused() -> None:
    """The bound is looked at before the text is parsed."""
    with pytest.raises(InputError, match="longer than 10 bytes"):
        parse_object(canonical({"a": "x" * 20}), limit_bytes=10)
