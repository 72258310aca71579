"""What an answer is to an SBC: records to act on, or one of the events that profiles react to."""

from enumtest.dns.message import Answer
from enumtest.profiles.profile_groups import Event

ANSWERS = (None, Event.NXDOMAIN, Event.NODATA)  # of a server that did its work

_OF_RCODES = {event.value: event for event in Event if event.value.isupper()}


def event_of(answer: Answer) -> Event | None:
    """Return what *answer* is to an SBC, or None for one with NAPTR records."""
    if answer.truncated:
        return Event.TRUNCATED
    if answer.rcode != "NOERROR":
        return _OF_RCODES.get(answer.rcode, Event.OTHER_RCODE)
    return None if answer.naptr else Event.NODATA
