"""What of a device was watched: frames, from when to when, each interface, and what was lost.

Law: what is missing is told, with the place where it can be found; an hour in which nobody looked
is not an hour without calls.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from harness.buckets import NS, Span, spans_of
from harness.packets.blocks import Block
from harness.packets.frame import Datagrams
from harness.records import PortRecord
from probetest.duplicates import Copies

BREAK_NS = NS  # between two files of a device: longer ones were not watched
SILENCE_NS = 86_400 * NS  # within a file: after a day without a frame nobody watched, or a clock
# was wrong, as of a damaged frame that says it was seen in a hundred years
_EVERY = 64  # of the frames of a block, to tell about when it was seen


class Watched:
    """The frames of a device's files, and when they were seen."""

    def __init__(self) -> None:
        """Begin with none."""
        self.frames = 0
        self.about_ns = 0  # when half of the last block's fresh frames had been seen, about
        self.losses: list[str] = []
        self._spans: tuple[Span, ...] = ()  # of the files before this one
        self._file_spans: tuple[Span, ...] = ()
        self._before = 0  # frames of the files before this one
        self._late_frames, self._late_ns = 0, 0

    def add(self, block: Block) -> Block:
        """Take in a block, and return it numbered on from the files before, as if all were one."""
        capture, fresh = block.capture, block.fresh
        fresh_frames = int(np.count_nonzero(fresh))
        at_ns = capture.at_ns if fresh_frames == len(capture) else capture.at_ns[fresh]
        timed = at_ns if at_ns.size and at_ns.min() > 0 else at_ns[at_ns > 0]
        if timed.size:
            self._file_spans = joined((*self._file_spans, *spans_of(timed, SILENCE_NS)), SILENCE_NS)
            self.about_ns = int(np.median(timed[::_EVERY]))
        self.frames += fresh_frames
        self._late_frames += block.late_frames
        self._late_ns = max(self._late_ns, block.late_ns)
        before = self._before
        if block.is_last:
            self._end_file(block)
        if before:
            capture = replace(capture, first_frame=capture.first_frame + before)
        return replace(block, capture=capture, is_last=False)

    def spans(self) -> tuple[Span, ...]:
        """Return from when to when it was watched, in order and apart, the ends not included."""
        return joined(self._spans, BREAK_NS)

    def _end_file(self, block: Block) -> None:
        """Close the books of one file."""
        capture = block.capture
        self._spans += self._file_spans
        if capture.cut is not None:
            self.losses.append(f"damaged, read up to here: {capture.cut}")
        if capture.interface_drops:
            lost = capture.interface_drops
            self.losses.append(f"{lost} frames were lost by the host that captured them")
        if capture.untimed:
            self.losses.append(f"{capture.untimed} frames have no time")
        if self._late_frames:
            why = f"{self._late_frames} frames stand {self._late_ns / NS:.3f} s or less too late"
            self.losses.append(f"{why} in the file: calls and streams around them may be split")
        self._before = self.frames
        self._file_spans, self._late_frames, self._late_ns = (), 0, 0


def joined(spans: Iterable[Span], apart_ns: int) -> tuple[Span, ...]:
    """Return *spans* in order, those in one that are at most so far apart.

    >>> joined([(5, 7), (0, 3), (9, 10)], 2)
    ((0, 10),)
    >>> joined([(5, 7), (0, 3), (9, 10)], 1)
    ((0, 3), (5, 7), (9, 10))
    """
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin - found[-1][1] <= apart_ns:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)


class Ports:
    """What each interface of a device delivered, counted block by block."""

    def __init__(self, device: str) -> None:
        """Begin with nothing."""
        self._device = device
        self._frames: Counter[int] = Counter()
        self._copies: Counter[int] = Counter()

    def add(self, block: Block, datagrams: Datagrams, copies: Copies) -> None:
        """Count the frames and the copies of a block."""
        self._frames.update(_counted(block.capture.interface[block.fresh]))
        self._copies.update(_counted(datagrams.interface[copies.is_copy & datagrams.fresh]))

    def records(
        self, sip: Counter[int], rtp: Counter[int], rtcp: Counter[int]
    ) -> Iterator[PortRecord]:
        """Yield a row an interface, also for those that delivered nothing between others."""
        for number in range(max(self._frames, default=-1) + 1):
            yield PortRecord(
                device=self._device,
                interface=number,
                frames=self._frames[number],
                sip_messages=sip[number],
                rtp_packets=rtp[number],
                rtcp_packets=rtcp[number],
                copies=self._copies[number],
            )


def _counted(interfaces: npt.NDArray[np.int32]) -> dict[int, int]:
    """Return how often each number is there."""
    sizes = np.bincount(interfaces)
    return {number: int(sizes[number]) for number in np.flatnonzero(sizes).tolist()}
