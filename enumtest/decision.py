"""What an SBC does with an ENUM answer: allow, terminate or redirect, by ordered matchers as data.

No standard says how a policy server expresses "terminate": each site agrees on a sentinel URI. So
the reading is data. A URI that no matcher fits is UNCLASSIFIED, which is loud, never an allow.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from harness.errors import NumberError
from harness.number import PhoneNumber

_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?:(?P<user>[^@]*)@)?(?P<host>[^;?@]*)")


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


DEFAULT_RULES = (
    DecisionRule(Decision.TERMINATE, host="blocked.invalid"),
    DecisionRule(Decision.ALLOW, user=UserMatch.SAME),
    DecisionRule(Decision.REDIRECT, user=UserMatch.OTHER),
)


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a SIP or tel URI that a decision looks at."""

    scheme: str
    user: str  # without user parameters; the number itself for tel
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
    scheme, user, host = found["scheme"].lower(), found["user"], found["host"]
    if scheme == "tel":
        return Target(scheme, host.split(";")[0], "")
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return Target(scheme, (user or "").split(";")[0], host.lower())


def classify(uri: str, dialled: PhoneNumber, rules: tuple[DecisionRule, ...]) -> Decision:
    """Return what *uri* orders for a call to *dialled*; the first rule that fits decides."""
    target = parse_target(uri)
    if target is None:
        return Decision.UNCLASSIFIED
    same = target.number() == dialled
    for rule in rules:
        if rule.scheme and rule.scheme != target.scheme:
            continue
        if rule.host and rule.host != target.host:
            continue
        wanted = rule.user
        if wanted is UserMatch.ANY or (wanted is UserMatch.SAME) == same:
            return rule.decision
    return Decision.UNCLASSIFIED
