"""A capture cut into blocks at any frame, as the reader gives them, for tests of what has state."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.packets.blocks import Block
from harness.packets.capture import Capture

_COLUMNS = ("at_ns", "offset_bytes", "captured_bytes", "original_bytes", "linktype", "interface")


def blocks(capture: Capture, borders: Sequence[int], *, context: int = 0) -> Iterator[Block]:
    """Yield blocks that begin at these frames, each after *context* frames that are not fresh."""
    starts = sorted({0, *(border for border in borders if 0 < border < len(capture))})
    for start, stop in zip(starts, [*starts[1:], len(capture)], strict=True):
        first = max(0, start - context)
        columns = {name: getattr(capture, name)[first:stop] for name in _COLUMNS}
        part = replace(capture, **columns, first_frame=first + 1)
        fresh = np.arange(first, stop) >= start
        yield Block(part, fresh, 0, is_last=stop == len(capture))
