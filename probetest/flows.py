"""Groups of rows that are alike in some columns, found by a hash and then checked exactly.

Laws: two rows are in one group exactly when all their columns are equal; a hash only proposes.
"""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints
from harness.packets.frame import Datagrams

Words = npt.NDArray[np.uint64]

_ODD = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: spreads neighbouring values
_TURN = 2**64


def flow_words(datagrams: Datagrams) -> tuple[Words, ...]:
    """Return, a row each, the words that tell one direction of one conversation from another."""
    ports = (
        datagrams.source_port.astype(np.uint64) << np.uint64(32)
        | datagrams.destination_port.astype(np.uint64) << np.uint64(16)
        | datagrams.protocol.astype(np.uint64) << np.uint64(8)
        | datagrams.ipv4.astype(np.uint64)
    )
    return (*halves(datagrams.source_address), *halves(datagrams.destination_address), ports)


def groups(words: Sequence[Words]) -> tuple[Ints, Ints]:
    """Return the rows, those of a group together in their order, and where each group starts.

    The order of the groups means nothing.
    """
    if not len(words[0]):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    for seed in _seeds():
        mixed = _mix(words, seed)
        order = np.argsort(mixed, kind="stable").astype(np.int64)
        ordered = mixed[order]
        same = ordered[1:] == ordered[:-1]
        alike = np.ones(len(same), np.bool_)
        for word in words:
            alike &= word[order[1:]] == word[order[:-1]]
        if bool((same == alike).all()):
            return order, np.concatenate(([0], np.flatnonzero(~same) + 1)).astype(np.int64)
    raise AssertionError  # pragma: no cover - seeds never end


def _seeds() -> Iterator[int]:
    """Yield multipliers; the first will do unless two groups of a capture share a hash."""
    for turn in count(1):
        yield (_ODD * (2 * turn + 1) | 1) % _TURN


def _mix(words: Sequence[Words], seed: int) -> Words:
    """Return a hash of each row."""
    factor, shift = np.uint64(seed), np.uint64(29)
    mixed = np.zeros(len(words[0]), np.uint64)
    for word in words:
        mixed = (mixed ^ word) * factor
        mixed ^= mixed >> shift
    return mixed


def halves(addresses: Bytes) -> tuple[Words, Words]:
    """Return 16 bytes a row as two numbers."""
    pair = np.ascontiguousarray(addresses).reshape(-1, 16).view(np.uint64)
    return pair[:, 0], pair[:, 1]
