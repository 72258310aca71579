"""What an SBC does with an ENUM answer: allow, terminate or redirect, by ordered matchers as data.

No standard says how a policy server expresses "terminate": each site agrees on a sentinel URI. So
the reading is data. A URI that no matcher fits is UNCLASSIFIED, which is loud, never an allow.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from harness.errors import NumberError
from harness.number import PhoneNumber

_URI = re.compile(  # a blank or a second "@" is in no URI; readers differ on what it would mean
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?:(?P<user>[^@\s]*)@)?(?P<host>[^;?@\s]+)([;?][^@\s]*)?\Z"
)


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

    def number(self) -> PhoneNumber | None:
        """Return the user part as a global number, or None when it is none."""
        try:
            return PhoneNumber.parse(self.user)
        except NumberError:
            return None


def parse_target(uri: str) -> Target | None:
    """Return scheme, user and host of *uri*, or None when it has not that shape.

    >>> parse_target("sip:+16505550112;rn=+1@gw.example.net;user=phone")
    Target(scheme='sip', user='+16505550112', host='gw.example.net')
    >>> parse_target("tel:+16505550112;npdi")
    Target(scheme='tel', user='+16505550112', host='')
    """
    found = _URI.match(uri)
    if found is None:
        return None
    scheme, host = found["scheme"].lower(), found["host"]
    user = unquote((found["user"] or "").split(";")[0].partition(":")[0], errors="replace")
    if scheme == "tel":
        return Target(scheme, host.split(";")[0], "")
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    # RFC 3261 section 25.1 allows the final dot of an absolute name; it is the same host.
    return Target(scheme, user, host.lower().removesuffix("."))


def classify(uri: str, dialled: PhoneNumber, rules: tuple[DecisionRule, ...]) -> Decision:
    """Return what *uri* orders for a call to *dialled*; the first rule that fits decides."""
    target = parse_target(uri)
    if target is None:
        return Decision.UNCLASSIFIED
    same = target.number() == dialled
    for rule in rules:
        if rule.scheme and rule.scheme.lower() != target.scheme:
            continue
        if rule.host and rule.host.lower() != target.host:
            continue
        wanted = rule.user
        if wanted is UserMatch.ANY or (wanted is UserMatch.SAME) == same:
            return rule.decision
    return Decision.UNCLASSIFIED
