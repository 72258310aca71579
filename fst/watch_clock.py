"""The edge to the clock of waits: it goes on while the laptop sleeps, and knows the boot.

A laptop that slept for ten minutes has watched nothing for ten minutes. By CLOCK_MONOTONIC, which
sleeps too, that would look as if somebody had set the wall clock.
"""

import time
from pathlib import Path

from fst.hold import Instant
from harness.clock import Clock, SystemClock

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class WatchClock:
    """A `Clock` whose monotonic side counts sleep too (CLOCK_BOOTTIME)."""

    def wall_ns(self) -> int:
        """Return the wall clock, in nanoseconds since 1970 (UTC)."""
        return SystemClock().wall_ns()

    def monotonic_ns(self) -> int:
        """Return the time since the machine was started, in nanoseconds."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return what the kernel calls this boot; "unknown" where it does not say."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def instant(clock: Clock, boot: str) -> Instant:
    """Return the present moment by both clocks."""
    return Instant(clock.wall_ns(), clock.monotonic_ns(), boot)
