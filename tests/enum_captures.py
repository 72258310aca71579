"""The captures pcaps/enum-*: a simulated SBC and its servers, the same bytes at each run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.sbc.sbc import SbcConfig
from tests.enum_wire import MS, SECOND, Down, Wire, endpoints
from tests.sbc_defects import SOUND, EarlyPool, Make, with_pool

SERVERS = endpoints(3)
# Not by all rules: some rest on values that no maker publishes.
RULES = "--rule rotation.* --rule hold-down.* --rule readmission.* --rule reaction.*"
ARGUMENTS = f"--servers {','.join(at.address for at in SERVERS.values())}"


@dataclass(frozen=True, slots=True)
class Case:
    """One capture, and how it is judged."""

    make: Callable[[], bytes]
    options: str
    exit_code: int  # of `enumtest judge`


def _outage() -> bytes:
    """Return 150 calls of an Oracle SBC; the second server is silent for 45 s."""
    return _run(SOUND, SbcConfig(SERVERS, shipped_profile("oracle-round-robin")), 150, 1500 * MS)


def _early_return() -> bytes:
    """Return 130 calls of the plan's SBC that comes back after 24 s of 30."""
    given = Overrides(timeout_ns=2 * SECOND, hold_down_ns=30 * SECOND)
    profile = laid_over(shipped_profile("fixed-hold-down"), given)
    return _run(with_pool(EarlyPool), SbcConfig(SERVERS, profile), 130, 900 * MS)


def _run(make: Make, config: SbcConfig, calls: int, every_ns: int) -> bytes:
    wire = Wire(make(config), Down({"enum2": (30 * SECOND, 75 * SECOND)}))
    wire.calls(calls, every_ns)
    return wire.run().capture()


CASES: Mapping[str, Case] = {
    "enum-outage": Case(_outage, f"--profile oracle-round-robin {RULES}", 0),
    "enum-early-return": Case(
        _early_return,
        f"--profile fixed-hold-down --timeout-ms 2000 --hold-down-ms 30000 {RULES}",
        1,
    ),
}
