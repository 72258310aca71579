"""Who calls, and who is called: from the INVITE that opens the call, with the rule that said so.

    source        P-Asserted-Identity (its tel URI first; of trusted senders only, where a list of
                  them is given), Remote-Party-ID (of the calling party; screened ones first),
                  From, P-Preferred-Identity
    destination   Request-URI, P-Called-Party-ID, To; on an access line To may come first
    original      who was dialled before a diversion: History-Info index 1, else the last Diversion

The first of them that holds a number decides; with none, From and the first of the destination's
are shown as they are. What did not decide is kept, with the reason. A caller who asks for privacy
is `restricted`. A diverted call keeps its caller; who diverted it stands beside.

Laws: the order of headers of different names changes nothing; any INVITE has parties, none raises.

Sources: RFC 3325 sections 9.1 to 9.3 (asserted and preferred identity, Privacy: id), RFC 3323
section 4.2, draft-ietf-sip-privacy-04 (Remote-Party-ID), RFC 7315 section 4.2 (P-Called-Party-ID),
RFC 5806 (Diversion), RFC 7044 (History-Info), RFC 4694 (rn, npdi).
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial

from harness.dialled import Dialled, taken_apart
from harness.dialplan import DialPlan, Network, is_inside
from harness.errors import InputError
from harness.party import Restricted
from harness.premises import DialledBy, Premises
from probetest.calls.diversion import diverted
from probetest.calls.party_decision import (
    Called,
    Calling,
    Candidate,
    Parties,
    Rejected,
    Trust,
    decision,
    hidden_one,
)
from probetest.calls.party_headers import (
    ASSERTED,
    CALLED_PARTY,
    FROM,
    PREFERRED,
    PRIVACY,
    REMOTE,
    REQUEST_URI,
    TO,
    Asked,
    Lines,
    asked,
    hints,
    values,
)
from probetest.sip.message import SipMessage

REMEMBERED = 16_384  # decisions a side; a capture repeats its numbers
MAX_REMEMBERED_CHARS = 2048  # of a key: hostile headers fill no memory

_PRIVATE = frozenset({"id", "user", "header"})  # values of Privacy that hide the caller
_RPID_PRIVATE = frozenset({"full", "name", "uri"})
_SERVICE_CODE = re.compile(r"service code (\S+), ")


class PartyReader:
    """Reads the parties of INVITEs, and remembers what it has read: captures repeat themselves."""

    __slots__ = ("_by_trust", "_called", "_calling", "premises", "show_restricted")

    def __init__(self, premises: Premises, *, show_restricted: bool = False) -> None:
        """Keep what is known of the place; *show_restricted* names who asked not to be named."""
        self.premises = premises
        self.show_restricted = show_restricted
        self._calling = lru_cache(REMEMBERED)(partial(_calling, premises.plan, show_restricted))
        self._called = lru_cache(REMEMBERED)(
            partial(_called, premises.plan, show_restricted, premises.dialled)
        )
        self._by_trust = {one: lru_cache(REMEMBERED)(partial(self._short, one)) for one in Trust}

    def decide(
        self, invite: SipMessage, client: str = "", longest: SipMessage | None = None
    ) -> Parties:
        """Return the parties of *invite*, which came from the address *client*.

        Of overlap dialling *longest* is the INVITE with all digits: it says who was dialled.

        Raises:
            InputError: a response, which names no caller.
        """
        other = None if longest is None or longest is invite else asked(longest)
        return self.decide_asked(asked(invite), client, other)

    def decide_asked(self, said: Asked, client: str = "", longest: Asked | None = None) -> Parties:
        """Return the parties that the headers of INVITEs name; see `decide`."""
        found = self._decided(said, client)
        if longest is None:
            return found
        return Parties(found.calling, self._decided(longest, client).called)

    def _decided(self, said: Asked, client: str) -> Parties:
        """Return the parties that the headers of one INVITE name."""
        trusted = self.premises.trusted
        believed = trust(client, trusted) if trusted else Trust.ANYBODY
        try:
            return self._by_trust[believed](said)
        except _TooLongError:
            plan, by, shown = self.premises.plan, self.premises.dialled, self.show_restricted
            return Parties(
                _calling(plan, shown, believed, said.sender, said.caller_lines),
                _called(plan, shown, by, (said.request_uri, said.to), said.called_lines),
            )

    def _short(self, believed: Trust, said: Asked) -> Parties:
        """Return the parties that *said* names, but not of headers too long to be kept."""
        every = (said.request_uri, said.sender, said.to)
        lines = (*said.caller_lines, *said.called_lines)
        if sum(map(len, every)) + sum(len(value) for _, value in lines) > MAX_REMEMBERED_CHARS:
            raise _TooLongError
        return Parties(
            self._calling(believed, said.sender, said.caller_lines),
            self._called((said.request_uri, said.to), said.called_lines),
        )


class _TooLongError(Exception):
    """Headers that are not to be remembered: hostile ones fill no memory."""


def decide(
    invite: SipMessage, premises: Premises, *, client: str = "", show_restricted: bool = False
) -> Parties:
    """Return the parties of one *invite*; of many, `PartyReader` is faster.

    Raises:
        InputError: a response, which names no caller.
    """
    return PartyReader(premises, show_restricted=show_restricted).decide(invite, client)


def trust(address: str, trusted: tuple[Network, ...]) -> Trust:
    """Return whether what *address* asserts counts."""
    if not trusted:
        return Trust.ANYBODY
    try:
        return Trust.TRUSTED if is_inside(address, trusted) else Trust.STRANGER
    except InputError:
        return Trust.STRANGER


def hinted(invite: SipMessage, plan: DialPlan) -> tuple[Rejected, ...]:
    """Return what else may hint at the caller: never a number, a device can write anything."""
    found = []
    for header, value in hints(invite):
        reading = plan.reading(value, kind="uri" if header == "Contact" else "user")
        why = "a hint only: it names a device, or an account"
        found.append(Rejected("source", header, value, reading.text, reading.rule, why))
    return tuple(found)


def _calling(
    plan: DialPlan, show_restricted: bool, trust: Trust, sender: str, lines: Lines
) -> Calling:
    """Return the calling side that From and the other *lines* name."""
    last = Candidate(FROM, plan.reading(sender, kind="uri"))
    every = _callers(plan, trust, last, lines) if lines else (last,)
    best = next((one for one in every if one.is_usable), last)
    source = decision(best, plan, trust)
    why = (_privacy(lines) if lines else "") or _nobody(every, best, last)
    if why and not isinstance(source.party, Restricted):
        source = hidden_one(source, why, show_restricted=show_restricted)
    hidden = why or (source.plan_rule if isinstance(source.party, Restricted) else "")
    return Calling(source, hidden, every, best)


def _called(
    plan: DialPlan, show_restricted: bool, dialled: DialledBy, uris: tuple[str, str], lines: Lines
) -> Called:
    """Return the called side that Request-URI, To (*uris*) and the other *lines* name."""
    every = _destinations(plan, dialled, uris, lines)
    best = next((one for one in every if one.is_usable), every[0])
    original, diversions, others = diverted(plan, lines, show_restricted=show_restricted)
    code = _SERVICE_CODE.match(best.reading.rule)
    beside = taken_apart(uris[0]).number or taken_apart(best.reading.raw).number
    return Called(
        destination=decision(best, plan),
        service_codes=(code[1],) if code else (),
        number=beside,
        original=original,
        diversions=diversions,
        others=others,
        every=every,
        best=best,
    )


def _callers(
    plan: DialPlan, trust: Trust, sender: Candidate, lines: Lines
) -> tuple[Candidate, ...]:
    """Return every calling party, the most trusted first."""
    objection = trust.value if trust is Trust.STRANGER else ""
    found = [
        Candidate(ASSERTED, plan.reading(value, kind="uri"), objection)
        for value in _first(values(lines, ASSERTED), lambda one: one.scheme == "tel")
    ]
    for value in _first(values(lines, REMOTE), lambda one: one.of_header("screen") == "yes"):
        party = taken_apart(value).of_header("party")
        why = "" if party in ("", "calling") else f"party={party:.20}"
        found.append(Candidate(REMOTE, plan.reading(value, kind="uri"), why))
    preferred = values(lines, PREFERRED)
    weaker = (Candidate(PREFERRED, plan.reading(value, kind="uri")) for value in preferred)
    return (*found, sender, *weaker)


def _first(given: tuple[str, ...], is_first: Callable[[Dialled], bool]) -> Iterable[str]:
    """Return the values *given*, those that are to be first before the others."""
    if len(given) < 2:  # noqa: PLR2004 - nothing to put in order, as nearly always
        return given
    return sorted(given, key=lambda value: not is_first(taken_apart(value)))


def _destinations(
    plan: DialPlan, dialled: DialledBy, uris: tuple[str, str], lines: Lines
) -> tuple[Candidate, ...]:
    """Return every called party, that which is to decide first."""
    request_uri = Candidate(REQUEST_URI, plan.reading(uris[0], kind="uri"))
    to = Candidate(TO, plan.reading(uris[1], kind="uri"))
    called = values(lines, CALLED_PARTY)
    own = [Candidate(CALLED_PARTY, plan.reading(value, kind="uri")) for value in called]
    return (to, request_uri, *own) if dialled is DialledBy.TO else (request_uri, *own, to)


def _privacy(lines: Lines) -> str:
    """Say how the caller asked not to be shown, or ""."""
    given = [value for name, value in lines if name == PRIVACY]
    words = {word.strip().lower() for value in given for word in re.split("[;,]", value)}
    if hidden := sorted(words & _PRIVATE):
        return f"Privacy: {hidden[0]}"
    for value in values(lines, REMOTE):
        apart = taken_apart(value)
        hides = apart.of_header("privacy").partition("-")[0]
        if hides in _RPID_PRIVATE and apart.of_header("party") in ("", "calling"):
            return f"Remote-Party-ID privacy={hides}"
    return ""


def _nobody(every: tuple[Candidate, ...], best: Candidate, sender: Candidate) -> str:
    """Say which header names nobody on purpose: From, or one before that which decides; or ""."""
    for one in every:
        if one is best:
            break
        if not one.objection and isinstance(one.reading.party, Restricted):
            return f"{one.header} names nobody"
    return f"{FROM} names nobody" if isinstance(sender.reading.party, Restricted) else ""
