"""Frames that a mirror port gave twice: marked, never removed, so that both counts can be shown.

A row is a copy when an earlier row, at most the window before, has the same addresses, ports, IP id
and payload (of TCP the sequence number and flags too). A repetition that the sender made has a new
IP id, and over UDP comes 500 ms later (timer T1 of RFC 3261), so it is never taken for a copy; what
a proxy sends on has other addresses.

    IP id  TTL     MACs, tags   kind
    same   same    same         mirrored: one point of the network was tapped twice
    same   same    other        switched: tapped in two VLANs, or inside and outside a tunnel
    same   other   any          routed: tapped before and behind a router

Where the IP id is always 0 (allowed with "don't fragment", RFC 6864) or absent (IPv6) the payload
and the window decide alone. Rows of the block before are there too (`harness.packets.blocks`), so
that where a block begins changes nothing.

Fast, as most rows have no copy: a word of each payload is hashed together with the IP id, and only
rows that share it within the window are looked at closely.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints, at_every_byte
from harness.packets.frame import Datagrams
from harness.packets.headers import Bools
from probetest.flows import Words, flow_words, groups, halves

WINDOW_NS = 10_000_000  # copies in public captures lie 1.5 ms apart at most; T1 is 500 ms
_SAMPLE_AT = 2  # of a payload: of RTP what counts up, and half of the source
_SAMPLE_BYTES = 8
_BLOCK_BYTES = 1024 * 1024  # compared together
_ODD = np.uint64(0x9E3779B97F4A7C15)  # spreads neighbouring values
_SEED = 1  # of the payload hash: the same in every run


class Copy(IntEnum):
    """Whether a row is the first of its kind."""

    NONE = 0
    MIRRORED = 1
    ROUTED = 2
    SWITCHED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """What each row of some datagrams is, and of which row it is a copy."""

    kind: npt.NDArray[np.uint8]  # a `Copy` each
    original: Ints  # its row; of what is no copy, the row itself

    @property
    def is_copy(self) -> Bools:
        """Return a mask of the rows that are copies."""
        found: Bools = self.kind != Copy.NONE
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Rows in order, those that may be copies of each other together and by time."""

    rows: Ints
    linked: Bools  # to the row before: alike, and within the window

    def originals(self) -> tuple[Ints, Ints]:
        """Return the rows that are copies, and for each the first of its kind."""
        heads = np.maximum.accumulate(np.where(self.linked, 0, np.arange(len(self.rows))))
        places = np.flatnonzero(self.linked)
        return self.rows[places], self.rows[heads[places]]


def find_copies(datagrams: Datagrams, *, window_ns: int = WINDOW_NS) -> Copies:
    """Return which rows are copies of earlier ones; each lies within *window_ns* of the last.

    Rows without a payload, and rows without a time, are left as they are.
    """
    kind = np.zeros(len(datagrams), np.uint8)
    original = np.arange(len(datagrams), dtype=np.int64)
    near = _near(datagrams, _ordered(datagrams), window_ns)
    for pairs in _exact(datagrams, near, window_ns):
        copies, first = pairs.originals()
        original[copies] = first
        kind[copies] = _kinds(datagrams, copies, first)
    return Copies(kind, original)


def in_order(at_ns: Ints, rows: Ints) -> Ints:
    """Return *rows* in order of time, those of one time as they are."""
    times = at_ns[rows]
    return rows if (times[1:] >= times[:-1]).all() else rows[np.argsort(times, kind="stable")]


def _ordered(datagrams: Datagrams) -> Ints:
    """Return, in order of time, the rows that have a payload and a time."""
    rows = np.flatnonzero((datagrams.payload_bytes > 0) & (datagrams.at_ns > 0))
    return in_order(datagrams.at_ns, rows)


def _near(datagrams: Datagrams, rows: Ints, window_ns: int) -> _Pairs:
    """Return those of *rows* that may have a copy: with most of them it is done here."""
    if not len(rows):
        return _Pairs(rows, np.zeros(0, np.bool_))
    bits = np.uint64(max(1, (len(rows) - 1).bit_length()))
    below = (np.uint64(1) << bits) - np.uint64(1)
    words = _sample(datagrams, rows)
    words &= ~below
    words |= np.arange(len(rows), dtype=np.uint64)
    words.sort()
    same = (words[1:] ^ words[:-1]) <= below
    alike = np.zeros(len(rows), np.bool_)  # to one of the rows beside it
    alike[1:] = same
    alike[:-1] |= same
    words = words[alike]
    near = rows[(words & below).astype(np.int64)]
    linked = np.zeros(len(near), np.bool_)
    linked[1:] = (words[1:] ^ words[:-1]) <= below
    linked[1:] &= np.diff(datagrams.at_ns[near]) <= window_ns
    kept = linked.copy()
    kept[:-1] |= linked[1:]
    return _Pairs(near[kept], linked[kept])


