"""The edge that goes on with a run: its folder read and checked first, then locked and opened."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from fst.boxes import Boxes
from fst.resume import RESUMED, Began, Key, began, half_done, is_left, verdicts
from fst.resume import refuse_other as refuse
from fst.run_folder import PROFILES, SITE, RunFolder
from harness.clock import Clock
from harness.errors import InputError
from harness.finding import Outcome
from harness.journal import Event
from harness.journal_file import check_anchor, read_torn


class GoingOn:
    """A run that is there already; nothing of it is touched before `reopen`."""

    def __init__(self, path: Path, events: tuple[Event, ...], known: Began) -> None:
        """Keep what `read` found."""
        self.path, self.events, self.began = path, events, known

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the run in the folder *path*, its journal's chain and anchor checked.

        Raises:
            InputError: no run is there; its journal was edited, cut, or written by a newer program.
        """
        events, _ = read_torn(path)
        known = began(events, file=str(path))
        check_anchor(events, path)
        return cls(path, events, known)

    @property
    def site_file(self) -> Path:
        """Return the copy of the site file that the run keeps.

        Raises:
            InputError: an older program began the run, and kept none.
        """
        kept = self.path / SITE
        if not kept.is_file():
            fix = f"name {self.began.site_file}, with which it began"
            raise InputError("the run keeps no site file", field="--site", fix=fix)
        return kept

    @property
    def profiles(self) -> Path:
        """Return where the run keeps the SBC profiles that its site file names."""
        return self.path / PROFILES

    @property
    def site_folder(self) -> Path:
        """Return below which folder the site file's other files lie."""
        return self.path / self.began.site_folder

    @cached_property
    def boxes(self) -> Boxes:
        """Return the boxes that were tried."""
        return Boxes.fold(self.events, reading=True)

    @cached_property
    def verdicts(self) -> dict[Key, Outcome]:
        """Return the verdict of each box that has one."""
        return verdicts(self.boxes, self.began.by_people)

    @property
    def is_closed(self) -> bool:
        """Say whether the run came to its end, and no attempt is half-done."""
        return self.events[-1].type == "run.end" and not self.boxes.still_open

    def is_left(self, key: Key, *, named: bool = False) -> bool:
        """Say whether a box that the run selected, or that is *named* now, has no verdict yet."""
        return is_left(key, self.verdicts, None if named else self.began.selected)

    def refuse_other(self, site: Path, settings: Sequence[str], plan_sha256: str) -> None:
        """Refuse another site file, other settings or another plan than the run began with."""
        try:
            content = site.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=str(site)) from error
        sha256 = hashlib.sha256(content).hexdigest()
        self._refuse_changed_profiles()
        refuse(
            self.began,
            site=str(site),
            site_sha256=sha256,
            settings=settings,
            plan_sha256=plan_sha256,
        )

    def _refuse_changed_profiles(self) -> None:
        """Refuse a kept SBC profile that is not the one that the run began with."""
        known = self.events[0].fields["site"]
        for name, sha256 in dict(known.get("profiles", {})).items():
            kept = self.profiles / name
            try:
                found = hashlib.sha256(kept.read_bytes()).hexdigest()
            except OSError as error:
                raise InputError(f"cannot be read: {error.strerror}", file=str(kept)) from error
            if found != sha256:
                why = "not the profile that the run began with"
                raise InputError(why, file=str(kept), field="sha256", value=found[:12])

    def reopen(self, clock: Clock, resumed: dict[str, Any] | None = None) -> RunFolder:
        """Return the folder, locked, with each half-done attempt ended; *resumed*: as an event.

        Raises:
            InputError: another process has the run, or wrote into it since it was read.
        """
        folder = RunFolder.reopen(self.path, clock)
        known = len(self.events)
        if [event.type for event in folder.journal.events[known:]] not in (
            [],
            ["journal.repaired"],
        ):
            folder.close()
            fix = "look at it again"
            raise InputError("the run went on meanwhile", file=str(self.path), fix=fix)
        if resumed is not None:
            folder.journal.append(RESUMED, pid=os.getpid(), **resumed)
        for one in half_done(self.boxes, self.began.by_people):
            how = {} if one.judged else {"interrupted": True}
            folder.journal.append("attempt.end", step=one.step, target=one.target, **how)
        return folder
