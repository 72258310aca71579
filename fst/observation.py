"""What one exercise recorded: a capture and the marks of what was done, and nothing else.

Every verdict is computed from an `Observation` by pure functions, so it can be computed again from
the run's folder by somebody else.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from enumtest.checks.hold_down import Group
from enumtest.profiles.profile_groups import Event, ReadmitBy
from enumtest.traffic.lookups import Lookup, Traffic, read_traffic
from enumtest.traffic.matching import Matching, match, rejoin
from fst.site import MS, Judging, SbcTable, Site
from harness.dialplan import DialPlan
from harness.packets.capture import Capture
from harness.packets.frame import Datagrams, Endpoint, decode
from harness.records import CallRecord
from probetest.calls.at_sbc import read_calls


class MarkKind(StrEnum):
    """What the run did at a moment (it is in the journal too)."""

    BEGIN = "begin"  # of the window that is judged
    END = "end"
    DOWN = "down"  # the servers named were taken out of service
    UP = "up"
    INSTALLED = "installed"  # the policy rules named
    UNINSTALLED = "uninstalled"


@dataclass(frozen=True, slots=True)
class Mark:
    """One deed of the run, at wall time."""

    at_ns: int
    kind: MarkKind
    names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the mark as it stands in the journal."""
        return {"mark_ns": self.at_ns, "kind": self.kind.value, "names": list(self.names)}


