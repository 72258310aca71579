"""What a judge says of answers that are kept, and of questions that are sent again otherwise."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from enumtest.dns.message import Query, encode_answer, encode_query, parse_query
from enumtest.dns.source_uri import SourceOption
from enumtest.judge.judge import judge
from enumtest.judge.ruling import Ruling, Vantage
from enumtest.profiles.profile_file import shipped_names, shipped_profile
from enumtest.profiles.profile_groups import CacheKey, IdScope
from enumtest.profiles.profiles import Profile
from enumtest.sbc.sbc import Outgoing, Sbc, SbcConfig
from enumtest.traffic.hop_reader import read_lookups
from harness.finding import Outcome
from harness.packets.capture import parse
from tests.enum_wire import (
    ALLOW,
    FIXED,
    NUMBERS,
    SECOND,
    SOURCE,
    Down,
    Reply,
    Script,
    WholeNumber,
    Wire,
    at_will,
    endpoints,
    ids,
)

SERVERS = endpoints(3)
KEEPS = at_will(
    FIXED, cache=replace(FIXED.cache, positive=True, honours_ttl=True, key=CacheKey.NUMBER)
)
BY_CALLER = at_will(
    KEEPS,
    cache=replace(KEEPS.cache, key=CacheKey.NUMBER_AND_SOURCE),
    edns=replace(KEEPS.edns, source_sent=True, udp_payload_bytes=1220),
)
WITH_SOURCE = at_will(FIXED, edns=replace(FIXED.edns, source_sent=True, udp_payload_bytes=1220))
DOWN = Down({"enum1": (0, 60 * SECOND), "enum2": (0, 60 * SECOND)})
OTHER_CALLER = "sip:+16505550101@192.0.2.1;user=phone"


def living(ttl_s: int) -> Script:
    """Return servers whose records live so long."""

    def answers(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        del server, now_ns
        return (Reply(encode_answer(query, records=(ALLOW,), ttl_s=ttl_s)),)

    return answers


def forgetful(profile: Profile) -> Profile:
    """Return *profile* without a cache."""
    return replace(profile, cache=replace(profile.cache, positive=False))


def keyed_by_caller(profile: Profile) -> Profile:
    """Return *profile* with a cache for each caller."""
    return replace(profile, cache=replace(profile.cache, key=CacheKey.NUMBER_AND_SOURCE))


def without(profile: Profile, path: str) -> Profile:
    """Return *profile* with nothing known of the values below *path*."""
    paths = [one.path for one in profile.fields() if not one.path.startswith(path)]
    source = dict.fromkeys(paths, "the test")
    return replace(profile, source=source, unknown=frozenset({path}))


def called(wire: Wire, times_s: tuple[int, ...]) -> Wire:
    """Place calls to one number at these times, callers in turn."""
    for place, at_s in enumerate(times_s):
        wire.call(at_s * SECOND, NUMBERS[0], (SOURCE, OTHER_CALLER)[place % 2])
    return wire.run()


def ruled(wire: Wire, profile: Profile, rule: str, vantage: Vantage = Vantage.SBC) -> Ruling | None:
    """Return what the judge says of *rule*; None: nothing."""
    servers = {endpoint: name for name, endpoint in SERVERS.items()}
    table = read_lookups([parse(wire.capture(), name="sbc.pcap")], servers, profile)
    (found,) = judge(table, profile, vantage=vantage)
    return next((one for one in found.rulings if one.rule == rule), None)


def asked(
    declared: Profile,
    played: Profile,
    ttl_s: int,
    times_s: tuple[int, ...] = tuple(range(0, 90, 7)),
) -> tuple[Wire, Profile]:
    """Return a run of calls to one number."""
    sbc = Sbc(SbcConfig(SERVERS, played), ids(), WholeNumber())
    return called(Wire(sbc, living(ttl_s)), times_s), declared


def outcome(run: tuple[Wire, Profile], vantage: Vantage = Vantage.SBC) -> Outcome | None:
    """Return what the judge says of the cache."""
    found = ruled(*run, "cache.ttl", vantage)
    return None if found is None else found.outcome


def test_who_asks_again_within_the_ttl_fails() -> None:
    """The first cited frames are the question and the answer that was not kept."""
    run = asked(KEEPS, forgetful(KEEPS), 60)
    found = ruled(*run, "cache.ttl")

    assert found is not None
    assert found.outcome is Outcome.FAIL
    assert [cite.frame for cite in found.cites[:2]] == [3, 1]
    assert "TTL of 60 s" in found.observed


@pytest.mark.parametrize("profile", [KEEPS, BY_CALLER], ids=["number", "number-and-caller"])
def test_who_keeps_answers_passes(profile: Profile) -> None:
    """It asks again when the TTL is over, and for another caller."""
    assert outcome(asked(profile, profile, 20)) is Outcome.PASS


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (asked(KEEPS, forgetful(KEEPS), 0), "TTL 0"),
        (asked(KEEPS, forgetful(KEEPS), 2**32 - 1), "a TTL that counts as 0"),
        (asked(KEEPS, forgetful(KEEPS), 60, (0, 100, 200, 300, 400)), "after the TTL"),
        (asked(KEEPS, forgetful(KEEPS), 60, (0, 9)), "a restart"),
        (asked(BY_CALLER, BY_CALLER, 60, (0, 9, 18, 27)), "another caller"),
        (asked(KEEPS, keyed_by_caller(KEEPS), 60, (0, 9)), "too few"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_else_may_be_the_reason_is_no_fail(run: tuple[Wire, Profile], why: str) -> None:
    """Nobody is accused where something else explains it."""
    del why
    assert outcome(run) is not Outcome.FAIL


def test_lack_of_use_ends_an_entry() -> None:
    """An answer that nobody asks for may be forgotten before its TTL."""
    idle = at_will(KEEPS, cache=replace(KEEPS.cache, inactivity_ns=5 * SECOND))
    assert outcome(asked(idle, idle, 600)) is Outcome.PASS
    assert outcome(asked(KEEPS, idle, 600)) is Outcome.FAIL


def test_at_the_servers_a_lost_answer_excuses_it() -> None:
    """What did not arrive can't be kept."""
    run = asked(KEEPS, forgetful(KEEPS), 60)
    assert outcome(run, Vantage.SERVERS) is Outcome.OTHER


