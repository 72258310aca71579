"""What one client makes of NAPTR records: every field of a dialect, known and unknown."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from enumtest.naptr.dialect_file import shipped_client
from enumtest.naptr.naptr import NaptrRecord
from enumtest.naptr.naptr_dialect import (
    STRICT,
    FlagReading,
    IFlag,
    NaptrDialect,
    RegexDialect,
    VoidMeaning,
)
from enumtest.naptr.reading import Ended, Follow, Passed, Uri, Void, read_answer, read_record
from harness.errors import InputError
from harness.regex_worker import PosixRegex

AUS = "+16505550112"
ALL = r"!^(.*)$!sip:\1@x!"
URI = "sip:+16505550112@x"
UNKNOWN = NaptrDialect()
KAMAILIO = shipped_client("kamailio").naptr


@pytest.fixture(scope="module")
def posix() -> Iterator[PosixRegex]:
    """Give the C library's engine."""
    with PosixRegex() as shared:
        yield shared


def record(regexp: str = ALL, **fields: Any) -> NaptrRecord:  # noqa: ANN401 - as the record's own
    """Return a usable record, with *fields* in place of its own."""
    own = {"order": 10, "preference": 20, "flags": "u", "services": "E2U+sip", "regexp": regexp}
    return NaptrRecord(**(own | fields))


def kinds(held: NaptrRecord, dialect: NaptrDialect, engine: PosixRegex) -> list[str]:
    """Return the URI, or the kind, of each effect."""
    effects = read_record(held, AUS, engine, dialect).effects
    return [one.text if isinstance(one, Uri) else type(one).__name__ for one in effects]


# What was measured of Kamailio 5.6.3, row by row.
@pytest.mark.parametrize(
    ("fields", "is_used"),
    [
        ({"regexp": r"/^(.*)$/sip:\1@x/"}, False),
        ({"regexp": r"!^(.*)$!sip:\!\1@x!"}, False),
        ({"regexp": r"!^(.*)$!sip:\2@x!"}, False),
        ({"regexp": r"!^(.)(.)(.)(.)(.)(.)!sip:\6@x!"}, False),
        ({"regexp": r"!^+1(.*)$!sip:\1@x!"}, False),
        ({"flags": ""}, False),
        ({"flags": "us"}, False),
        ({"services": "E2U+pstn:tel"}, False),
        ({"services": "E2U+voice:sip+sip"}, False),
        ({"services": "E2U+void:http"}, False),
        ({"services": "E2U+unused:http"}, False),
        ({"regexp": r"!^(.*)$!sip:\1@x!i"}, True),
        ({"regexp": r"!^(.*)$!sip:\0@x!"}, True),
        ({"services": "sip+E2U"}, True),
        ({"flags": "U"}, True),
        ({"services": "e2U+SiP"}, True),
    ],
)
def test_the_measured_table_of_kamailio_is_predicted(
    posix: PosixRegex, fields: dict[str, str], *, is_used: bool
) -> None:
    """Each record of the table is used, or ignored, as it was on the real program."""
    assert kinds(record(**fields), KAMAILIO, posix) == ([URI] if is_used else ["Passed"])


