"""What an SBC does with an ENUM answer: allow, terminate or redirect, by ordered matchers as data.

No standard says how a policy server expresses "terminate": each site agrees on a sentinel URI. So
the reading is data. A URI that no matcher fits is UNCLASSIFIED, which is loud, never an allow.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from enumtest.naptr.naptr import NaptrRecord, ServicesDefect, enum_services
from enumtest.naptr.search import Found, Resolution
from harness.errors import InputError, NumberError
from harness.number import PhoneNumber

_URI = re.compile(  # a blank or a second "@" is in no URI; readers differ on what it would mean
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?:(?P<user>[^@\s]*)@)?(?P<host>[^;?@\s]+)"
    r"(?P<rest>[;?][^@\s]*)?\Z"
)
ANY_VALUE = "*"


class Decision(StrEnum):
    """What becomes of the call."""

    ALLOW = "allow"
    TERMINATE = "terminate"
    REDIRECT = "redirect"
    NO_INSTRUCTION = "no-instruction"  # no usable record: the call goes on as dialled
    NO_SERVER = "no-server"  # nobody answered: the call goes on, or not, as the SBC is set
    UNCLASSIFIED = "unclassified"  # a URI that nobody agreed on


class UserMatch(StrEnum):
    """How the URI's user part compares with the dialled number."""

    ANY = "any"
    SAME = "same"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """One matcher: all that is set must fit; the first that fits decides."""

    decision: Decision
    scheme: str = ""  # "" fits any
    host: str = ""
    user: UserMatch = UserMatch.ANY
    user_text: str = ""  # the user part itself, or its start with a "*" behind; "" fits any
    service: str = ""  # enumservice of the record, as in E2U+pstn:tel: "pstn:tel", or "pstn"
    parameters: tuple[tuple[str, str], ...] = ()  # name and value, "*" for any; "" for no value

    def __post_init__(self) -> None:
        """Refuse a rule that could decide nothing, or that makes an allow of the unknown."""
        if self.decision not in (Decision.ALLOW, Decision.TERMINATE, Decision.REDIRECT):
            fix = "a rule decides allow, terminate or redirect"
            raise InputError("no order", field="decision", value=self.decision.value, fix=fix)
        catches_all = (self.user, *self._texts()) == (UserMatch.ANY, "", "", "", "", ())
        if catches_all and self.decision is Decision.ALLOW:
            why = "would allow every URI, also those that nobody agreed on"
            raise InputError(why, field="decision", value=self.decision.value, fix="name a part")

    def _texts(self) -> tuple[object, ...]:
        return self.scheme, self.host, self.user_text, self.service, self.parameters

    def fits(self, target: "Target", services: tuple[str, ...], *, same: bool) -> bool:
        """Say whether *target*, of a record for *services*, is what this rule is about."""
        return (
            self.scheme.lower() in ("", target.scheme)
            and self.host.lower().removesuffix(".") in ("", target.host)
            and (self.user is UserMatch.ANY or (self.user is UserMatch.SAME) == same)
            and self._user_fits(target.user)
            and self.is_for(services)
            and all(self._parameter_fits(name, value, target) for name, value in self.parameters)
        )

    def _user_fits(self, user: str) -> bool:
        if self.user_text.endswith("*"):
            return user.startswith(self.user_text[:-1])
        return self.user_text in ("", user)

    def is_for(self, services: tuple[str, ...]) -> bool:
        """Say whether one of *services* is this rule's: without case, "pstn" is "pstn:tel" too."""
        wanted = self.service.lower()
        return not wanted or any(
            one == wanted or one.startswith(f"{wanted}:") for one in map(str.lower, services)
        )

    @staticmethod
    def _parameter_fits(name: str, value: str, target: "Target") -> bool:
        found = dict(target.parameters).get(name.lower())
        return found is not None and value.lower() in (ANY_VALUE, found.lower())


CALL_SCHEMES = ("sip", "sips", "tel")  # what an SBC can send a call to

