"""The edge that keeps samples as they come, so that a watch can go on after its program was killed.

One JSON value a line: samples with those texts that no line before had. What ends in the middle of
a line was being written when the program ended; it is cut off, and that sample is lost.
"""

import json
import os
from pathlib import Path
from typing import Any, Self

from fst.host_history import Sample, parse_sample, sample_json, texts_of
from fst.host_watch import Earlier
from harness.errors import InputError, ToolError

NAME = "hosts-samples.jsonl"


class SampleSpool:
    """A file of samples, open for more; what is in it already is read first."""

    def __init__(self, path: Path) -> None:
        """Open *path*, or make it.

        Raises:
            InputError: it holds something else.
            ToolError: it can't be opened.
        """
        self.path = path
        self.started_ns: int | None = None  # wall time of the watch's beginning
        self.samples: list[Sample] = []
        self.once: list[Sample] = []
        self.is_whole = False  # nothing more belongs to it
        self._texts: dict[str, str] = {}  # that are in the file; only the names matter
        try:
            self._file = path.open("ab+")
            self._file.seek(0)
            content = self._file.read()
        except OSError as error:
            raise ToolError(f"{path}: {error.strerror}") from error
        try:
            self._read(content)
        except InputError:
            self._file.close()
            raise

    @classmethod
    def latest(cls, folder: Path) -> Self | None:
        """Return the spool that was last written to in *folder*; None: there is none."""
        stem, _, suffix = NAME.partition(".")
        found = list(folder.glob(f"{stem}*.{suffix}"))
        return cls(max(found, key=lambda path: (len(path.name), path.name))) if found else None

    def _read(self, content: bytes) -> None:
        whole, _, torn = content.rpartition(b"\n")
        if torn:
            self._file.truncate(len(content) - len(torn))
        known: dict[str, bytes] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self._take(json.loads(line), known)
            except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
                place = f"line {number}"
                raise InputError(
                    f"not a sample ({error})", file=str(self.path), field=place
                ) from error
        self._texts = dict.fromkeys(known, "")

    def _take(self, found: dict[str, Any], known: dict[str, bytes]) -> None:
        known |= texts_of(found.get("texts", {}))
        if "began" in found:
            self.started_ns = int(found["began"])
        elif "once" in found:
            self.once.append(parse_sample(found["once"], known))
        elif "round" in found:
            self.samples.append(parse_sample(found["round"], known))
        else:
            self.is_whole = bool(found["whole"])

    def earlier(self, since_ns: int) -> Earlier | None:
        """Return what a watch goes on from, now at *since_ns*; None: it never began."""
        if self.started_ns is None:
            return None
        return Earlier(self.started_ns, since_ns, tuple(self.samples), tuple(self.once))

    def began(self, started_ns: int) -> None:
        """Keep when the watch began."""
        self._write({"began": started_ns})

    def add(self, sample: Sample, *, once: bool = False) -> None:
        """Keep a sample."""
        fresh: dict[str, str] = {}
        row = sample_json(sample, fresh)
        new = {name: text for name, text in fresh.items() if name not in self._texts}
        self._texts |= dict.fromkeys(new, "")
        self._write({"once" if once else "round": row, "texts": new})

    def end(self) -> None:
        """Say that nothing more belongs to it."""
        self._write({"whole": True})

    def sync(self) -> None:
        """Return when all of it is on the disk.

        Raises:
            ToolError: the disk did not take it.
        """
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise ToolError(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; may be called again."""
        self._file.close()

    def _write(self, row: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise ToolError(f"{self.path}: {error.strerror}") from error