@pytest.mark.parametrize(
    ("fields", "known", "effects"),
    [
        ({}, {}, [URI]),
        ({"regexp": r"/^(.*)$/sip:\1@x/"}, {"delimiters": "!"}, ["Passed"]),
        ({"regexp": r"/^(.*)$/sip:\1@x/"}, {"delimiters": "!/"}, [URI]),
        ({"regexp": r"!^(.*)$!sip:\1@\!!"}, {}, [URI[:-1] + "!"]),
        ({"regexp": r"!^(.*)$!sip:\1@\!!"}, {"escaped_delimiter": False}, ["Passed"]),
        ({"flags": "us"}, {}, ["Passed"]),
        ({"flags": "us"}, {"flags": FlagReading.FIRST_LETTER}, [URI]),
        ({"flags": "s"}, {"flags": FlagReading.FIRST_LETTER}, ["Passed"]),
        ({"flags": ""}, {"flags": FlagReading.NOT_READ}, [URI]),
        ({"replacement": "a."}, {}, ["Passed"]),
        ({"replacement": "a."}, {"exclusive": False}, [URI]),
        ({"regexp": "!x!"}, {"bad_record_ends": True}, ["Ended"]),
        ({"regexp": ALL + "i"}, {"i_flag": IFlag.REFUSED}, ["Passed"]),
        ({"regexp": ALL + "i"}, {"i_flag": IFlag.IGNORED}, [URI]),
        ({"regexp": ALL + "i"}, {"i_flag": IFlag.DELIMITER_KEPT}, [URI + "!"]),
        ({"regexp": r"!^(.*)$!sip:\0@x!"}, {}, ["Passed"]),
        ({"regexp": r"!^(.*)$!sip:\0@x!"}, {"back_references": "01", "exclusive": False}, [URI]),
        ({"regexp": ALL}, {"back_references": "0"}, ["Passed"]),
        ({"services": "E2U+pstn:tel"}, {"services": ("pstn:tel",)}, [URI]),
        ({}, {"new_form": False}, ["Passed"]),
        ({"services": "sip+E2U"}, {"old_form": False}, ["Passed"]),
        ({"services": "e2U+sip"}, {"mixed_case": False}, ["Passed"]),
        ({"services": "E2U+voice:sip+sip"}, {}, [URI]),
        ({"services": "E2U+voice:sip+sip"}, {"compound": False}, ["Passed"]),
        ({"services": "E2U+void:http"}, {}, ["Passed"]),
        ({"services": "E2U+void:http"}, {"void": VoidMeaning.TERMINATE}, ["Void"]),
        ({"services": "E2U+unused:http"}, {"void": VoidMeaning.TERMINATE}, ["Void"]),
        ({"regexp": "!^.*$!tel:+1!"}, {"schemes": ("sip",)}, ["Passed"]),
        ({"regexp": "", "flags": "", "replacement": "a."}, {}, ["Follow"]),
        ({"regexp": "", "flags": "", "replacement": "a."}, {"max_hops": 0}, ["Passed"]),
        ({"regexp": "", "flags": ""}, {}, ["Passed"]),
        ({"regexp": "", "flags": ""}, {"exclusive": False}, ["Passed"]),
        ({"regexp": "x", "flags": ""}, {"exclusive": False}, ["Passed"]),
        ({"regexp": ""}, {"exclusive": False}, ["Passed"]),
        ({"regexp": "!^.*$!!"}, {}, ["Passed"]),
        ({"regexp": r"!^\+44!sip:x!"}, {}, ["Passed"]),
        ({"services": "sip"}, {}, ["Passed"]),
    ],
)
def test_each_field_of_a_dialect_decides_alone(
    posix: PosixRegex, fields: dict[str, str], known: dict[str, Any], effects: list[str]
) -> None:
    """A strict client that differs in one field reads the record as that field says."""
    assert kinds(record(**fields), replace(STRICT, **known), posix) == effects