def test_a_caller_that_is_not_sent_cannot_be_told() -> None:
    """Where answers are kept for one caller only, and no question names it, there is no rule."""
    hidden = at_will(keyed_by_caller(KEEPS))
    assert outcome(asked(hidden, forgetful(KEEPS), 60)) is None


@pytest.mark.parametrize("profile", [at_will(FIXED), FIXED, without(KEEPS, "cache")])
def test_no_cache_or_an_unknown_one_is_not_judged(profile: Profile) -> None:
    """An SBC that keeps nothing shows nothing."""
    assert outcome(asked(profile, forgetful(profile), 60)) is None


def test_a_caller_of_its_own_may_be_kept_apart_where_the_key_is_unknown() -> None:
    """An SBC with a cache for each caller is not accused by a profile that does not know it."""
    open_ = without(BY_CALLER, "cache.key")
    assert outcome(asked(open_, BY_CALLER, 60)) is not Outcome.FAIL
    assert outcome(asked(open_, forgetful(BY_CALLER), 60)) is Outcome.FAIL


Change = Callable[[bytes], bytes]


class OtherwiseSbc(Sbc):
    """Sends the same question again, changed."""

    change: Change

    def to_send(self) -> Outgoing | None:
        """Return the next message."""
        found = super().to_send()
        sent: set[tuple[bytes, object]] = self.__dict__.setdefault("sent", set())
        if found is None:
            return None
        again = (found.payload, found.server) in sent
        sent.add((found.payload, found.server))
        return replace(found, payload=self.change(found.payload)) if again else found


def resent(change: Change, profile: Profile = WITH_SOURCE) -> Wire:
    """Return a run in which two servers are silent, and questions are sent again."""
    sbc = OtherwiseSbc(SbcConfig(SERVERS, profile), ids(), WholeNumber())
    sbc.change = change
    wire = Wire(sbc, DOWN)
    wire.calls(40, 2 * SECOND)
    return wire.run()


def same(payload: bytes) -> bytes:
    """Return the question as it was."""
    return payload


def bare(payload: bytes) -> bytes:
    """Return the question without its OPT record."""
    query = parse_query(payload)
    return encode_query(query.id, query.qname)


def capital(payload: bytes) -> bytes:
    """Return the question in other letters."""
    return payload.replace(b"\4arpa", b"\4aRPa")


def renamed(payload: bytes) -> bytes:
    """Return the question with another caller."""
    query = parse_query(payload)
    assert query.edns is not None
    return encode_query(
        query.id,
        query.qname,
        source=SourceOption(OTHER_CALLER),
        udp_payload_bytes=query.edns.udp_payload_bytes,
    )


CHANGES = {"OPT record, caller": bare, "letters": capital, "caller": renamed}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("vantage", Vantage)
def test_a_question_sent_again_otherwise_fails(what: str, vantage: Vantage) -> None:
    """A retransmission is the same message; what differs is said."""
    found = ruled(resent(CHANGES[what]), WITH_SOURCE, "retransmission.content", vantage)

    assert found is not None
    assert found.outcome is Outcome.FAIL
    assert f"first send: {what};" in found.observed
    assert found.cites[0].frame == found.cites[1].frame + 1


def test_a_question_sent_again_as_it_was_passes() -> None:
    """That is what a sound SBC does."""
    found = ruled(resent(same), WITH_SOURCE, "retransmission.content")
    assert found is not None
    assert found.outcome is Outcome.PASS


def test_where_ids_tell_nothing_two_calls_may_look_like_one() -> None:
    """With one id for all questions a caller that changes is no proof."""
    rules = replace(WITH_SOURCE.retransmission, id_per=IdScope.ALWAYS)
    always = at_will(WITH_SOURCE, retransmission=rules)
    found = ruled(resent(renamed, always), always, "retransmission.content")
    assert found is None or found.outcome is not Outcome.FAIL


@pytest.mark.parametrize("name", shipped_names())
@pytest.mark.parametrize("certain", [False, True], ids=["as-shipped", "all-known"])
def test_sound_sbcs_break_neither_rule(name: str, certain: bool) -> None:
    """Of no profile, known values or not, whatever the TTL."""
    profile = shipped_profile(name)
    profile = at_will(profile) if certain else profile
    for ttl_s in (0, 5, 60):
        sbc = Sbc(SbcConfig(SERVERS, profile), ids(), WholeNumber())
        wire = Wire(sbc, Down(DOWN.times, living(ttl_s)))
        wire.calls(80, 2 * SECOND, numbers=3)
        wire.run()
        for rule in ("cache.ttl", "retransmission.content"):
            found = ruled(wire, profile, rule)
            assert found is None or found.outcome is not Outcome.FAIL
