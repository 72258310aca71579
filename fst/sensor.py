"""Which of the calls that are waited for the tap has seen, as they happen: bytes in, sightings out.

    INVITE to the SBC ──▶ begun ──▶ query at a server ─────────┐
                            └─────▶ anything but 100 Trying ───┴▶ seen (once a call)
    query at a server, no INVITE of its call ─────────────────────▶ seen

Where only the ENUM side is tapped no INVITE is ever seen, and queries stand for calls: one that
repeats an unanswered one is the same call. A sensor closes prompts and judges nothing: the same
packets are judged later from the capture.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from enumtest.dns.message import number_from_qname, parse_query
from fst.report.moment import clock
from harness.errors import InputError
from harness.packets.frame import Endpoint
from probetest.sip.message import SipMessage, looks_like_sip, parse, uri_user

DNS_ID_BYTES = 2
_TRYING, _REFUSED = 100, 300


@dataclass(frozen=True, slots=True)
class Sighting:
    """One call that was waited for, as the tap saw it."""

    number: str
    at_ns: int  # wall time of its INVITE, or of its first query
    server: str  # that was asked first; "" when none was
    rule: str  # the test policy in force for the number; "" when there is none
    by: str  # "INVITE" or "query": what was seen first

    def text(self) -> str:
        """Return the sighting in words."""
        asked = f"asked {self.server}" if self.server else "no server was asked"
        rule = f", rule {self.rule}" if self.rule else ""
        return f"seen {self.number} at {clock(self.at_ns)} ({self.by}), {asked}{rule}"


@dataclass(slots=True)
class _Call:
    """One dialog with the SBC that has not ended."""

    number: str
    at_ns: int
    is_told: bool = False


@dataclass(slots=True)
class _Asked:
    """The queries for one number since its last answer."""

    ids: dict[tuple[str, bytes], bool] = field(default_factory=dict)  # by server and id: answered
    servers: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)  # servers whose silence is counted


class Sensor:
    """Follows the calls at one SBC."""

    def __init__(
        self,
        servers: Mapping[Endpoint, str],
        sbc: Endpoint,
        apex: str,
        *,
        normal: Callable[[str], str],
    ) -> None:
        """Keep the parts; *normal* gives a dialled user part in the form of the site file."""
        self._servers, self._sbc, self._apex, self._normal = dict(servers), sbc, apex, normal
        self._wanted: list[str] = []
        self._calls: dict[str, _Call] = {}
        self._asked: dict[str, _Asked] = {}
        self._is_sip_tapped = False
        self.rules: dict[str, str] = {}  # number to the rule in force for it
        self.seen: list[Sighting] = []
        self.given_up = Counter[str]()  # queries that each server left without an answer

    def want(self, numbers: tuple[str, ...]) -> None:
        """Wait for a call to each of *numbers* (one that is in it twice, for two)."""
        self._wanted, self.seen = list(numbers), []

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the numbers whose calls were not seen yet, in the order wanted."""
        return tuple(self._wanted)

    @property
    def is_busy(self) -> bool:
        """Say whether a call that was seen has not ended yet."""
        return bool(self._calls)

    def progress(self) -> str:
        """Return how many calls are still needed, and which is the next."""
        total = len(self._wanted) + len(self.seen)
        if not self._wanted:
            return f"{len(self.seen)} of {total} calls seen, no more needed"
        return (
            f"{len(self.seen)} of {total} calls seen, {len(self._wanted)} still needed; next: "
            + (self._wanted[0])
        )

    def receive(
        self, at_ns: int, source: Endpoint, to: Endpoint, payload: bytes
    ) -> tuple[Sighting, ...]:
        """Return the calls that this datagram shows for the first time; nearly always none."""
        if to in self._servers:
            return self._query(at_ns, self._servers[to], payload)
        if source in self._servers:
            self._answer(self._servers[source], payload)
            return ()
        if self._sbc.address not in (source.address, to.address) or not looks_like_sip(payload):
            return ()
        try:
            message = parse(payload)
        except InputError:  # what is wrong with it is for the judges of the capture
            return ()
        return self._sip(at_ns, source, to, message)

    def _query(self, at_ns: int, server: str, payload: bytes) -> tuple[Sighting, ...]:
        try:
            query = parse_query(payload)
            number = str(number_from_qname(query.qname, self._apex))
        except InputError:
            return ()
        asked = self._asked.setdefault(number, _Asked())
        is_new = not any(not answered for answered in asked.ids.values())
        if is_new:
            asked.ids.clear()
            asked.servers.clear()
            asked.lost.clear()
        self._lose(asked, but=server)
        asked.ids.setdefault((server, payload[:DNS_ID_BYTES]), False)
        asked.servers.append(server)
        for call in self._calls.values():
            if call.number == number and not call.is_told:
                call.is_told = True
                return self._tell(Sighting(number, call.at_ns, server, "", "INVITE"))
        if is_new and not self._is_sip_tapped:
            return self._tell(Sighting(number, at_ns, server, "", "query"))
        return ()

    def _answer(self, server: str, payload: bytes) -> None:
        for asked in self._asked.values():
            key = (server, payload[:DNS_ID_BYTES])
            if key in asked.ids:
                asked.ids[key] = True

    def _sip(
        self, at_ns: int, source: Endpoint, to: Endpoint, message: SipMessage
    ) -> tuple[Sighting, ...]:
        call = self._calls.get(message.call_id)
        if message.method == "INVITE" and to.address == self._sbc.address and call is None:
            if not message.to_tag:
                number = self._number(message)
                self._is_sip_tapped = True
                self._calls[message.call_id] = _Call(number, at_ns)
            return ()
        if message.method == "INVITE" and source.address == self._sbc.address:
            return self._gone_on(self._number(message))
        if call is None or message.status == _TRYING:
            return ()
        if self._ends(message):
            del self._calls[message.call_id]
            self._silent(call.number)
        if call.is_told:
            return ()
        call.is_told = True
        return self._tell(Sighting(call.number, call.at_ns, "", "", "INVITE"))

    def _gone_on(self, number: str) -> tuple[Sighting, ...]:
        """Take it that the SBC sent a call on: whom it asked in vain it has given up."""
        self._silent(number)
        for call in self._calls.values():
            if call.number == number and not call.is_told:
                call.is_told = True
                return self._tell(Sighting(number, call.at_ns, "", "", "INVITE"))
        return ()

    def _silent(self, number: str) -> None:
        self._lose(self._asked.pop(number, _Asked()))

    def _lose(self, asked: _Asked, but: str = "") -> None:
        """Count the servers that left this call without an answer, each once."""
        silent = {one for (one, _), answered in asked.ids.items() if not answered and one != but}
        self.given_up.update(silent - asked.lost)
        asked.lost |= silent

    def _number(self, message: SipMessage) -> str:
        return self._normal(uri_user(message.request_uri))

    @staticmethod
    def _ends(message: SipMessage) -> bool:
        """Say whether the call is over with *message* (RFC 3261 sections 12.3, 13.2.2, 15)."""
        refused = (message.status or 0) >= _REFUSED and message.cseq[1] == "INVITE"
        return message.method in ("BYE", "CANCEL") or refused

    def _tell(self, sighting: Sighting) -> tuple[Sighting, ...]:
        if sighting.number not in self._wanted:
            return ()
        self._wanted.remove(sighting.number)
        told = replace(sighting, rule=self.rules.get(sighting.number, ""))
        self.seen.append(told)
        return (told,)