@pytest.mark.parametrize(
    ("fields", "effects"),
    [
        ({}, [URI]),  # what everybody understands is in doubt for nobody
        ({"regexp": r"/^(.*)$/sip:\1@x/"}, [URI, "Passed"]),
        ({"regexp": r"!^(.*)$!sip:\0@x!"}, [URI, "Passed"]),
        ({"regexp": ALL + "i"}, [URI, "Passed", URI + "!"]),
        ({"flags": "s"}, [URI, "Passed"]),
        ({"flags": ""}, [URI, "Passed"]),
        ({"services": "sip+E2U"}, [URI, "Passed"]),
        ({"services": "E2U+x:y"}, [URI, "Passed"]),
        ({"services": "E2U+SIP"}, [URI, "Passed"]),
        ({"services": "E2U+void:http"}, ["Passed", "Void"]),
        ({"regexp": "!^(.|..)(.*)$!sip:x!"}, ["sip:x", "Passed"]),
        ({"regexp": "!^.*$!tel:+1!"}, ["tel:+1", "Passed"]),
        ({"regexp": "!x!"}, ["Passed", "Ended"]),
        ({"regexp": "", "flags": "", "replacement": "a."}, ["Follow", "Passed"]),
        ({"regexp": "!^(!sip:x!"}, ["Passed", "Ended"]),
    ],
)
def test_what_nobody_knows_leaves_every_reading_open(
    posix: PosixRegex, fields: dict[str, str], effects: list[str]
) -> None:
    """A dialect that says nothing gives each effect that a client could show."""
    assert kinds(record(**fields), UNKNOWN, posix) == effects


@pytest.mark.parametrize("name", ["kamailio", "asterisk", "freeswitch", "oracle", "ribbon"])
def test_every_client_uses_the_plainest_record(posix: PosixRegex, name: str) -> None:
    """Delimiter !, flag u, E2U+sip and one group: nobody known fails on it, but Cisco."""
    assert kinds(record(), shipped_client(name).naptr, posix) == [URI]
    assert kinds(record(), shipped_client("cisco").naptr, posix) == ["Passed"]


def test_records_come_by_order_then_preference_then_place(posix: PosixRegex) -> None:
    """The sort is stable: equals stay as received."""
    held = [record(order=2), record(preference=9), record("!.!a:1!"), record("!.!a:2!")]
    found = read_answer(held, AUS, posix, STRICT)

    assert [one.record for one in found] == [held[0], held[1], held[2], held[3]]


def test_of_equals_only_the_first_received_is_read_where_it_is_so(posix: PosixRegex) -> None:
    """Ribbon's documented way; where it is not known, the second may be read."""
    held = [record("!x!"), record()]

    def second(dialect: NaptrDialect) -> list[type]:
        reading = read_answer(held, AUS, posix, dialect)[1]
        return [type(effect) for effect in reading.effects]

    assert second(STRICT) == [Uri]
    assert second(replace(STRICT, first_of_equals=True)) == [Passed]
    assert second(replace(STRICT, first_of_equals=None)) == [Uri, Passed]


def test_the_effects_say_how(posix: PosixRegex) -> None:
    """Each effect has words for people."""
    held = [
        record(),
        record("!x!"),
        record("", flags="", replacement="a."),
        record(services="E2U+void:x"),
    ]
    found = [read_record(one, AUS, posix, UNKNOWN).effects for one in held]

    assert all(effect.how for effects in found for effect in effects)
    assert {type(effect) for effects in found for effect in effects} == {
        Uri,
        Follow,
        Void,
        Passed,
        Ended,
    }


@pytest.mark.parametrize(
    ("known", "field"),
    [
        ({"back_references": "1a"}, "back_references"),
        ({"services": ("SIP",)}, "services"),
        ({"services": ("",)}, "services"),
        ({"max_hops": -1}, "max_hops"),
        ({"max_hops": 256}, "max_hops"),
        ({"new_form": False, "old_form": False}, "new_form, old_form"),
    ],
)
def test_a_dialect_that_no_client_can_have_is_refused(known: dict[str, Any], field: str) -> None:
    """The field is named."""
    with pytest.raises(InputError) as caught:
        NaptrDialect(**known)
    assert caught.value.field == field


def test_a_dialect_is_completed_with_what_the_rfcs_say() -> None:
    """What is known stays, and nothing is unknown afterwards."""
    found = NaptrDialect(delimiters="!", regex=RegexDialect.PCRE).completed()

    assert found == replace(STRICT, delimiters="!", regex=RegexDialect.PCRE)
    assert found.unknown == ()
