"""How fast parties are read: headers seen before, headers never seen, and libphonenumber beside.

Claim: of headers that repeat, at least 500,000 lookups a second.

    python -m benchmarks.parties
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import phonenumbers

from harness.dialplan import DialPlan
from harness.premises import Premises
from probetest.calls.parties import PartyReader
from probetest.calls.party_headers import Asked

PAIRS, ROUNDS, REPEATS = 2000, 5, 50
CLAIM_HZ = 500_000
SITE = Premises(DialPlan("bench", "1", ("011",), "1", emergency=("911",)))


def headers(form: str, first: int) -> list[Asked]:
    """Return the headers of calls between numbers from *first* on, all different."""
    found = []
    for number in range(first, first + PAIRS):
        caller, called = form.format(number), form.format(number + PAIRS)
        found.append(
            Asked(
                f"sip:{called}@192.0.2.1;user=phone",
                f'"A" <sip:{caller}@192.0.2.10>',
                f"<sip:{called}@192.0.2.1>",
                (("P-Asserted-Identity", f"<sip:{caller}@192.0.2.1>"),),
                (),
            )
        )
    return found


def rate_hz(work: Callable[[], object], count: int) -> float:
    """Return how many of *count* units of *work* are done a second of processor time."""
    begin = time.process_time_ns()
    work()
    return count * 1e9 / (time.process_time_ns() - begin)


def looked_up(reader: PartyReader, every: Sequence[Asked], times: int) -> None:
    """Read the parties of *every* set of headers so many *times*."""
    for _ in range(times):
        for said in every:
            reader.decide_asked(said)


def parsed(texts: Sequence[str]) -> None:
    """Have libphonenumber read *texts*."""
    for text in texts:
        phonenumbers.parse(text, "US")


def main() -> int:
    """Print the rates; return 0 when the claim holds."""
    gc.disable()
    rates: dict[str, list[float]] = {}
    for place in range(ROUNDS):
        first = place * 4 * PAIRS  # PAIRS callers and as many called, of each form
        for name, form in (("+1…", "+1650{:07d}"), ("national", "650{:07d}")):
            every, reader = headers(form, first), PartyReader(SITE)
            fresh = rate_hz(lambda r=reader, e=every: looked_up(r, e, 1), PAIRS)  # type: ignore[misc]
            again = rate_hz(lambda r=reader, e=every: looked_up(r, e, REPEATS), PAIRS * REPEATS)  # type: ignore[misc]
            rates.setdefault(f"headers never seen, {name}", []).append(fresh)
            rates.setdefault(f"headers seen before, {name}", []).append(again)
        texts = [f"+1650{number:07d}" for number in range(PAIRS)]
        found = rate_hz(lambda t=texts: parsed(t), PAIRS)  # type: ignore[misc]
        rates.setdefault("one number, phonenumbers.parse", []).append(found)
    print(f"{'a second of processor time, median of ' + str(ROUNDS):45} {'least':>11} {'most':>11}")
    for name, some in rates.items():
        median = statistics.median(some)
        print(f"{name:32} {median:12,.0f} {min(some):11,.0f} {max(some):11,.0f}")
    repeats = [some for name, some in rates.items() if "before" in name]
    return 0 if min(map(statistics.median, repeats)) >= CLAIM_HZ else 1


if __name__ == "__main__":
    sys.exit(main())
