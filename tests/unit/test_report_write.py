"""The edge: files in the run's folder, whole or not at all."""

import json
from pathlib import Path

import pytest

from fst.report.write import write_reports
from harness.errors import InputError, ToolError
from tests.unit.test_report_sample import sample


def test_writes_three_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    """The paths returned are all that is new in the folder."""
    written = write_reports(tmp_path, sample())
    assert [path.name for path in written] == ["report.html", "junit.xml", "results.json"]
    assert set(tmp_path.iterdir()) == set(written)
    assert json.loads(written[2].read_text("utf-8"))["overall"] == "FAIL"


def test_same_journal_gives_the_same_files(tmp_path: Path) -> None:
    """Reports made again, over the old ones, are the same to the byte."""
    first = [path.read_bytes() for path in write_reports(tmp_path, sample())]
    assert [path.read_bytes() for path in write_reports(tmp_path, sample())] == first


def test_broken_journal_leaves_the_old_reports(tmp_path: Path) -> None:
    """Nothing is written before everything could be made."""
    write_reports(tmp_path, sample())
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(InputError):
        write_reports(tmp_path, [])
    assert (tmp_path / "report.html").read_bytes() == before


def test_missing_folder_is_the_tools_trouble(tmp_path: Path) -> None:
    """A folder that is not there is told with its path."""
    with pytest.raises(ToolError, match=r"gone/report\.html: cannot be written"):
        write_reports(tmp_path / "gone", sample())


def test_failed_replace_leaves_no_part(tmp_path: Path) -> None:
    """When the name is taken by a folder, the half-made file is taken away again."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ToolError):
        write_reports(tmp_path, sample())
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