def _sample(datagrams: Datagrams, rows: Ints) -> Words:
    """Return a word that copies share, and that few others do."""
    starts, sizes = datagrams.payload_offset[rows], datagrams.payload_bytes[rows]
    words = datagrams.ip_id[rows].astype(np.uint64)
    words <<= np.uint64(24)  # clear of what counts up in RTP
    long = sizes >= _SAMPLE_AT + _SAMPLE_BYTES
    eight = at_every_byte(datagrams.data, "<u8")
    if long.all():
        words ^= eight[starts + _SAMPLE_AT]
    else:
        places = np.flatnonzero(long)
        words[places] ^= eight[starts[places] + _SAMPLE_AT]
    words *= _ODD
    words ^= words >> np.uint64(32)
    words *= _ODD
    return words


def _exact(datagrams: Datagrams, near: _Pairs, window_ns: int) -> tuple[_Pairs, ...]:
    """Return the rows of *near* that are copies; where some only seemed alike it looks closer."""
    rows = near.rows
    if not len(rows):
        return ()
    places = np.flatnonzero(near.linked)
    equal = _equal(datagrams, rows[places], rows[places - 1])
    if equal.all():
        return (near,)
    runs = np.cumsum(~near.linked)
    mixed = np.isin(runs, np.unique(runs[places[~equal]]))
    clear = ~mixed
    return (
        _Pairs(rows[clear], near.linked[clear]),
        _searched(datagrams, np.sort(rows[mixed]), window_ns),
    )


def _searched(datagrams: Datagrams, rows: Ints, window_ns: int) -> _Pairs:
    """Return *rows* in groups that are alike in all that copies share."""
    rows = in_order(datagrams.at_ns, rows)
    order, starts = groups((*_outside(datagrams, rows), _payload_hash(datagrams, rows)))
    rows = rows[order]
    linked = np.ones(len(rows), np.bool_)
    linked[starts] = False
    linked[1:] &= np.diff(datagrams.at_ns[rows]) <= window_ns
    places = np.flatnonzero(linked)
    linked[places] = _same_payload(datagrams, rows[places], rows[places - 1])
    return _Pairs(rows, linked)


def _equal(datagrams: Datagrams, one: Ints, other: Ints) -> Bools:
    """Say of each pair of rows whether they are alike in all that copies share."""
    same = np.ones(len(one), np.bool_)
    for column in (
        *(datagrams.payload_bytes, datagrams.source_port, datagrams.destination_port),
        *(datagrams.ip_id, datagrams.protocol, datagrams.tcp_sequence, datagrams.tcp_flags),
        datagrams.ipv4,
    ):
        same &= column[one] == column[other]
    for addresses in (datagrams.source_address, datagrams.destination_address):
        for half in halves(addresses):
            same &= half[one] == half[other]
    places = np.flatnonzero(same)
    same[places] = _same_payload(datagrams, one[places], other[places])
    return same


def _kinds(datagrams: Datagrams, copies: Ints, originals: Ints) -> npt.NDArray[np.uint8]:
    """Return what made each of *copies*."""
    kinds = np.full(len(copies), Copy.MIRRORED, np.uint8)
    kinds[datagrams.link[copies] != datagrams.link[originals]] = Copy.SWITCHED
    kinds[datagrams.ttl[copies] != datagrams.ttl[originals]] = Copy.ROUTED
    return kinds


def _outside(datagrams: Datagrams, rows: Ints) -> tuple[Words, ...]:
    """Return the words that copies share, but for the payload."""
    some = datagrams.select(rows)
    return (
        *flow_words(some),
        some.ip_id.astype(np.uint64) << np.uint64(32) | some.payload_bytes.astype(np.uint64),
        some.tcp_sequence.astype(np.uint64) << np.uint64(8) | some.tcp_flags.astype(np.uint64),
    )


def _payload_hash(datagrams: Datagrams, rows: Ints) -> Words:
    """Return a number a row that equal payloads share."""
    sizes = datagrams.payload_bytes[rows]
    found = np.zeros(len(rows), np.uint64)
    dice = np.random.default_rng(_SEED)
    factors = dice.integers(1, 2**63, int(sizes.max()), dtype=np.uint64)
    for size in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == size)
        for some in _blocks(places, size):
            payloads = _octets(datagrams, rows[some], size)
            found[some] = payloads.astype(np.uint64) @ factors[:size]
    return found


def _same_payload(datagrams: Datagrams, one: Ints, other: Ints) -> Bools:
    """Say of each pair of rows, equally long, whether every byte is equal."""
    same = np.zeros(len(one), np.bool_)
    sizes = datagrams.payload_bytes[one]
    for size in np.unique(sizes).tolist():
        for some in _blocks(np.flatnonzero(sizes == size), size):
            pair = (_octets(datagrams, rows[some], size) for rows in (one, other))
            same[some] = np.equal(*pair).all(axis=1)
    return same


def _blocks(places: Ints, size: int) -> list[Ints]:
    """Return *places* in parts whose payloads, *size* bytes each, fit into a cache."""
    each = max(1, _BLOCK_BYTES // size)
    return [places[start : start + each] for start in range(0, len(places), each)]


def _octets(datagrams: Datagrams, rows: Ints, size: int) -> Bytes:
    """Return the payloads of *rows*, all *size* bytes long."""
    found: Bytes = at_every_byte(datagrams.data, f"V{size}")[datagrams.payload_offset[rows]]
    return found.view(np.uint8).reshape(-1, size)
