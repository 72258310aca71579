"""What a reader of one kind of capture gives: the frames of some bytes, as columns.

A file is read in runs of bytes: a run begins where a record begins, may end inside one, and what
of it is not whole is given again with the next run, unless the file ends there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from harness.errors import WireError

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_FRAME_BYTES = 262_144  # the snapshot length of tcpdump and dumpcap, used when a file has less
MAX_RECORD_BYTES = 16 << 20  # whatever the file says: tshark's limit, and the most held for one
NANOSECONDS = 1_000_000_000


def damage(why: str, at: int, name: str, frames: int) -> WireError:
    """Say where reading stopped, and what is left of use."""
    fix = f"the {frames} frames before it were read; the rest of the file cannot be"
    return WireError(why, offset_bytes=at, file=name, fix=fix)


def at_every_byte(data: Bytes, dtype: str | npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array whose item *i* is the number of type *dtype* that starts at byte *i*.

    It costs no memory (a stride of one byte) and is made to be indexed: one gather reads one
    field of many frames, whatever their alignment; of a structured type, all fields.
    """
    kind = np.dtype(dtype)
    count = max(0, data.size - kind.itemsize + 1)
    if count == 0:
        return np.empty(0, kind)
    return np.ndarray(shape=(count,), dtype=kind, buffer=data, strides=(1,))


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Bytes of a file, one after the other."""

    data: Bytes
    base_bytes: int  # where in the file `data` begins
    is_end: bool  # the file ends with it

    @property
    def view(self) -> memoryview:
        """Return the data for `struct`."""
        return self.data.data


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Frames, one row each; the columns are those of `harness.packets.capture.Capture`."""

    at_ns: Ints
    offset_bytes: Ints  # in the data of the run
    captured_bytes: Ints
    original_bytes: Ints
    linktype: npt.NDArray[np.int32]
    interface: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.at_ns)

    @classmethod
    def none(cls) -> Self:
        """Return no rows at all."""
        kinds = (np.int64,) * 4 + (np.int32,) * 2
        empty: list[Any] = [np.empty(0, kind) for kind in kinds]
        return cls(*empty)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts, in their order."""
        some = [part for part in parts if len(part)]
        if len(some) <= 1:
            return some[0] if some else cls.none()
        names = [one.name for one in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in some]) for name in names))

    def moved(self, first: int, by_bytes: int) -> Self:
        """Return the rows from *first* on, for data that begins *by_bytes* later."""
        mine = {name: column[first:].copy() for name, column in self.columns().items()}
        mine["offset_bytes"] -= by_bytes
        return type(self)(**mine)


class Container(Protocol):
    """One kind of capture file while it is read, run after run."""

    untimed: int  # frames without a time, so far

    @property
    def interface_drops(self) -> int | None:
        """Return how many frames the capturing host says that it lost, as far as was read."""
        ...

    def read(self, run: Run, at: int) -> tuple[Rows, int, WireError | None]:
        """Return the frames from byte *at* of the run on, where they end, and what is damaged."""
        ...
