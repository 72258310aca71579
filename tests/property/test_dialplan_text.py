"""Any text has a reading, and what is read is what a keypad could have sent."""

import contextlib
import dataclasses
import re
import tomllib
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dialplan import DialPlan, Global, Kind, Local
from harness.errors import InputError
from harness.possible_number import is_local_only, possible

FOLDER = Path(__file__).parents[2] / "fixtures" / "dialplans"
PLANS = [
    DialPlan.from_table(tomllib.loads(path.read_text()), file=path.name)
    for path in sorted(FOLDER.glob("*.toml"))
]
KINDS: list[Kind] = ["uri", "user", "number"]

plans = st.sampled_from(PLANS)
kinds = st.sampled_from(KINDS)
anything = st.text(st.characters(codec=None))  # lone surrogates too
almost = st.text(st.sampled_from('0123456789+*#-.() ;:@%<>"\\=,abFx\u0663\ud800\x00'))
uris = st.builds(
    "{}{}@{}{}".format, st.sampled_from(["sip:", "tel:", "<sip:"]), almost, almost, almost
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)
names = st.sampled_from([*(f.name for f in dataclasses.fields(DialPlan)), "other"])


@given(plans, st.one_of(anything, almost, uris), kinds)
def test_any_text_has_a_reading(plan: DialPlan, text: str, kind: Kind) -> None:
    """No text raises; its normalised form is printable and short enough for a table."""
    found = plan.reading(text, kind=kind)

    assert found.raw == text
    assert found.text.isprintable()
    assert len(found.text) <= 200
    assert found.rule


@given(plans, almost)
def test_letters_never_become_digits(plan: DialPlan, text: str) -> None:
    """Digits of a party are digits of the text, in its order."""
    found = plan.reading(text, kind="number").party

    digits = re.sub("[^0-9]", "", text)
    match found:
        case Global(number):
            assert number.digits[-4:] in digits or text.strip() in dict(plan.extensions)
        case Local(local, _):
            assert re.sub("[^0-9]", "", local) in digits
        case _:
            assert found.text.isprintable()
    if re.search("[abFx]", text):
        assert not isinstance(found, Global | Local)


@given(plans, st.integers(10**6, 10**15 - 1))
def test_a_global_number_is_read_the_same_everywhere(plan: DialPlan, digits: int) -> None:
    """With its plus sign a number needs no plan."""
    found = plan.reading(f"+{digits}", kind="user")

    assert (found.text, found.rule) == (f"+{digits}", "e164 plus")


@given(plans, st.text("0123456789", min_size=7, max_size=15))
def test_reading_is_stable(plan: DialPlan, digits: str) -> None:
    """A number that was read reads the same from its normalised form."""
    found = plan.reading(digits, kind="user")

    if isinstance(found.party, Global):
        assert plan.reading(found.text, kind="number").party == found.party


@given(st.dictionaries(names, values))
def test_any_table_is_a_plan_or_an_input_error(table: dict[str, object]) -> None:
    """TOML of any shape never breaks the reader."""
    with contextlib.suppress(InputError):
        DialPlan.from_table(table, file="x.toml", field="dial_plan")


@given(plans, st.text("*67", max_size=3000))
def test_repeated_service_codes_end(plan: DialPlan, text: str) -> None:
    """Thousands of service codes in a row neither recurse nor raise."""
    assert plan.reading(text, kind="user").rule


def test_a_full_datagram_of_one_character_is_read() -> None:
    """64 KiB of any one character, the size of a datagram, ends."""
    for char in '<"\\%;@+0*.':
        for kind in KINDS:
            assert PLANS[0].reading(char * 65_536, kind=kind).rule


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_emergency_numbers_are_never_global(plan: DialPlan) -> None:
    """112 is not +33 112."""
    found = {plan.reading(number, kind="user").rule for number in plan.emergency}

    assert found == {"emergency"}


@given(
    st.sampled_from([str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE]),
    st.text("0123456789", min_size=1, max_size=14),
)
def test_possible_is_what_libphonenumber_says(code: str, national: str) -> None:
    """Its answer depends on country and length alone, so one answer serves all of a length."""
    number = phonenumbers.PhoneNumber(
        country_code=int(code),
        national_number=int(national),
        italian_leading_zero=national.startswith("0") or None,
        number_of_leading_zeros=len(national) - len(national.lstrip("0")) or None,
    )
    said = phonenumbers.is_possible_number_with_reason(number)
    zeros_only = not national.strip("0")
    fits = len(code + national) <= 15 and not zeros_only

    if fits:
        is_possible = said == phonenumbers.ValidationResult.IS_POSSIBLE
        assert (possible(code + national, code) is not None) == is_possible
        is_local = said == phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY
        assert is_local_only(code, national) == is_local
