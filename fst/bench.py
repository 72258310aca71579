"""What an exercise may do at a site: place calls, stop and start servers, install policy, record.

In the lab these are simulated; the exercises and the checks do not know the difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from enumtest.stub.policy import Rule
from fst.debts import Debt
from fst.observation import Mark, MarkKind
from fst.site import SbcTable, Site, SiteFile


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished capture."""

    path: str
    packets: int
    dropped: int | None  # None when the source can't know
    captured_by: str


class Bench(Protocol):
    """One SBC of one site, and what stands around it."""

    file: SiteFile
    site: Site
    sbc: SbcTable

    async def settle(self) -> None:
        """Bring all servers up, and wait until no hold-down can be left."""
        ...

    async def start_capture(self, name: str) -> None:
        """Start to record under *name*; returns when packets are being recorded."""
        ...

    async def stop_capture(self) -> Recording:
        """Stop, when all packets sent so far are in the file."""
        ...

    def mark(self, kind: MarkKind, names: Sequence[str] = ()) -> Mark:
        """Note a deed with the present time."""
        ...

    async def calls(self, numbers: Sequence[str]) -> None:
        """Place a call to each of *numbers*, spaced as the site allows, each to its end."""
        ...

    async def talk(self, numbers: Sequence[str]) -> None:
        """Place a call to each of *numbers* with audio both ways, each to its end."""
        ...

    async def calls_until_given_up(self, names: Sequence[str], numbers: Sequence[str]) -> None:
        """Place calls one after the other until the SBC has given up all of *names*."""
        ...

    async def down(self, names: Sequence[str]) -> None:
        """Take ENUM services out of service; marks DOWN."""
        ...

    async def up(self, names: Sequence[str]) -> None:
        """Bring them back; marks UP."""
        ...

    async def install(self, rules: Sequence[Rule]) -> None:
        """Install policy rules; marks INSTALLED."""
        ...

    async def uninstall(self, names: Sequence[str]) -> None:
        """Remove policy rules by name; marks UNINSTALLED."""
        ...

    def hold_down_ns(self) -> int:
        """Return how long the SBC leaves a server alone whose failures it has met.

        As declared, or longer where the run's own captures show that.
        It is counted from when the server serves again.
        """
        ...

    async def wait(self, duration_ns: int) -> None:
        """Let time go by: a hold-down is being waited for."""
        ...

    async def observe_up(self, names: Sequence[str]) -> Mapping[str, str]:
        """Ask each of *names*; return what was seen of those that serve, in words."""
        ...

    async def observe_rules(self) -> tuple[str, ...]:
        """Return the names of the policy rules that are in force."""
        ...

    async def restore(self, debts: Sequence[Debt]) -> None:
        """Undo what *debts* of this bench tell of, and pay those that are seen to be undone."""
        ...


def failures_needed(sbc: SbcTable) -> int:
    """Return how often a server has to fail before this SBC, as declared, leaves it alone."""
    stages = sbc.behaviour.hold_down.stages
    return stages[0].failures if stages else 1