@dataclass(frozen=True)
class Observation:
    """The record of one exercise at one SBC."""

    exercise: str
    site: Site
    sbc: SbcTable
    judging: Judging
    dial_plan: DialPlan
    capture: Capture
    dropped: int | None  # packets that the capture lost; None when it can't know
    marks: tuple[Mark, ...]

    @cached_property
    def servers(self) -> dict[Endpoint, str]:
        """Return address to name of the SBC's ENUM servers, in the SBC's order."""
        return enum_endpoints(self.site, self.sbc, by_endpoint=True)

    @cached_property
    def group(self) -> Group:
        """Return what the site file declares of servers and times, and the probes that were seen.

        Whatever the SBC asks for no number is a probe, and what its profile probes with.
        """
        asked = [hop for one in self.traffic.lookups
                 if one.number(self.sbc.apex) is None or self._is_probe(one)
                 for hop in one.hops]  # fmt: skip
        probes = [one for one in (*asked, *self.traffic.probes)
                  if one.client.address == self.sbc.address]  # fmt: skip
        return replace(self._declared, profile=self.sbc.behaviour, probes=tuple(probes))

    @cached_property
    def _declared(self) -> Group:
        """Return the servers and times that the site file declares."""
        hold_down_ns = self.sbc.hold_down_ms * MS
        tolerance = self.judging.hold_down_tolerance_percent / 100
        return Group(
            tuple(self.sbc.enum_servers),
            self.sbc.timeout_ms * MS,
            hold_down_ns,
            round(hold_down_ns * tolerance),
            self.sbc.retransmissions,
        )

    @cached_property
    def datagrams(self) -> Datagrams:
        """Return the capture's UDP datagrams and TCP segments."""
        return decode(self.capture)

    @cached_property
    def traffic(self) -> Traffic:
        """Return all DNS traffic with the group's servers.

        What no call explains is joined to the lookup that it goes on from, however late it comes.
        """
        timeout_ns = self._declared.timeout_ns
        failures = frozenset(f.value for f in self.sbc.failures if f is not Event.SILENCE)
        read = read_traffic(self.datagrams, self.servers, timeout_ns=timeout_ns, failures=failures)
        claimed = self._matched(read.lookups).claimed(timeout_ns // 2, self._party)
        return replace(read, lookups=rejoin(read.lookups, claimed, timeout_ns))

    @cached_property
    def matching(self) -> Matching:
        """Return which lookup of this SBC each call made, in the whole capture."""
        return self._matched(self.traffic.lookups)

    def _matched(self, lookups: tuple[Lookup, ...]) -> Matching:
        own = [one for one in lookups if self._is_own(one)]
        return match(
            self.calls,
            own,
            self.sbc.apex,
            self._party,
        )

    def _party(self, source: str) -> str:
        """Return who the source URI of a request names."""
        return self.dial_plan.reading(source, kind="uri").text

    def _is_own(self, lookup: Lookup) -> bool:
        """Say whether this SBC asked, and for a number."""
        is_number = lookup.number(self.sbc.apex) is not None and not self._is_probe(lookup)
        return is_number and lookup.first.client.address == self.sbc.address

    def _is_probe(self, lookup: Lookup) -> bool:
        """Say whether *lookup* asks for what the declared profile probes with."""
        return self._probe_name == lookup.qname.removesuffix(".")

    @cached_property
    def _probe_name(self) -> str:
        """Return what held servers are asked for, "" when no probes are declared."""
        back = self.sbc.behaviour.readmission
        return back.asked_for(self.sbc.apex) if back.by is ReadmitBy.PROBES else ""

    @cached_property
    def customer_numbers(self) -> tuple[str, ...]:
        """Return the numbers that belong to the site: a call to one of them is inbound."""
        numbers = self.site.numbers
        own = [place.number for place in self.site.destinations]
        if numbers is not None:
            own += [*numbers.plain, *numbers.allow, *numbers.terminate, *numbers.redirect]
        return tuple(own)

    @cached_property
    def calls(self) -> tuple[CallRecord, ...]:
        """Return the calls offered to the SBC, as its SIP messages show."""
        sip = Endpoint(self.sbc.address, self.sbc.sip_port)
        return read_calls(
            self.datagrams, (sip,), self.dial_plan, customer_numbers=self.customer_numbers
        )

    def at(self, kind: MarkKind) -> int:
        """Return when *kind* first happened; 0 when it never did."""
        return next((mark.at_ns for mark in self.marks if mark.kind is kind), 0)

    def between(self, from_ns: int, to_ns: int) -> tuple[Lookup, ...]:
        """Return the lookups for tagged numbers that began in that time."""
        return tuple(
            lookup
            for lookup in self.traffic.lookups
            if from_ns <= lookup.at_ns <= to_ns and self.is_tagged(lookup)
        )

    def own_between(self, from_ns: int, to_ns: int) -> tuple[Lookup, ...]:
        """Return the lookups that this SBC made for test calls, or for nobody's call.

        Lookups of other addresses are never taken for its own: B.1.1 tells the sender.
        """
        return tuple(
            one
            for one in self.traffic.lookups
            if from_ns <= one.at_ns <= to_ns and self._is_own(one) and not self._is_production(one)
        )

    @cached_property
    def others(self) -> tuple[Lookup, ...]:
        """Return what else this SBC looked up in the judged window: other calls, odd names."""
        return tuple(
            one
            for one in self.traffic.lookups
            if self.window[0] <= one.at_ns <= self.window[1]
            and one.first.client.address == self.sbc.address
            and (not self._is_own(one) or self._is_production(one))
        )

    def _is_production(self, lookup: Lookup) -> bool:
        """Say whether a call to another than a test number explains *lookup*.

        A call to an extension or a service code may be looked up under a number of its own.
        """
        number = str(lookup.number(self.sbc.apex))
        if number in self.tagged:
            return False
        return number in self._dialled or any(
            call.at_ns <= lookup.at_ns <= (call.final_ns or lookup.at_ns)
            for call in self.calls
            if not call.destination.startswith("+")
        )

    @cached_property
    def _dialled(self) -> frozenset[str]:
        return frozenset(call.destination for call in self.calls)

    def calls_between(self, from_ns: int, to_ns: int) -> tuple[CallRecord, ...]:
        """Return the calls to tagged numbers that began in that time."""
        return tuple(
            call
            for call in self.calls
            if from_ns <= call.at_ns <= to_ns and call.destination in self.tagged
        )

    @cached_property
    def tagged(self) -> frozenset[str]:
        """Return the test numbers: the only ones that verdicts are taken from."""
        return frozenset(self.customer_numbers)

    def is_tagged(self, lookup: Lookup) -> bool:
        """Say whether *lookup* is for a test number; a name that is no number is the site's."""
        number = lookup.number(self.sbc.apex)
        return number is None or str(number) in self.tagged

    @property
    def window(self) -> tuple[int, int]:
        """Return when the judged window begins and ends (wall time)."""
        return self.at(MarkKind.BEGIN), self.at(MarkKind.END)


def enum_endpoints(site: Site, sbc: SbcTable, *, by_endpoint: bool) -> dict[Any, Any]:
    """Return the ENUM servers of *sbc* in its order: endpoint to name, or name to endpoint."""
    pairs = [(Endpoint(site.host(name).address, sbc.enum_port), name) for name in sbc.enum_servers]
    return dict(pairs) if by_endpoint else {name: endpoint for endpoint, name in pairs}
