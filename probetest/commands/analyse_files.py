"""Files that `probetest analyse` writes beside its views: Parquet for other engines, and a page.

A file that is there is never touched, and one that cannot be written whole is taken away again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.dataset_frames import (
    call_frame,
    parquet,
    port_frame,
    rtcp_frame,
    stream_frame,
    waterfall_frame,
)
from harness.errors import InputError, ToolError
from harness.records import legible
from harness.view_page import render
from harness.views import Table
from probetest.calls.waterfall import Step
from probetest.commands.new_files import TABLES, refuse_taken
from probetest.dataset import TapData


def write_parquet(folder: Path, taps: Sequence[TapData]) -> None:
    """Write the dataset for other engines.

    Raises:
        InputError: the folder cannot be made, or a file is there already.
        ToolError: a file cannot be written whole.
    """
    refuse_taken(folder, None)  # before the first is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", file=str(folder)) from error
    steps = (
        (tap.device, at_ns, Step(step).field)
        for tap in taps
        for at_ns, step in zip(tap.invites.at_ns, tap.invites.step, strict=True)
    )
    frames = {
        "calls": call_frame(one for tap in taps for one in tap.calls),
        "streams": stream_frame(one for tap in taps for one in tap.streams),
        "rtcp": rtcp_frame(one for tap in taps for one in tap.rtcp),
        "ports": port_frame(one for tap in taps for one in tap.ports),
        "waterfall": waterfall_frame(steps),
    }
    is_whole = False
    written: list[Path] = []
    try:
        for name in TABLES:
            path = folder / f"{name}.parquet"
            write_new(path, parquet(name, frames[name]))
            written.append(path)
        is_whole = True
    finally:
        if not is_whole:  # some tables alone would be taken for a dataset, and be in the way
            for path in written:
                path.unlink()


def write_page(path: Path, files: Mapping[str, Sequence[str]], tables: Sequence[Table]) -> None:
    """Write all views as one page.

    Raises:
        InputError: the file is there already.
        ToolError: it cannot be written whole.
    """
    facts = [(name, legible(", ".join(captures))) for name, captures in files.items()]
    write_new(path, render("What the taps saw", facts, tables).encode())


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet.

    Raises:
        InputError: it is.
        ToolError: it cannot be written whole.
    """
    try:
        with path.open("xb") as out:
            is_whole = False
            try:
                out.write(content)
                out.flush()
                is_whole = True
            finally:
                if not is_whole:  # Ctrl-C too: half a file would be taken for a whole one
                    path.unlink()
    except FileExistsError as error:
        raise InputError("not written: File exists", file=str(path)) from error
    except OSError as error:
        raise ToolError(f"{path}: not written: {error.strerror}") from error
