"""What an SBC remembers of the answers it got, so that the next call to the number asks nobody.

Laws: no clock in here; an entry is given out only for the number, and if the profile says so only
for the caller, that it was made for; nothing with TTL 0 is kept where TTLs are honoured; the cache
is bounded, and forgets the oldest entry first.
"""

from dataclasses import dataclass, field

from enumtest.profiles.profile_groups import Cache, CacheKey
from enumtest.sbc.decision import Decision
from harness.number import PhoneNumber

MAX_ENTRIES = 100_000
S = 1_000_000_000  # nanoseconds

_Key = tuple[str, str]


@dataclass(slots=True)
class _Entry:
    decision: Decision
    uri: str
    until_ns: int | None  # None: only lack of use ends it
    used_ns: int
    inactivity_ns: int  # 0: none


@dataclass(slots=True)
class AnswerCache:
    """The answers kept under the rules of *cache*."""

    cache: Cache
    _entries: dict[_Key, _Entry] = field(default_factory=dict)

    def find(self, number: PhoneNumber, source: str, now_ns: int) -> tuple[Decision, str] | None:
        """Return decision and URI for a call to *number* from *source*, or None: ask."""
        key = self._key(number, source)
        entry = self._entries.get(key)
        if entry is None:
            return None
        idle = entry.inactivity_ns and now_ns >= entry.used_ns + entry.inactivity_ns
        if idle or (entry.until_ns is not None and now_ns >= entry.until_ns):
            del self._entries[key]
            return None
        entry.used_ns = now_ns
        return entry.decision, entry.uri

    def keep(
        self,
        number: PhoneNumber,
        source: str,
        answer: tuple[Decision, str],
        now_ns: int,
        *,
        ttl_s: int | None,
    ) -> None:
        """Remember *answer*; *ttl_s* is the least of its records, None for one without any."""
        rules = self.cache
        if ttl_s is None:
            if not rules.negative_ns:
                return
            entry = _Entry(*answer, now_ns + rules.negative_ns, now_ns, 0)
        elif not rules.positive or (rules.honours_ttl and not ttl_s):
            return
        else:
            until_ns = now_ns + ttl_s * S if rules.honours_ttl else None
            entry = _Entry(*answer, until_ns, now_ns, rules.inactivity_ns)
        key = self._key(number, source)
        self._entries.pop(key, None)
        if len(self._entries) >= MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = entry

    def _key(self, number: PhoneNumber, source: str) -> _Key:
        return str(number), source if self.cache.key is CacheKey.NUMBER_AND_SOURCE else ""
