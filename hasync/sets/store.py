"""The edge to the catalogue: sets/<kind>/<site>/<name>/, each set whole or not there at all.

    work/<id>.part ──publish──┐                       ┌── VERIFIED ── RESTORED
                              ├─▶ sets/… (NEW) ─verify┤              └ FAILED(n)
    inbox/<id>.part ─receive──┘                       └── CORRUPT

Laws: one rename makes a set visible, after every byte of it was flushed; what is known of a set
lies outside it and may be lost; nothing that is not ours by its strict name is ever touched.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.clock import Clock
from harness.errors import HarnessError, InputError
from harness.manifest import canonical, parse_object
from harness.signature import SignatureError, sign
from hasync.durable import create, make_folder, read, remove_tree, rename, sync_tree, write
from hasync.failure import Exit, Stop
from hasync.lock import held
from hasync.sets.backup import (
    MAX_SEQUENCE,
    Catalogue,
    Kind,
    SetState,
    State,
    StoredSet,
    lies_right,
)
from hasync.sets.draft import Draft
from hasync.sets.inbox import Inbox
from hasync.sets.manifest import MAX_BYTES, NAMESPACE, SetManifest, checked_id, checked_site
from hasync.sets.scan import Scanner
from hasync.sets.set_folder import (
    MANIFEST,
    SIGNATURE,
    Found,
    NotWholeError,
    authenticate,
    check,
    survey,
)
from hasync.sets.set_states import States
from hasync.sets.sweep import sweep
from hasync.settings import Folders, Signing

TOOL = "hasync 1"
_SEQUENCE_BYTES = 4096  # of state/sequence.json
_REFUSED = (NotWholeError, SignatureError)  # by what a set is; other errors tell nothing of it
_PURPOSE = re.compile(r"[a-z]{1,16}")


class Store:
    """The sets of this host, own and received."""

    def __init__(self, folders: Folders, signing: Signing, site: str, clock: Clock) -> None:
        """Work below *folders*; *site* is who we sign as.

        Raises:
            InputError: not a site's name.
        """
        self.site = checked_site(site)
        self._folders, self._signing, self._clock = folders, signing, clock
        self._states = States(folders.state / "sets")
        self._inbox = Inbox(folders.inbox, signing.allowed_signers)
        self._scanner = Scanner(folders, self._states, self._inbox)

    # -- looking

    def scan(self) -> Catalogue:
        """Return all sets, as they say they are: only `verify` and `receive` prove anything."""
        return self._scanner.scan()

    def folder(self, stored: StoredSet) -> Path:
        """Return where the set lies."""
        return self._folders.sets / stored.path

    def waiting(self) -> tuple[str, ...]:
        """Return the ids in the inbox that may be whole; `receive` tells."""
        return self._inbox.waiting()

    def quarantined(self) -> tuple[str, ...]:
        """Return what was refused and waits for a person, the oldest first; below the base."""
        return self._inbox.quarantined_paths()

    def verify(self, stored: StoredSet) -> StoredSet:
        """Return the set with what its signature and all its files say now.

        NEW and CORRUPT become VERIFIED when all is right; RESTORED and FAILED stay. Anything that
        is wrong makes it CORRUPT, with `state.why`.

        Raises:
            InputError: the allowed signers cannot be read.
            ToolError: ssh-keygen cannot be run.
            Stop: the state cannot be written.
        """
        folder = self.folder(stored)
        try:
            manifest = authenticate(folder, self._signing.allowed_signers)
        except _REFUSED as error:
            return self.mark(stored, State.CORRUPT, str(error))
        if not lies_right(manifest, stored.kind, stored.site, stored.name):
            return self.mark(stored, State.CORRUPT, "another set than its folder says")
        told = check(folder, manifest)
        if told:
            return self.mark(stored, State.CORRUPT, "; ".join(told))
        stored = replace(stored, id=manifest.id, manifest=manifest, size_bytes=manifest.size_bytes)
        known = self._states.get(stored.id, stored.name)
        if known.state in {State.NEW, State.CORRUPT}:
            return self.mark(stored, State.VERIFIED)
        return replace(stored, state=known)

    # -- making

    def begin(self, kind: Kind) -> Draft:
        """Return a fresh draft, to be used as a context; what is not published is removed.

        Raises:
            Stop: the disk did not take it.
        """
        return Draft(kind, self._folders.work)

    def scratch(self, set_id: str, purpose: str) -> Path:
        """Return an empty folder work/<id>.<purpose>; the next sweep takes it, if nobody does.

        Raises:
            Stop: the disk did not take it.
        """
        if not _PURPOSE.fullmatch(purpose) or purpose in {"part", "gone"}:
            raise InputError("not a purpose of a folder", field="purpose", value=purpose)
        folder = self._folders.work / f"{checked_id(set_id)}.{purpose}"
        remove_tree(folder)
        make_folder(folder)
        return folder

    def compose(  # noqa: PLR0913 - the fields that only the maker of a set knows
        self,
        draft: Draft,
        *,
        epoch: int,
        snapshot_at_ns: int,
        versions: Mapping[str, str],
        facts: Mapping[str, Any],
        seen: int = 0,
    ) -> SetManifest:
        """Return the manifest of *draft* as it is now, with the next sequence and its parent.

        *seen* is the highest sequence that the peer told of.

        Raises:
            InputError: facts that are not JSON, or a file that cannot be part of a set.
            Stop: the counter cannot be written.
        """
        parent, parent_hash = self._parent(draft.kind)
        return SetManifest(
            kind=draft.kind,
            site=self.site,
            epoch=epoch,
            sequence=self.next_sequence(seen),
            id=draft.id,
            parent=parent,
            parent_hash=parent_hash,
            made_at_ns=self._clock.wall_ns(),
            snapshot_at_ns=snapshot_at_ns,
            tool=TOOL,
            versions=dict(versions),
            files=draft.files(),
            facts=dict(facts),
        )

    def _parent(self, kind: Kind) -> tuple[str, str]:
        """Return id and hash of the newest set of ours that can be read; ("", "") when none is."""
        for stored in reversed(self.scan().of(kind, self.site)):
            if stored.manifest is not None:
                data = read(self.folder(stored) / MANIFEST, MAX_BYTES)
                return stored.id, hashlib.sha256(data).hexdigest()
        return "", ""

    def next_sequence(self, seen: int = 0) -> int:
        """Return a number above every one that this host ever saw or gave; it is given once.

        The file is only one witness: lost or torn, the sets and their states still tell.

        Raises:
            Stop: the file cannot be written, or the numbers are used up.
        """
        file = self._folders.state / "sequence.json"
        with self._locked():
            names = [*self._scanner.names(), *self._states.names().values()]
            numbers = [seen, _counted(file), *(name.sequence for name in names)]
            number = 1 + max(numbers)
            if number > MAX_SEQUENCE:
                raise Stop(Exit.FAILED, "sequence numbers are used up", fact=str(number))
            write(file, canonical({"sequence": number}))
        return number

    def publish(self, draft: Draft, manifest: SetManifest) -> StoredSet:
        """Return the set, signed, flushed and in the catalogue: VERIFIED, since all was hashed.

        Raises:
            InputError: the manifest is not that of this draft, or the key cannot sign.
            Stop: the disk did not take it; no set is visible.
        """
        if (manifest.id, manifest.kind, manifest.site) != (draft.id, draft.kind, self.site):
            raise InputError("not the manifest of this draft", field="id", value=manifest.id)
        told = draft.wrong(manifest.files)
        if told:
            raise InputError(f"files changed under our hands ({told[0]})", field="files")
        content = manifest.encode()
        signature = sign(content, self._signing.key, NAMESPACE)
        create(draft.folder / SIGNATURE, signature)
        create(draft.folder / MANIFEST, content)
        sync_tree(draft.folder)
        stored = StoredSet.of(manifest)
        with self._locked():
            self._place(draft.folder, stored)
        draft.close()
        return self.mark(stored, State.VERIFIED)

    def _place(self, folder: Path, stored: StoredSet) -> None:
        place = self.folder(stored)
        make_folder(place.parent)
        rename(folder, place)

    # -- receiving

    def receive(self, set_id: str, site: str = "") -> StoredSet:
        """Return the set that lies in inbox/<id>.part, now in the catalogue and VERIFIED.

        It must have been made at *site* ("": at any whose signature is allowed). The same set again
        is a success without effect, or mends one that has rotted here.

        Raises:
            InputError: not an id; the allowed signers cannot be read.
            Stop: not whole yet (TRANSFER), damaged (NOT_VERIFIED: send it again), or refused and
                quarantined (TRUST, NOT_VERIFIED).
        """
        checked_id(set_id)
        known = self.scan().by_id(set_id)
        if known is not None and known.state.state is not State.CORRUPT:
            return self._again(known)
        try:
            manifest, found = self._inbox.prove(set_id, site)
            sync_tree(self._inbox.part(set_id))
        except HarnessError:
            known = self.scan().by_id(set_id)  # another run may have taken it in just now
            if known is None or os.path.lexists(self._inbox.part(set_id)):
                raise
            return known
        with self._locked():
            stored = self._take_in(manifest)
        if _marks(survey(self.folder(stored))) != _marks(found):
            rename(self.folder(stored), self._inbox.part(set_id))
            why = "files changed while it was taken in"
            raise self._inbox.refuse(set_id, Exit.NOT_VERIFIED, why)
        return self.mark(stored, State.VERIFIED)

    def _again(self, known: StoredSet) -> StoredSet:
        """Return the set that is here already; a part of the same id with other content goes."""
        same = self._inbox.same(known.id, read(self.folder(known) / MANIFEST, MAX_BYTES))
        if same is False:
            raise self._inbox.refuse(known.id, Exit.TRUST, "this id is taken by another content")
        if same:
            remove_tree(self._inbox.part(known.id))
        return known

    def _take_in(self, manifest: SetManifest) -> StoredSet:
        """Return the set after its part, proved, got its place; a rotten set there gives way."""
        stored = StoredSet.of(manifest)
        part, place = self._inbox.part(manifest.id), self.folder(stored)
        known = self.scan().by_id(manifest.id)
        if known is not None and not os.path.lexists(part):
            return known  # another run was quicker
        if known is not None and known.path != stored.path:
            raise self._inbox.refuse(manifest.id, Exit.TRUST, "this id is taken by another content")
        if os.path.lexists(place):
            try:
                there = authenticate(place, self._signing.allowed_signers)
            except _REFUSED:
                there = manifest  # what lies there is no set any more
            if there != manifest:
                raise self._inbox.refuse(manifest.id, Exit.TRUST, "its place is taken")
            self._retire(place)
        self._place(part, stored)
        return stored

    # -- knowing

    def mark(
        self, stored: StoredSet, state: State, why: str = "", **measurements: float | str
    ) -> StoredSet:
        """Return the set in its new *state*, on the disk; FAILED counts one more attempt.

        Raises:
            Stop: the disk did not take it.
        """
        at_ns = self._clock.wall_ns()
        return self._change(
            stored,
            lambda known: replace(
                known,
                state=state,
                why=why,
                attempts=known.attempts + (state is State.FAILED),
                at_ns=at_ns,
                measurements={**known.measurements, **measurements},
            ),
        )

    def note(self, stored: StoredSet, **measurements: float | str) -> StoredSet:
        """Return the set with more *measurements*; its state and attempts stay as they are."""
        return self._change(
            stored,
            lambda known: replace(known, measurements={**known.measurements, **measurements}),
        )

    def pin(self, stored: StoredSet) -> StoredSet:
        """Return the set, never to be removed."""
        return self._change(stored, lambda known: replace(known, pinned=True))

    def unpin(self, stored: StoredSet) -> StoredSet:
        """Return the set, left to retention again."""
        return self._change(stored, lambda known: replace(known, pinned=False))

    def hold(self, stored: StoredSet, why: str) -> StoredSet:
        """Return the set, that no run takes by itself because of *why*; "" lets it go."""
        return self._change(stored, lambda known: replace(known, held=why))

    def _change(self, stored: StoredSet, change: Callable[[SetState], SetState]) -> StoredSet:
        """Return the set with its state, as it is on the disk now, changed."""
        with self._locked():
            known = change(self._states.get(stored.id, stored.name))
            self._states.put(stored.id, stored.name, known)
        return replace(stored, state=known)

    # -- removing

    def remove(self, stored: StoredSet) -> None:
        """Return when the set is gone; killed before, it is whole or invisible.

        Raises:
            Stop: it is pinned, or cannot be removed.
        """
        with self._locked():
            if self._states.get(stored.id, stored.name).pinned:
                raise Stop(Exit.REFUSED, f"set {stored.name.text} is pinned", fix="hasync unpin")
            gone = self._retire(self.folder(stored))
        remove_tree(gone)
        self._states.forget(stored.id)

    def _retire(self, place: Path) -> Path:
        """Return the name in work/ under which a set's folder now waits for its removal."""
        make_folder(self._folders.work)
        gone = self._folders.work / f"{os.urandom(16).hex()}.gone"
        if os.path.lexists(place):
            rename(place, gone)
        return gone

    def sweep(self) -> tuple[str, ...]:
        """Return what was removed of interrupted runs, and of transfers that nobody goes on with.

        Only names of ours go, and no draft that a living process holds.
        """
        old = self._inbox.sweepable(self._clock.wall_ns())
        return sweep(self._folders.work, old)

    def _locked(self) -> AbstractContextManager[None]:
        return held(self._folders.state / "catalogue.lock")


def _marks(found: Mapping[str, Found]) -> dict[str, Found]:
    """Return the files alone: a folder's times change when it is renamed."""
    return {path: one for path, one in found.items() if not one.is_folder}


def _counted(file: Path) -> int:
    """Return the number in the file; 0 when it is lost, torn or absurd."""
    try:
        found = parse_object(read(file, _SEQUENCE_BYTES), limit_bytes=_SEQUENCE_BYTES).get(
            "sequence"
        )
    except InputError:
        return 0
    return found if type(found) is int and 0 <= found < MAX_SEQUENCE else 0
