"""The edge of the reports: puts them into the run's folder, each whole or not at all."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from fst.report import html, junit, results
from fst.report.model import build
from harness.errors import ToolError
from harness.journal import Event

HTML, JUNIT, RESULTS = "report.html", "junit.xml", "results.json"


def write_reports(run_dir: Path, events: Iterable[Event]) -> tuple[Path, ...]:
    """Return the paths of report.html, junit.xml and results.json, now on the disk in *run_dir*.

    Raises:
        InputError: the events are not a run's journal.
        ToolError: the folder or the disk does not take them.
    """
    report = build(events)
    found = json.dumps(results.render(report), ensure_ascii=False, indent=1, allow_nan=False)
    texts = {HTML: html.render(report), JUNIT: junit.render(report), RESULTS: found + "\n"}
    return tuple(_put(run_dir / name, text.encode("utf-8")) for name, text in texts.items())


def _put(path: Path, content: bytes) -> Path:
    """Replace *path* in one step, so that a reader never sees half of it."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ToolError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, as the bytes already do."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
