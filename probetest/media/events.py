"""Keys that were pressed: telephone events (RFC 4733) as the packets of one stream tell them.

    ┌─ first packet: marker ─┐  same timestamp    ┌─ end: E bit, three times ─┐
    │ duration 160           │─▶ duration grows ─▶│ the last duration counts  │
    └────────────────────────┘                    └───────────────────────────┘
    a key held longer than 65535 units goes on as a new event, with the timestamp at which the
    one before ended, and no E bit between (section 2.5.1.3)

Laws: a key is one, however often its packets are repeated or come late; a start or an end that was
lost is told.
"""

from dataclasses import dataclass, field

from harness.records import KeyRecord

MAX_KEYS = 256  # pressed in one stream, that are kept
KEYS = "0123456789*#ABCD"  # section 3.2, the events 0 to 15
_RECENT = 4  # keys before this one, whose late packets are known
_TURN = 1 << 32


@dataclass(slots=True)
class _Key:
    """One key while its packets come."""

    code: int
    timestamp: int  # of its first part
    part: int  # timestamp of the part that is heard now
    at_ns: int
    clock_hz: int
    started: bool
    volume: int
    units: int = 0  # in this part
    before: int = 0  # in the parts before
    ended: bool = False

    def record(self) -> KeyRecord:
        """Return it as it is told."""
        units = self.before + self.units
        return KeyRecord(
            key=KEYS[self.code] if self.code < len(KEYS) else "?",
            code=self.code,
            at_ns=self.at_ns,
            duration_ms=round(units * 1e3 / self.clock_hz, 3),
            volume_dbm0=-self.volume,
            started=self.started,
            ended=self.ended,
        )


@dataclass(slots=True)
class Events:
    """The keys of one stream, as they come."""

    keys: list[_Key] = field(default_factory=list)
    more: int = 0  # keys that were not kept

    def add(self, at_ns: int, timestamp: int, word: int, clock_hz: int, *, marker: bool) -> None:
        """Take in a packet, in order of arrival; *word* is the four bytes of the event."""
        code, units = word >> 24, word & 0xFFFF
        end, volume = bool(word >> 23 & 1), word >> 16 & 0x3F
        for key in self.keys[: -_RECENT - 1 : -1]:
            if key.code != code:
                continue
            if key.part == timestamp:
                key.units = max(key.units, units)
                key.ended |= end
                key.started |= marker
                return
            if 0 < (key.part - timestamp) % _TURN <= key.before:  # late, of a part before
                return
        last = self.keys[-1] if self.keys else None
        if last is not None and _goes_on(last, code, timestamp):
            last.before += (timestamp - last.part) % _TURN
            last.part, last.units, last.ended = timestamp, units, end
            return
        if len(self.keys) >= MAX_KEYS + _RECENT:
            self.more += 1
            self.keys.pop(-1)
        key = _Key(code, timestamp, timestamp, at_ns, clock_hz, marker, volume, units)
        key.ended = end
        self.keys.append(key)

    def records(self) -> tuple[KeyRecord, ...]:
        """Return the keys, in the order in which they were pressed."""
        return tuple(key.record() for key in self.keys[:MAX_KEYS])


def _goes_on(last: _Key, code: int, timestamp: int) -> bool:
    """Say whether a packet is the next part of a key that is still held."""
    passed = (timestamp - last.part) % _TURN
    return last.code == code and not last.ended and last.units > 0 and passed == last.units
