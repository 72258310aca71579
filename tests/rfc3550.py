"""A receiver of one RTP stream, packet by packet, as the appendices of RFC 3550 write it.

Written from the RFC alone, with its names; nothing of the code under test is used.
"""

from dataclasses import dataclass, field

RTP_SEQ_MOD, MAX_DROPOUT, MAX_MISORDER = 1 << 16, 3000, 100


@dataclass(slots=True)
class Receiver:
    """Source of appendix A.1, with what A.3 and A.8 make of it."""

    base_seq: int
    max_seq: int
    clock_hz: int
    cycles: int = 0
    bad_seq: int = RTP_SEQ_MOD + 1
    received: int = 0
    before: int = 0  # expected, before the last restart
    total: int = 0  # received, before the last restart
    odd: int = 0
    restarts: int = 0
    seen: set[int] = field(default_factory=set)
    doubles: int = 0
    late: int = 0
    lost_runs: list[int] = field(default_factory=list)
    transit: tuple[int, int] | None = None  # arrival and timestamp of the last packet
    jitter: float = 0.0
    jitters: list[float] = field(default_factory=list)  # after each difference

    @classmethod
    def start(cls, seq: int, clock_hz: int = 8000) -> "Receiver":
        """init_seq, before the first packet."""
        return cls(seq, (seq - 1) % RTP_SEQ_MOD, clock_hz, cycles=-RTP_SEQ_MOD if seq == 0 else 0)

    def packet(self, seq: int, arrival_ns: int, timestamp: int) -> bool:
        """update_seq of A.1 without probation, then A.8; return whether the packet counts."""
        udelta = (seq - self.max_seq) % RTP_SEQ_MOD
        restarted = False
        if udelta < MAX_DROPOUT:
            if seq < self.max_seq:
                self.cycles += RTP_SEQ_MOD
            self.note(self.cycles + seq, is_late=udelta == 0)
            self.max_seq = seq
        elif udelta <= RTP_SEQ_MOD - MAX_MISORDER:
            if seq != self.bad_seq:
                self.bad_seq = (seq + 1) % RTP_SEQ_MOD
                self.odd += 1
                return False
            self.restart(seq)
            restarted = True
        else:
            behind = RTP_SEQ_MOD - udelta
            self.note(self.cycles + self.max_seq - behind, is_late=True)
        self.received += 1
        self.measure(arrival_ns, timestamp, is_first=restarted)
        return True

    def note(self, extended: int, *, is_late: bool) -> None:
        """Tell what came twice from what came late."""
        if extended in self.seen:
            self.doubles += 1
        elif is_late:
            self.late += 1
        self.seen.add(extended)

    def restart(self, seq: int) -> None:
        """init_seq, after two packets in a row; the first of them counts as well."""
        self.close()
        self.base_seq, self.max_seq, self.cycles = (seq - 1) % RTP_SEQ_MOD, seq, 0
        if seq == 0:
            self.cycles = RTP_SEQ_MOD
        self.bad_seq = RTP_SEQ_MOD + 1
        self.received, self.seen = 1, {self.base_seq, self.cycles + seq}
        self.odd -= 1
        self.restarts += 1

    def expected(self) -> int:
        """A.3, since the last restart."""
        return self.cycles + self.max_seq - self.base_seq + 1

    def close(self) -> None:
        """Add up what was expected, received and lost until now."""
        self.before += self.expected()
        self.total += self.received
        run = 0
        for number in range(self.base_seq, self.cycles + self.max_seq + 1):
            if number not in self.seen:
                run += 1
            elif run:
                self.lost_runs.append(run)
                run = 0

    def measure(self, arrival_ns: int, timestamp: int, *, is_first: bool) -> None:
        """Estimate jitter, in ms, as A.8 does in units of the timestamp."""
        if self.transit is not None and not is_first:
            units = (timestamp - self.transit[1] + 2**31) % 2**32 - 2**31
            d = abs((arrival_ns - self.transit[0]) / 1e6 - units * 1e3 / self.clock_hz)
            self.jitter += (d - self.jitter) / 16
            self.jitters.append(self.jitter)
        self.transit = arrival_ns, timestamp
