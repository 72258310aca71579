"""When an Oracle SBC sends a query to one server again, by the time-out that it is set to.

    time-out      first interval   longest    sends
    1 s           250 ms           250 ms     0, 250, 500, 750 ms
    2 s           250 ms           650 ms     0, 250, 750, 1400 ms
    3 s and more  timeout / 11     4 times    0, 1, 3 and 7 elevenths

The interval doubles up to the longest one; three retransmissions are the aim. The time-out is set
in whole seconds, so that nothing is known of any other.

Source: Oracle S-CZ configuration GUID-142FAD3C, Retransmission Logic.
"""

from harness.errors import InputError

SOURCE = "Oracle S-CZ configuration GUID-142FAD3C, Retransmission Logic"
S, MS = 1_000_000_000, 1_000_000  # nanoseconds
DEFAULT_S = 11
_SHORT_MS = {1: (250, 250), 2: (250, 650)}  # first and longest interval
_ELEVENTHS, _WHOLE = (0, 1, 3, 7), 11


def is_known(timeout_ns: int) -> bool:
    """Say whether an Oracle SBC can be set to this time-out."""
    return timeout_ns >= S and not timeout_ns % S


def oracle_schedule(timeout_s: int) -> tuple[int, ...]:
    """Return when one server is asked, in nanoseconds from the first send.

    >>> [at_ns // MS for at_ns in oracle_schedule(2)]
    [0, 250, 750, 1400]
    >>> [at_ns // S for at_ns in oracle_schedule(11)]
    [0, 1, 3, 7]

    Raises:
        InputError: no whole second.
    """
    if timeout_s < 1:
        fix = "an Oracle SBC takes whole seconds"
        raise InputError("below 1 s", field="timeout", value=timeout_s, fix=fix)
    if timeout_s not in _SHORT_MS:
        return tuple(timeout_s * S * part // _WHOLE for part in _ELEVENTHS)
    interval_ms, longest_ms = _SHORT_MS[timeout_s]
    at_ms, times_ns = 0, [0]
    while (at_ms := at_ms + interval_ms) < timeout_s * 1000:
        times_ns.append(at_ms * MS)
        interval_ms = min(2 * interval_ms, longest_ms)
    return tuple(times_ns)
