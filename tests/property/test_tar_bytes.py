"""The tar reader and writer against Python's own tarfile, and against every kind of damage."""

import contextlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError, WireError
from hasync.files.tar import END, Header, Kind, Reader, encode, padding

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=40)
PATHS = (
    st.lists(NAMES, min_size=1, max_size=8)
    .map("/".join)
    .filter(lambda path: not path.endswith("/"))
)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
IDS = st.sampled_from([0, 1000, 2_097_151, 2_097_152, 2**31])
MTIMES = st.sampled_from([0, 1_700_000_000, 2**33, 2**34, -1])
FILES = st.tuples(
    st.builds(
        Header,
        path=PATHS,
        kind=st.just(Kind.FILE),
        mode=st.integers(0, 0o777),
        mtime_s=MTIMES,
        uid=IDS,
        gid=IDS,
        user=WORDS,
        group=WORDS,
    ),
    st.binary(max_size=1500),
)
OTHERS = st.tuples(
    st.one_of(
        st.builds(Header, path=PATHS, kind=st.just(Kind.FOLDER), mode=st.just(0o750)),
        st.builds(
            Header,
            path=PATHS,
            kind=st.just(Kind.LINK),
            mode=st.just(0o777),
            target=PATHS,
        ),
    ),
    st.just(b""),
)
Member = tuple[Header, bytes]
MEMBERS = st.lists(st.one_of(FILES, OTHERS), max_size=5).map(
    lambda found: [(replace(header, size_bytes=len(content)), content) for header, content in found]
)


def packed(members: list[Member]) -> bytes:
    return (
        b"".join(encode(header) + content + padding(len(content)) for header, content in members)
        + END
    )


def all_of(read: Callable[[int], bytes]) -> list[Member]:
    """Return what the reader finds."""
    reader = Reader(read)
    found = []
    while (header := reader.next()) is not None:
        found.append((header, b"".join(reader.content())))
    return found


@given(MEMBERS)
def test_what_is_written_is_read(members: list[Member]) -> None:
    """All fields and the content come back, whatever names, owners and times they have."""
    assert all_of(io.BytesIO(packed(members)).read) == members


@given(MEMBERS)
def test_short_reads_change_nothing(members: list[Member]) -> None:
    """A pipe that gives one byte at a time gives the same members."""
    stream = io.BytesIO(packed(members))

    assert all_of(lambda size: stream.read(min(size, 1))) == members


@given(MEMBERS)
def test_tarfile_reads_what_we_write(members: list[Member]) -> None:
    """Python's tarfile finds the same names, kinds, owners, times and content."""
    with tarfile.open(fileobj=io.BytesIO(packed(members)), mode="r:") as archive:
        for info, (header, content) in zip(archive.getmembers(), members, strict=True):
            kinds = {
                Kind.FILE: info.isreg(),
                Kind.FOLDER: info.isdir(),
                Kind.LINK: info.issym(),
            }
            assert kinds[header.kind]
            assert (info.name, info.mode, info.uid, info.gid, info.uname, info.gname) == (
                header.path, header.mode, header.uid, header.gid, header.user, header.group,
            )  # fmt: skip
            assert (info.mtime, info.linkname) == (header.mtime_s, header.target)
            stream = archive.extractfile(info) if info.isreg() else None
            assert (stream.read() if stream else b"") == content


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@given(
    st.lists(
        st.tuples(
            st.text("abé/", min_size=1, max_size=200)
            .map(lambda text: text.replace("//", "/a/").replace("//", "/b/").strip("/"))
            .filter(lambda text: text and "//" not in text),
            st.binary(max_size=600),
        ),
        max_size=4,
    )
)
def test_we_read_what_tarfile_writes(form: int, files: list[tuple[str, bytes]]) -> None:
    """Names and content of all three formats of tarfile arrive."""
    stream = io.BytesIO()
    wanted = []
    with tarfile.open(fileobj=stream, mode="w:", format=form) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            try:
                archive.addfile(info, io.BytesIO(content))
            except ValueError:
                continue  # ustar has no room for such a name
            wanted.append((name, content))

    found = all_of(io.BytesIO(stream.getvalue()).read)

    assert [(header.path, content) for header, content in found] == wanted


@given(MEMBERS, st.data())
def test_a_cut_archive_is_refused(members: list[Member], data: st.DataObject) -> None:
    """Wherever the archive ends too early, it is told."""
    whole = packed(members)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]

    with pytest.raises(WireError):
        all_of(io.BytesIO(cut).read)


@given(MEMBERS, st.binary(min_size=1, max_size=600))
def test_a_tail_that_is_not_padding_is_refused(members: list[Member], tail: bytes) -> None:
    """Zeros may follow the end; anything else is a second archive, or an attack."""
    whole = packed(members)

    if any(tail):
        with pytest.raises(WireError):
            all_of(io.BytesIO(whole + tail).read)
    else:
        assert all_of(io.BytesIO(whole + tail).read) == members


@given(MEMBERS, st.data())
def test_any_damage_gives_members_or_an_input_error(
    members: list[Member], data: st.DataObject
) -> None:
    """A changed byte never gives any other exception, nor a member that never ends."""
    whole = bytearray(packed(members))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))

    try:
        found = all_of(io.BytesIO(bytes(whole)).read)
    except InputError:
        return
    assert sum(len(content) for _, content in found) <= len(whole)


@given(st.binary(max_size=3000))
def test_any_bytes_give_members_or_an_input_error(raw: bytes) -> None:
    """Bytes that are no archive at all are refused in words."""
    with contextlib.suppress(InputError):
        all_of(io.BytesIO(raw).read)


def test_a_header_that_claims_gigabytes_takes_no_memory() -> None:
    """An extended header of 8 GB is refused by its size, before a byte of it is read."""
    pax = bytearray(encode(Header("x" * 120, Kind.FILE, 0o600)))
    pax[124:136] = b"%011o\0" % (8**11 - 1)
    pax[148:156] = b" " * 8
    pax[148:156] = b"%06o\0 " % sum(pax[:512])

    with pytest.raises(WireError, match="more than 1048576 bytes"):
        all_of(io.BytesIO(bytes(pax)).read)
