"""DNS messages of the usual shape as columns, all read in lock-step.

Laws: what is read here is what `enumtest.dns.message` reads, or it is left to that: `usual` says
which.
Usual is one question whose name is of letters, digits, "-" and "_"; in a query at most an OPT
record with one option; in an answer NAPTR records of the question's owner without a replacement,
and at most an OPT record.
"""

from dataclasses import dataclass

import dns.rcode
import numpy as np
import numpy.typing as npt

from enumtest.dns.distinct_bytes import distinct
from enumtest.dns.source_uri import Framing, decode
from enumtest.dns.wire import HEADER_BYTES
from enumtest.profiles.profile_groups import Event
from enumtest.traffic.hop_table import EVENTS
from harness.errors import InputError
from harness.packets.capture import Bytes, Ints, at_every_byte

MAX_NAME_BYTES, MAX_LABEL_BYTES, MAX_LABELS = 255, 63, 127
MAX_RECORDS = 16  # of an answer of the usual shape
NO_ANSWER = 0  # in a column of events, for a query
FRAMINGS = tuple(Framing)
CAPITAL_BITS = 56  # places of a name's octets that `capitals` tells apart

_QR, _OPCODE, _TC, _RCODE = 0x8000, 0x7800, 0x0200, 0xF
_OWNER_IS_QNAME, _NAPTR, _IN, _OPT = 0xC00C, 35, 1, 41
_OPT_BYTES, _RECORD_BYTES, _STRINGS = 11, 12, 3
_LETTERS = np.zeros(256, np.bool_)
_LETTERS[list(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")] = True
_EVENT_OF = {event: place for place, event in enumerate(EVENTS)}
_OF_RCODE = np.full(16, _EVENT_OF[Event.OTHER_RCODE], np.int8)
for _rcode in dns.rcode.Rcode:
    if _rcode <= _RCODE and _rcode.name in tuple(Event):
        _OF_RCODE[_rcode] = _EVENT_OF[Event(_rcode.name)]


@dataclass(slots=True, eq=False)
class Contents:
    """What messages say, one row each; filled in by one reader or the other."""

    question: Ints  # place among the names; -1: repeats none, or cannot be read
    qtype: npt.NDArray[np.int32]
    event: npt.NDArray[np.int8]  # of an answer: place in EVENTS
    source: npt.NDArray[np.int32]  # place among the calling URIs
    edns_bytes: npt.NDArray[np.int32]
    source_code: npt.NDArray[np.int32]
    source_framing: npt.NDArray[np.int8]
    capitals: Ints  # which octets of a query's name are capital letters, as `capitals` has it
    ttl_s: Ints  # least of the NAPTR records of an answer; -1: none
    why: npt.NDArray[np.int32]  # place among the reasons why it cannot be read; 0: it can

    @classmethod
    def of(cls, count: int) -> "Contents":
        """Return so many rows of messages that say nothing."""
        minus = {name: np.full(count, -1, np.int32) for name in ("qtype", "edns_bytes")}
        return cls(
            question=np.full(count, -1, np.int64),
            event=np.zeros(count, np.int8),
            source=np.zeros(count, np.int32),
            source_code=np.full(count, -1, np.int32),
            source_framing=np.full(count, -1, np.int8),
            capitals=np.zeros(count, np.int64),
            ttl_s=np.full(count, -1, np.int64),
            why=np.zeros(count, np.int32),
            **minus,
        )


def capitals(labels: tuple[bytes, ...]) -> int:
    """Return a number that tells which letters of a name as sent are capitals."""
    octets = b"".join(b"\0" + label for label in labels)
    return sum(1 << at % CAPITAL_BITS for at, octet in enumerate(octets) if 65 <= octet <= 90)  # noqa: PLR2004 - A to Z


class Texts(dict[str, int]):
    """Texts and their places, in the order in which they came."""

    def place(self, text: str) -> int:
        """Return the place of *text*, a new one when it is new."""
        return self.setdefault(text, len(self))


@dataclass(slots=True, eq=False)
class ColumnReader:
    """Reads the messages that begin at *start* and end before *end* in *data*."""

    data: Bytes
    start: Ints
    end: Ints
    from_client: npt.NDArray[np.bool_]
    names: Texts
    sources: Texts
    found: Contents

    def read(self) -> npt.NDArray[np.bool_]:
        """Fill in the rows of the usual shape, and return which those are."""
        usual = self.end - self.start >= HEADER_BYTES + 5  # the shortest question: the root
        rows = np.flatnonzero(usual)
        head = self._fields(self.start[rows], HEADER_BYTES // 2)
        flags, records, opt, asks = head[:, 1], head[:, 3], head[:, 5], self.from_client[rows]
        good = (head[:, 2] == 1) & (head[:, 4] == 0) & (opt <= 1)
        good &= np.where(asks, flags & (_QR | _OPCODE) == 0, flags & _QR != 0)
        good &= np.where(asks, records == 0, records <= MAX_RECORDS)
        rows, flags, records, opt = rows[good], flags[good], records[good], opt[good]
        name_end = self._name_ends(rows)
        rows, flags, records, opt, name_end = (
            column[name_end > 0] for column in (rows, flags, records, opt, name_end)
        )
        after = name_end + 4
        after = np.where(after <= self.end[rows], after, -1)
        after = self._records(rows, after, records)
        after = self._opt(rows, after, opt)
        whole = after == self.end[rows]
        rows, flags, name_end = rows[whole], flags[whole], name_end[whole]
        place = self._names(rows, name_end)
        usual[:] = False
        usual[rows[place >= 0]] = True
        self.found.question[rows] = place
        self.found.qtype[rows] = self._number(rows, name_end, 2)
        self._events(rows, flags, records[whole])
        return usual

    def _fields(self, at: Ints, count: int) -> Ints:
        """Return so many 16-bit numbers in a row, which are there."""
        octets = at_every_byte(self.data, f"V{2 * count}")[at].tobytes()
        return np.frombuffer(octets, ">u2").reshape(-1, count).astype(np.int64)

    def _number(self, rows: Ints, at: Ints, width: int) -> Ints:
        """Return the numbers at *at*; 0 where a message has ended before."""
        inside = at + width <= self.end[rows]
        column = at_every_byte(self.data, f">u{width}")
        if inside.all():
            return column[at].astype(np.int64)
        found = np.zeros(len(rows), np.int64)
        found[inside] = column[at[inside]]
        return found

    def _name_ends(self, rows: Ints) -> Ints:
        """Return where the question's name ends; -1: it is not usual."""
        found = np.full(len(rows), -1, np.int64)
        at, end = self.start[rows] + HEADER_BYTES, self.end[rows]
        open_ = np.arange(len(rows))
        for _ in range(MAX_LABELS + 1):
            size = self.data[at].astype(np.int64)
            if (over := (size == 0) | (size > MAX_LABEL_BYTES)).any():
                done = open_[size == 0]
                found[done] = at[size == 0] + 1
                at, end, size, open_ = (column[~over] for column in (at, end, size, open_))
            at = at + size + 1
            if (beyond := at >= end).any():
                at, end, open_ = (column[~beyond] for column in (at, end, open_))
            if not open_.size:
                break
        long = found - self.start[rows] - HEADER_BYTES > MAX_NAME_BYTES
        found[long] = -1
        return found

    def _records(self, rows: Ints, at: Ints, count: Ints) -> Ints:
        """Return where so many NAPTR records end; -1: one of them is not usual."""
        for number in range(int(count.max(initial=0))):
            here = np.flatnonzero((count > number) & (at >= 0))
            row, from_ = rows[here], at[here]
            at[here] = self._record(row, from_)
            ttl_s, least_s = self._number(row, from_ + 6, 4), self.found.ttl_s[row]
            self.found.ttl_s[row] = np.where(least_s < 0, ttl_s, np.minimum(least_s, ttl_s))
        return at

    def _record(self, rows: Ints, at: Ints) -> Ints:
        """Return where the record at *at* ends; -1: it is not usual."""
        good = at + _RECORD_BYTES <= self.end[rows]
        if not good.all():
            found = np.full(len(rows), -1, np.int64)
            found[good] = self._record(rows[good], at[good])
            return found
        head = self._fields(at, _RECORD_BYTES // 2)
        good = (head[:, 0] == _OWNER_IS_QNAME) & (head[:, 1] == _NAPTR) & (head[:, 2] == _IN)
        inside = at + _RECORD_BYTES + 4  # order and preference may have any value
        stop = at + _RECORD_BYTES + head[:, 5]
        for _ in range(_STRINGS):
            inside = inside + 1 + self._number(rows, inside, 1)
        # A root replacement, and then nothing more.
        good &= (inside + 1 == stop) & (stop <= self.end[rows])
        good &= self._number(rows, inside, 1) == 0
        return np.where(good, stop, -1)

    def _opt(self, rows: Ints, at: Ints, count: Ints) -> Ints:
        """Return where the OPT record ends, and note what it says; -1: it is not usual."""
        here = np.flatnonzero((count == 1) & (at >= 0))
        row, from_ = rows[here], at[here]
        size = self._number(row, from_ + 9, 2)
        code, length = (self._number(row, from_ + skip, 2) for skip in (11, 13))
        good = (self._number(row, from_, 1) == 0) & (self._number(row, from_ + 1, 2) == _OPT)
        good &= self._number(row, from_ + 5, 1) == 0  # the upper half of the return code
        good &= (size == 0) | (size == length + 4)
        stop = from_ + _OPT_BYTES + size
        good &= stop <= self.end[row]
        at[here] = np.where(good, stop, -1)
        self.found.edns_bytes[row] = self._number(row, from_ + 3, 2)
        told = good & (size > 0) & self.from_client[row]
        self._sources(row[told], from_[told] + _OPT_BYTES, size[told], code[told])
        return at

    def _sources(self, rows: Ints, at: Ints, size: Ints, code: Ints) -> None:
        """Note the calling URIs in the options at *at*."""
        groups = distinct(self.data, at, size)
        said = np.array([(0, -1, -1)], np.int64).repeat(len(groups.first), axis=0)
        for group, first in enumerate(groups.first.tolist()):
            octets = self.data[int(at[first]) + 4 : int(at[first] + size[first])].tobytes()
            try:
                option = decode(((int(code[first]), octets),))
            except InputError:  # option 4 that holds no URI: no caller, as `source_uri` says
                option = None
            if option is not None:
                framing = FRAMINGS.index(option.framing)
                said[group] = self.sources.place(option.uri), option.code, framing
        source, code_, framing_ = said[groups.group].T
        self.found.source[rows] = source
        self.found.source_code[rows] = code_
        self.found.source_framing[rows] = framing_

    def _names(self, rows: Ints, name_end: Ints) -> Ints:
        """Return the places of the names asked for; -1: not of the usual letters."""
        found = np.full(len(rows), -1, np.int64)
        at = self.start[rows] + HEADER_BYTES
        size = name_end - at
        for length in np.unique(size).tolist():
            here = np.flatnonzero(size == length)
            if length > 1:  # the root has another form
                found[here], self.found.capitals[rows[here]] = self._names_of(at[here], length)
        self.found.capitals[rows[~self.from_client[rows]]] = 0
        return found

    def _names_of(self, at: Ints, length: int) -> tuple[Ints, Ints]:
        """Return the places of names that are *length* octets long, and their capitals."""
        octets = at_every_byte(self.data, f"V{length}")[at].tobytes()
        groups = distinct(
            np.frombuffer(octets, np.uint8),
            np.arange(len(at), dtype=np.int64) * length,
            np.full(len(at), length, np.int64),
        )
        table = np.frombuffer(octets, np.uint8).reshape(-1, length)[groups.first]
        upper = (table - np.uint8(65)) < 26  # noqa: PLR2004 - A to Z; no length of a label is one
        weights = np.int64(1) << (np.arange(length, dtype=np.int64) % CAPITAL_BITS)
        capital = upper @ weights if upper.any() else np.zeros(len(table), np.int64)
        table |= upper.astype(np.uint8) << 5
        row, place = np.arange(len(table)), np.zeros(len(table), np.int64)
        labels = np.zeros(len(table), np.int64)
        while row.size:
            step = table[row, place].astype(np.int64) + 1
            table[row, place] = ord(".")
            labels[row] += 1
            place = place + step
            if (more := place < length - 1).all():
                continue
            row, place = row[more], place[more]
        text = np.ascontiguousarray(table[:, 1:-1])
        good = _LETTERS[text].all(axis=1) & ((text == ord(".")).sum(axis=1) == labels - 1)
        width = length - 2
        whole = text[good].tobytes().decode("ascii")
        place = np.full(len(table), -1, np.int64)
        texts = [whole[i : i + width] for i in range(0, len(whole), width)]
        known, count = self.names, len(self.names)
        new = dict(zip(texts, range(count, count + len(texts)), strict=True))
        # Not one by one where that can be: there may be a million.
        if len(new) == len(texts) and known.keys().isdisjoint(new):
            known.update(new)
            place[good] = np.arange(count, count + len(texts))
        else:
            place[good] = [known.setdefault(text, len(known)) for text in texts]
        return place[groups.group], capital[groups.group]

    def _events(self, rows: Ints, flags: Ints, records: Ints) -> None:
        """Note what answers are to an SBC, as `event_of` says."""
        rcode = _OF_RCODE[flags & _RCODE]
        good = np.where(records > 0, NO_ANSWER, _EVENT_OF[Event.NODATA])
        event = np.where(flags & _RCODE == 0, good, rcode)
        event = np.where(flags & _TC != 0, _EVENT_OF[Event.TRUNCATED], event)
        self.found.event[rows] = np.where(self.from_client[rows], NO_ANSWER, event)
