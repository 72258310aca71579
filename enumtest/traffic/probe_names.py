"""Which questions are health queries and no calls.

Laws: a question that is not NAPTR is a probe; one for a number is a call, unless the profile names
it as the one that is probed with; without a profile, a name that is no number and comes back at
fixed intervals is a probe.
"""

import re

import numpy as np

from enumtest.dns.distinct_bytes import codes
from enumtest.dns.message_table import Bools, MessageTable
from enumtest.judge.asking_ways import NAPTR, Ways
from enumtest.traffic.hop_fold import Folded

MOST = 100  # names that are looked at: an SBC has one
FEWEST = 4  # questions with one name: three intervals
SPREAD, MOST_GAPS = 0.1, 0.8  # from the median of the intervals; so many of them
MAX_APEX_NAMES = 10_000  # numbers whose apex is looked at

_DIGITS = re.compile(r"(?:[0-9]\.)+")


def probes(messages: MessageTable, folded: Folded, ways: Ways) -> Bools:
    """Return which hops are probes."""
    first = folded.first
    found: Bools = messages.qtype[first] != NAPTR
    if ways.probe_name and ways.probe_name.startswith("+"):  # a number, under whatever apex
        head = ".".join(reversed(ways.probe_name[1:])) + "."
        under = [place for name, place in messages.names.items() if name.startswith(head)]
        found |= np.isin(messages.question[first], under)
        return found
    if ways.probe_name:
        place = messages.names.get(ways.probe_name, -1)
        found |= messages.question[first] == place
        return found
    if ways.expire_ns is not None and ways.probe_name is None:  # a profile without such probes
        return found
    names = tuple(messages.names)
    plain = [place for place, name in enumerate(names) if name[1:2] != "." and name != "."]
    if ways.probe_name == "":
        apexes = {
            _DIGITS.sub("", name, count=1) for name in names[:MAX_APEX_NAMES] if name[1:2] == "."
        }
        asked = [place for place in plain if names[place] in apexes or not apexes]
    else:
        count = np.bincount(messages.question[first], minlength=len(names))
        often = sorted((place for place in plain if count[place] >= FEWEST), key=count.__getitem__)
        asked = [place for place in often[-MOST:] if _is_regular(messages, folded, place)]
    found |= np.isin(messages.question[first], asked)
    return found


def _is_regular(messages: MessageTable, folded: Folded, place: int) -> bool:
    """Say whether a name is asked for at fixed intervals, by one client at one server."""
    first = folded.first[messages.question[folded.first] == place]
    ends = codes(messages.client[first], messages.server[first])
    for one in np.unique(ends).tolist():
        at_ns = messages.at_ns[first[ends == one]]
        gaps_ns = np.diff(at_ns)
        if len(at_ns) < FEWEST:
            continue
        usual_ns = np.median(gaps_ns)  # a lost one doubles its gap
        if (np.abs(gaps_ns - usual_ns) <= SPREAD * usual_ns).mean() >= MOST_GAPS:
            return True
    return False
