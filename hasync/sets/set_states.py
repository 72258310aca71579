"""The edge to what is known of the sets: one small file each in state/sets/, outside the set.

A state that is missing, torn or about another set is NEW: it costs a new look, never a set.
"""

from pathlib import Path

from harness.errors import InputError
from hasync.durable import make_folder, read, sync_folder, telling, write
from hasync.sets.backup import MAX_STATE_BYTES, SetName, SetState

_SUFFIX = ".json"


class States:
    """The states of all sets."""

    def __init__(self, folder: Path) -> None:
        """Work in *folder*, made when the first state is written."""
        self._folder = folder

    def get(self, set_id: str, name: SetName) -> SetState:
        """Return what is known of the set *name*."""
        file = self._file(set_id)
        try:
            state, about = SetState.parse(read(file, MAX_STATE_BYTES), file=str(file))
        except InputError:
            return SetState()
        return state if about == name else SetState()

    def put(self, set_id: str, name: SetName, state: SetState) -> None:
        """Write the state of the set *name*.

        Raises:
            Stop: the disk did not take it; the old state stays.
        """
        make_folder(self._folder)
        write(self._file(set_id), state.encode(name))

    def forget(self, set_id: str) -> None:
        """Remove the state of a set that is gone.

        Raises:
            Stop: the disk did not take it.
        """
        file = self._file(set_id)
        with telling("remove", file):
            file.unlink(missing_ok=True)
            if self._folder.is_dir():
                sync_folder(self._folder)

    def names(self) -> dict[str, SetName]:
        """Return the name of each set that has a state, by id."""
        found = {}
        for file in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                found[file.stem] = SetState.parse(read(file, MAX_STATE_BYTES))[1]
            except InputError:
                continue  # it counts as no state
        return found

    def _file(self, set_id: str) -> Path:
        return self._folder / f"{set_id}{_SUFFIX}"
