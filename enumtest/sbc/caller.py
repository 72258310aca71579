"""Who calls, in the text that rules compare: with a dial plan two spellings of one party are one.

Law: without a plan nothing is completed: what is written without a plus sign stays local.
"""

from enumtest.dns.source_uri import ANONYMOUS, party
from harness.dialplan import DialPlan, Global, Local, Opaque, Party, Restricted


def caller_text(uri: str, plan: DialPlan | None) -> str:
    """Return the party that the calling *uri* names.

    >>> caller_text("sip:2125550166@a.example", None)
    '2125550166'
    >>> caller_text("sip:2125550166@a.example", DialPlan("main", "1", national_prefix="1"))
    '+12125550166'
    """
    if plan is None:
        return party(uri)
    return _text(plan.reading(uri, kind="uri").party, party(uri))


def pattern_text(pattern: str, plan: DialPlan | None) -> str:
    """Return a rule's *pattern* as *plan* reads it; prefixes and words stay as they are."""
    if plan is None or not pattern.lstrip("+").isdecimal():
        return pattern
    return _text(plan.reading(pattern, kind="number").party, pattern)


def _text(found: Party, otherwise: str) -> str:
    """Return *found* as rules write it, or *otherwise* when it is no number and not hidden."""
    match found:
        case Global(number=number):
            return str(number)
        case Local(digits=digits):
            return digits
        case Restricted():
            return ANONYMOUS
        case Opaque():
            return otherwise