DEFAULT_RULES = (
    DecisionRule(Decision.TERMINATE, host="blocked.invalid"),
    *(DecisionRule(Decision.ALLOW, scheme, user=UserMatch.SAME) for scheme in CALL_SCHEMES),
    *(DecisionRule(Decision.REDIRECT, scheme, user=UserMatch.OTHER) for scheme in CALL_SCHEMES),
)


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a SIP or tel URI that a decision looks at."""

    scheme: str
    user: str  # without user parameters and password, unescaped; the number itself for tel
    host: str
    parameters: tuple[tuple[str, str], ...] = ()  # of the user part and of the URI, in lower case

    def number(self) -> PhoneNumber | None:
        """Return the user part as a global number, or None when it is none."""
        try:
            return PhoneNumber.parse(self.user)
        except NumberError:
            return None


def parse_target(uri: str) -> Target | None:
    """Return the parts of *uri*, or None when it has not that shape.

    A parameter that stands twice counts as it stands first: no reader sees the second.

    >>> parse_target("sip:+16505550112;rn=+1@gw.example.net;user=phone")
    Target(scheme='sip', user='+16505550112', host='gw.example.net', \
parameters=(('rn', '+1'), ('user', 'phone')))
    >>> parse_target("tel:+16505550112;npdi")
    Target(scheme='tel', user='+16505550112', host='', parameters=(('npdi', ''),))
    """
    found = _URI.match(uri)
    if found is None:
        return None
    scheme, host, rest = found["scheme"].lower(), found["host"], found["rest"] or ""
    userinfo, _, of_user = (found["user"] or "").partition(";")
    of_uri = rest.partition("?")[0]
    parameters = _parameters(of_user) + _parameters(of_uri)
    parameters = tuple({name: (name, value) for name, value in reversed(parameters)}.values())[::-1]
    user = unquote(userinfo.partition(":")[0], errors="replace")
    if scheme == "tel":
        return Target(scheme, host, "", parameters)
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    # RFC 3261 section 25.1 allows the final dot of an absolute name; it is the same host.
    return Target(scheme, user, host.lower().removesuffix("."), parameters)


def _parameters(text: str) -> tuple[tuple[str, str], ...]:
    """Return names in lower case and values of ";name=value;flag"."""
    pairs = (one.partition("=") for one in text.split(";") if one)
    return tuple((name.lower(), unquote(value, errors="replace")) for name, _, value in pairs)


def classify(
    uri: str,
    dialled: PhoneNumber,
    rules: tuple[DecisionRule, ...],
    services: tuple[str, ...] = (),
) -> Decision:
    """Return what *uri* orders for a call to *dialled*; the first rule that fits decides.

    *services* are those of the record, as in its services field without "E2U" ("pstn:tel").
    """
    target = parse_target(uri)
    if target is None:
        return Decision.UNCLASSIFIED
    same = target.number() == dialled
    fitting = (rule.decision for rule in rules if rule.fits(target, services, same=same))
    return next(fitting, Decision.UNCLASSIFIED)


def services_read(
    rules: tuple[DecisionRule, ...], records: Iterable[NaptrRecord]
) -> tuple[str, ...]:
    """Return the services that an SBC with *rules* acts on: sip, and those of *records* they name.

    >>> rules = (DecisionRule(Decision.TERMINATE, service="pstn"),)
    >>> services_read(rules, [NaptrRecord(1, 1, "u", "E2U+pstn:tel", "!^.*$!tel:+1!")])
    ('sip', 'pstn:tel')
    """
    found = (enum_services(record.services) for record in records)
    everyone = (one for many in found if not isinstance(many, ServicesDefect) for one in many)
    named = (one for one in everyone if any(rule.service and rule.is_for((one,)) for rule in rules))
    return tuple(dict.fromkeys(("sip", *named)))


def decided_by(
    end: Resolution | Found, dialled: PhoneNumber, rules: tuple[DecisionRule, ...]
) -> tuple[Decision, str]:
    """Return what the records read order for a call to *dialled*, and the URI ("": none)."""
    if isinstance(end, Found) and end.is_void:
        return Decision.TERMINATE, ""  # only a client that takes void so says it
    if end.uri is None:
        return Decision.NO_INSTRUCTION, ""
    return classify(end.uri, dialled, rules, end.services), end.uri
