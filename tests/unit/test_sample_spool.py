"""The file of samples: what was kept is read again, what was cut is cut off, what is odd named."""

import re
from pathlib import Path

import pytest

from fst.sample_spool import NAME, SampleSpool
from harness.errors import InputError
from tests.fake_hosts import STARTED_NS, record

HISTORY = record(rounds=3)


def read_again(path: Path) -> SampleSpool:
    """Return a spool that was read, and is closed."""
    spool = SampleSpool(path)
    spool.close()
    return spool


def filled(folder: Path) -> Path:
    path = folder / NAME
    spool = SampleSpool(path)
    for sample in HISTORY.once[:6]:
        spool.add(sample, once=True)
    spool.began(STARTED_NS)
    for sample in HISTORY.samples:
        spool.add(sample)
    spool.sync()
    spool.close()
    return path


def test_spool_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    """All samples, and when the watch began; each text stands in the file once."""
    again = read_again(filled(tmp_path)).earlier(77)

    assert again is not None
    assert (again.started_ns, again.since_ns) == (STARTED_NS, 77)
    assert again.samples == HISTORY.samples
    assert again.once == HISTORY.once[:6]
    keys = re.findall(rb'"([0-9a-f]{64})":', (tmp_path / NAME).read_bytes())
    assert len(keys) == len(set(keys))


def test_line_that_was_being_written_is_cut_off(tmp_path: Path) -> None:
    """Cut anywhere in its last line, the rest is whole and can be written to."""
    path = filled(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-5])

    spool = SampleSpool(path)
    spool.add(HISTORY.samples[-1])
    spool.close()

    assert read_again(path).samples == list(HISTORY.samples)


def test_spool_of_a_watch_that_never_began_has_nothing_to_go_on_from(tmp_path: Path) -> None:
    """Without its zero the shared clock can't run on."""
    assert read_again(tmp_path / NAME).earlier(0) is None


@pytest.mark.parametrize("line", [b"{}\n", b"[1]\n", b'{"round": {}}\n', b"\xff\n", b'"x"\n'])
def test_line_that_is_no_sample_is_named(tmp_path: Path, line: bytes) -> None:
    """The file and the line, whatever it holds."""
    path = filled(tmp_path)
    path.write_bytes(line + path.read_bytes())

    with pytest.raises(InputError, match="line 1"):
        SampleSpool(path)


def test_text_that_was_changed_is_named(tmp_path: Path) -> None:
    """Each text is known by its hash."""
    path = filled(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"all is well", b"all is hell"))

    with pytest.raises(InputError, match="not the text that was recorded"):
        SampleSpool(path)


def test_latest_spool_is_found_by_its_number(tmp_path: Path) -> None:
    """The tenth comes after the ninth."""
    for name in ("hosts-samples.jsonl", "hosts-samples-9.jsonl", "hosts-samples-10.jsonl"):
        SampleSpool(tmp_path / name).close()

    found = SampleSpool.latest(tmp_path)

    assert found is not None
    found.close()
    assert found.path.name == "hosts-samples-10.jsonl"
    assert SampleSpool.latest(tmp_path / "captures") is None
