"""A search over several domains, sans I/O."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest

from enumtest.naptr.naptr import NaptrRecord
from enumtest.naptr.naptr_dialect import STRICT, IFlag, NaptrDialect, VoidMeaning
from enumtest.naptr.search import MAX_QUESTIONS, Found, resolve_as, run, search
from harness.regex_worker import PosixRegex

AUS = "+16505550112"


@pytest.fixture(scope="module")
def posix() -> Iterator[PosixRegex]:
    """Give the C library's engine."""
    with PosixRegex() as shared:
        yield shared


def terminal(uri: str, order: int = 10) -> NaptrRecord:
    return NaptrRecord(order, 10, "u", "E2U+sip", f"!^.*$!{uri}!")


def leads(target: str, order: int = 10) -> NaptrRecord:
    return NaptrRecord(order, 10, "", "", "", f"{target}.")


def found(
    zone: Mapping[str, list[NaptrRecord]],
    posix: PosixRegex,
    dialect: NaptrDialect | None = None,
) -> Found:
    """Return how a search from "start" in *zone* ends."""
    seeking = search("start", AUS, posix, NaptrDialect() if dialect is None else dialect)
    return run(seeking, lambda domain: zone.get(domain.rstrip("."), []))


def chain(length: int) -> dict[str, list[NaptrRecord]]:
    """Return a zone in which *length* referrals lead from "start" to a URI."""
    names = ["start", *(f"n{at}" for at in range(length))]
    zone = {name: [leads(after)] for name, after in pairwise(names)}
    return zone | {names[-1]: [terminal("sip:end")]}


@pytest.mark.parametrize(
    ("hops", "uri"), [(0, "sip:end"), (1, "sip:end"), (5, "sip:end"), (6, None)]
)
def test_five_referrals_are_followed_and_no_more(
    posix: PosixRegex, hops: int, uri: str | None
) -> None:
    """RFC 5483 section 6: more domains than five may be called a loop."""
    end = found(chain(hops), posix)

    assert end.uri == uri
    assert [one.domain.rstrip(".") for one in end.asked][:2] == ["start", "n0"][: hops + 1]
    assert len(end.asked) == min(hops, 5) + 1


def test_after_a_referral_to_nothing_the_next_record_is_taken(posix: PosixRegex) -> None:
    """The search goes on behind the record that referred."""
    end = found({"start": [leads("nowhere", 1), terminal("sip:second", 2)]}, posix)

    assert end.uri == "sip:second"
    assert [step.verdict.split(":")[0] for step in end.asked[0].steps] == [
        "leads to nowhere.",
        "chosen",
    ]


def test_a_referral_that_gives_a_uri_ends_the_search(posix: PosixRegex) -> None:
    """A larger order is not looked at, though it stands where the search began."""
    zone = {"start": [leads("a", 1), terminal("sip:late", 2)], "a": [terminal("sip:deep")]}
    assert found(zone, posix).uri == "sip:deep"


@pytest.mark.parametrize("target", ["start", "START", "other"])
def test_a_loop_is_not_followed(posix: PosixRegex, target: str) -> None:
    """Each domain is asked once, whatever the letters' case."""
    zone = {
        "start": [leads(target, 1), terminal("sip:out", 2)],
        "other": [leads("start"), leads("other")],
    }
    end = found(zone, posix)

    assert end.uri == "sip:out"
    assert len(end.asked) == 1 + (target == "other")


def test_a_zone_of_many_referrals_is_left_in_time(posix: PosixRegex) -> None:
    """A hostile zone costs so many questions and no more."""

    class Endless(dict[str, list[NaptrRecord]]):
        def get(self, key: str, default: object = None) -> list[NaptrRecord]:
            del default
            return [leads(f"{key}-{at}"[-60:], at) for at in range(32)]

    end = found(Endless(), posix)

    assert end.uri is None
    assert len(end.asked) == MAX_QUESTIONS


def test_nobody_has_the_number_where_the_client_reads_void_so(posix: PosixRegex) -> None:
    """The search ends without a URI, and says why."""
    zone = {"start": [NaptrRecord(1, 1, "u", "E2U+void:http", "!.!http:x!"), terminal("sip:a", 2)]}

    assert found(zone, posix, NaptrDialect(void=VoidMeaning.TERMINATE)) == Found(
        None, True, found(zone, posix, NaptrDialect(void=VoidMeaning.TERMINATE)).asked
    )
    assert found(zone, posix).uri == "sip:a"


def test_a_client_that_gives_up_at_a_bad_record_finds_nothing(posix: PosixRegex) -> None:
    """The good record behind it is not looked at."""
    zone = {"start": [NaptrRecord(1, 1, "u", "E2U+sip", "!x!"), terminal("sip:a", 2)]}

    assert found(zone, posix, NaptrDialect(bad_record_ends=True)).uri is None
    assert found(zone, posix).uri == "sip:a"


def test_no_record_is_no_uri(posix: PosixRegex) -> None:
    """NXDOMAIN and NODATA end the search at once."""
    end = found({}, posix)

    assert (end.uri, end.is_void, len(end.asked)) == (None, False, 1)


def test_one_answer_is_read_in_a_clients_own_way(posix: PosixRegex) -> None:
    """A client that reads only the first of equals, or knows no flag i, finds another URI."""
    equals = [terminal("sip:a"), terminal("sip:b")]
    broken = [NaptrRecord(10, 10, "u", "E2U+sip", "!x!"), terminal("sip:b")]
    with_flag = [NaptrRecord(10, 10, "u", "E2U+sip", "!^.*$!sip:a!i")]
    first_only = NaptrDialect(first_of_equals=True)

    assert resolve_as(equals, AUS, posix, STRICT).uri == "sip:a"
    assert resolve_as(broken, AUS, posix, STRICT).uri == "sip:b"
    assert resolve_as(broken, AUS, posix, first_only).uri is None
    assert resolve_as(with_flag, AUS, posix, NaptrDialect(i_flag=IFlag.REFUSED)).uri is None
