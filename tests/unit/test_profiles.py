"""SBC profiles: every value has a source or is unknown, and no file says what nobody can do."""

import contextlib
import tomllib
from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enumtest.profiles.oracle_timers import oracle_schedule
from enumtest.profiles.profile_file import (
    encode_profile,
    parse_profile,
    shipped_names,
    shipped_profile,
)
from enumtest.profiles.profile_groups import (
    AllDown,
    Event,
    ReadmitBy,
    Selection,
    Share,
    Then,
    Timers,
)
from enumtest.profiles.profile_overrides import COUNTABLE, Overrides, laid_over
from enumtest.profiles.profiles import Profile
from harness.errors import InputError
from tests.enum_wire import FIXED, MS, SECOND

FOLDER = resources.files("enumtest") / "data" / "profiles"
RIBBON = (FOLDER / "ribbon.toml").read_text(encoding="utf-8")


def refused(text: str) -> list[str]:
    """Return the lines with which *text* is refused."""
    with pytest.raises(InputError) as caught:
        parse_profile(text, "p.toml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", shipped_names())
def test_every_value_of_a_shipped_profile_has_a_source_or_is_unknown(name: str) -> None:
    """Read from the file itself: each leaf has a path above it in [source] or in unknown."""
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    told = {*table.pop("source"), *table.pop("unknown")}
    for key in ("name", "title", "dialect", "timers"):
        table.pop(key, None)

    def leaves(path: str, value: object) -> list[str]:
        rows = value.items() if isinstance(value, dict) else []
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = [(str(at), row) for at, row in enumerate(value)]
        below = [leaf for key, row in rows for leaf in leaves(f"{path}.{key}".strip("."), row)]
        return below or [path]

    bare = [
        path
        for path in leaves("", table)
        if not any(path == one or path.startswith(f"{one}.") for one in told)
    ]
    assert bare == []


@pytest.mark.parametrize("name", shipped_names())
def test_profile_survives_being_written(name: str) -> None:
    """Sources and unknowns included; so does one with values laid over it."""
    profile = shipped_profile(name)
    over = laid_over(profile, Overrides(timeout_ns=5 * SECOND, all_down=AllDown.ASK_ANYWAY))

    assert parse_profile(encode_profile(profile)) == profile
    assert parse_profile(encode_profile(over)) == over
    assert profile.name == name


TIMES_NS = st.integers(1, 10**12)


@given(
    st.sampled_from(shipped_names()),
    st.builds(
        Overrides,
        selection=st.none() | st.sampled_from([Selection.ROUND_ROBIN, Selection.HUNT]),
        timeout_ns=st.none() | st.integers(50, 10**12),
        retransmissions=st.none() | st.integers(0, 20),
        hold_down_ns=st.none() | TIMES_NS,
        failures=st.none() | st.frozensets(st.sampled_from(COUNTABLE)),
        all_down=st.none() | st.sampled_from(AllDown),
        source_code=st.none() | st.integers(0, 65_535),
    ),
)
def test_profile_with_anything_laid_over_survives_being_written(name: str, over: Overrides) -> None:
    """To the nanosecond, with each giver as the source."""
    base = shipped_profile(name)
    if base.selection.method is Selection.LIST_ORDER and over.selection is None:
        over = replace(over, hold_down_ns=None)  # it has no memory that could hold a server
    profile = laid_over(base, over)

    assert parse_profile(encode_profile(profile)) == profile
    assert all(profile.source_of(path) == "the site file" for path in _there(over, profile))


def _there(over: Overrides, profile: Profile) -> set[str]:
    """Return the paths of *over* that *profile* has."""
    return set(over.paths()) & {one.path for one in profile.fields()}


def test_names_every_bad_value_at_once() -> None:
    """Five faults of five kinds: five lines, each with the file, the field and the value."""
    lines = refused(
        RIBBON.replace('method = "round-robin"', 'method = "robin"')
        .replace("expire_ms = 2000", 'expire_ms = "2 s"')
        .replace("failures = 3\n", "failures = 3\nfailure = 4\n")
        .replace("replies = 2\n", "")
        .replace('dialect = "ribbon"', 'dialect = "sonus"')
    )

    assert len(lines) == 5
    assert all(line.startswith("p.toml: ") for line in lines)
    for part in (
        "selection.method = 'robin': ",
        "retransmission.expire_ms = '2 s': ",
        "hold_down.stages.0.failure = 4: no such key; remove it",
        "readmission.replies: missing; add it",
        "dialect = 'sonus': no such client; there are ",
    ):
        assert any(part in line for line in lines), part


def test_names_impossible_values_beside_those_that_cannot_be_read() -> None:
    """A typo in one group hides no wrong number in another, and no path that names nothing."""
    lines = refused(
        RIBBON.replace("replies = 2\n", "")
        .replace("rounds = 1", "rounds = -1")
        .replace("schedule_ms = [0, 1000]", "schedule_ms = [0, -5, 3]")
        .replace("failures = 3", "failures = 0")
        .replace('    "cache",\n', '    "cache",\n    "cash",\n')
    )

    assert len(lines) == 5
    assert all(line.startswith("p.toml: ") for line in lines)
    for part in (
        "readmission.replies: missing",
        "selection.rounds = -1: not 1 to ",
        "retransmission.schedule_ns = (0, ",
        "hold_down.stages.0.failures = 0",
        "cash: names no value of this profile",
    ):
        assert any(part in line for line in lines), part


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("schedule_ms = [0, 1000]", "schedule_ms = [0, 1000, 1000]", "schedule_ns = (0, "),
        ("schedule_ms = [0, 1000]", "schedule_ms = [100]", "the first of them 0"),
        ("expire_ms = 2000", "expire_ms = 1000", "retransmission.expire_ns = 1000000000"),
        ("rounds = 1", "rounds = 0", "selection.rounds = 0"),
        ("weights = []", "weights = [1]", "only a proportional choice has weights"),
        ('method = "round-robin"', 'method = "list-order"', "hunt is what is meant"),
        ("failures = 3", "failures = 0", "hold_down.stages.0.failures = 0"),
        ("window_ms = 180_000", "window_ms = -1", "hold_down.stages.0.window_ns = -1000000"),
        ("length_ms = 0", "length_ms = 5", "probes bring the server back"),
        ('share = "next"', 'share = "first-live"', "skipped_takes_turn is true"),
        ("replies = 2", "replies = 0", "readmission.replies = 0: not 1 to"),
        ('probe_name = ""', 'probe_name = "+1x"', "readmission.probe_name = '+1x'"),
        ('silence = { then = "next-server"', 'silence = { then = "tcp"', "not one of final, next"),
        ('garbled = { then = "ignore", counts = f', 'garbled = { then = "ignore", counts = true}#',
         "what is ignored cannot count"),
        ('late = { then = "ignore", counts = false }\n', "", "reactions.late: missing"),
        ("positive = false\nhonours_ttl = true", "positive = true\nhonours_ttl = false",
         "nothing would ever end"),
        ("source_code = 4", "source_code = 65536", "edns.source_code = 65536"),
        ('    "selection",\n', "", "selection.method = 'round-robin': no source"),
        ('    "cache",\n', '    "cache",\n    "cash",\n', "cash: names no value of this profile"),
        ('    "cache",\n', '    "cache",\n    "hold_down.scope",\n', "unknown, and with a source"),
        ("expire_ms = 2000", "expire_ms = 2000\nexpire_ns = 5", "given twice; leave expire_ns out"),
        ('name = "ribbon"', 'timers = "oracle"\nname = "ribbon"', "not by Oracle's rule"),
        ('name = "ribbon"', 'timers = "cisco"\nname = "ribbon"', "timers = 'cisco'"),
        ('name = "ribbon"', 'name = ["ribbon"', "not TOML"),
        ('name = "ribbon"', 'name = "Ribbon SBC"', "name = 'Ribbon SBC'"),
    ],
)  # fmt: skip
def test_refuses_what_no_sbc_could_follow(old: str, new: str, part: str) -> None:
    """The field, the value and what is wrong with it."""
    assert old in RIBBON
    assert any(part in line for line in refused(RIBBON.replace(old, new, 1)))


def test_later_stage_needs_more_failures() -> None:
    """Otherwise the earlier one could never be in force."""
    text = encode_profile(shipped_profile("oracle-hunt")).replace("failures = 5", "failures = 1")

    assert "hold_down.stages.1.failures = 1: not more than the stage before" in refused(text)[0]


def test_source_of_a_value_is_the_nearest_one() -> None:
    """A longer path beats the one above it, known or not."""
    oracle = shipped_profile("oracle-hunt")

    assert "Time Out, 30 s" in (oracle.source_of("hold_down.stages.0.length_ns") or "")
    assert oracle.source_of("hold_down.stages.0.share") is None
    assert oracle.source_of("reactions.SERVFAIL.counts") is None
    assert oracle.source_of("naptr.delimiters") is None
    assert "service-type" in (oracle.source_of("naptr.services") or "")


def test_there_is_no_profile_of_another_name() -> None:
    """The names that there are come with the refusal."""
    with pytest.raises(InputError, match="there are fixed-hold-down, libc, oracle-hunt"):
        shipped_profile("../fixed-hold-down")


def test_value_laid_over_has_its_giver_as_source() -> None:
    """Also when it is the profile's own: now somebody says so. Nothing else changes."""
    over = laid_over(FIXED, Overrides(hold_down_ns=FIXED.hold_down_ns), by="the site file")
    changed = {one.path for one in over.fields()} - {
        one.path for one in FIXED.fields() if one.source == over.source_of(one.path)
    }

    assert changed == {"hold_down.stages.0.length_ns", "readmission.by"}
    assert over.hold_down == FIXED.hold_down
    assert over.source_of("hold_down.stages.0.length_ns") == "the site file"


def test_nothing_laid_over_changes_nothing() -> None:
    """The profile itself comes back."""
    assert laid_over(FIXED, Overrides()) is FIXED


@pytest.mark.parametrize(
    ("timeout_s", "times_ms"),
    [
        (1, [0, 250, 500, 750]),
        (2, [0, 250, 750, 1400]),
        (3, [0, 272, 818, 1909]),
        (11, [0, 1000, 3000, 7000]),
        (22, [0, 2000, 6000, 14_000]),
    ],
)
def test_timeout_laid_over_an_oracle_sbc_goes_by_its_rule(
    timeout_s: int, times_ms: list[int]
) -> None:
    """250/250 ms at 1 s, 250/650 ms at 2 s, else a timeout/11 and 4 times that (GUID-142FAD3C)."""
    over = laid_over(shipped_profile("oracle-hunt"), Overrides(timeout_ns=timeout_s * SECOND))

    assert [at_ns * 1000 // SECOND for at_ns in over.retransmission.schedule_ns] == times_ms
    assert "GUID-142FAD3C" in (over.source_of("retransmission.schedule_ns") or "")
    assert over.timers is Timers.ORACLE


def test_timeout_laid_over_draws_a_schedule_out() -> None:
    """For want of a rule, in proportion; a longer one is no guess that a maker could exclude."""
    over = laid_over(shipped_profile("libc"), Overrides(timeout_ns=10 * SECOND))

    assert (over.timeout_ns, over.retransmission.schedule_ns) == (10 * SECOND, (0,))


def test_oracle_sbc_takes_whole_seconds() -> None:
    """Of any other time-out nothing is known: the sends are a simulation's."""
    over = laid_over(shipped_profile("oracle-hunt"), Overrides(timeout_ns=SECOND // 2))

    assert over.timers is Timers.DRAWN_OUT
    with pytest.raises(InputError, match="below 1 s"):
        oracle_schedule(0)
    assert over.source_of("retransmission.schedule_ns") is None
    assert over.source_of("retransmission.expire_ns") == "the site file"


def test_retransmissions_laid_over_share_the_timeout_evenly() -> None:
    """A count says nothing of intervals that grow."""
    over = laid_over(shipped_profile("oracle-hunt"), Overrides(retransmissions=10))

    assert over.retransmission.schedule_ns == tuple(at * SECOND for at in range(11))


def test_hold_down_laid_over_is_that_of_the_first_stage() -> None:
    """A later stage is never shorter; 0 is none; probes give way to the time."""
    oracle, ribbon, libc = map(shipped_profile, ("oracle-hunt", "ribbon", "libc"))
    long = laid_over(oracle, Overrides(hold_down_ns=900 * SECOND)).hold_down.stages
    timed = laid_over(ribbon, Overrides(hold_down_ns=MS))

    assert [stage.length_ns for stage in long] == [900 * SECOND, 900 * SECOND]
    assert laid_over(oracle, Overrides(hold_down_ns=0)).hold_down.stages == ()
    assert (timed.readmission.by, timed.hold_down.stages[0].failures) == (ReadmitBy.TIME, 3)
    with pytest.raises(InputError, match="hunt is what is meant"):
        laid_over(libc, Overrides(hold_down_ns=MS))
    hunting = laid_over(libc, Overrides(selection=Selection.HUNT, hold_down_ns=MS))
    assert hunting.hold_down.stages[0].share is Share.NEXT


def test_failures_laid_over_are_those_that_fail_over() -> None:
    """Other errors are answers without an instruction; silence always fails over."""
    over = laid_over(FIXED, Overrides(failures=frozenset({Event.SERVFAIL}))).reactions

    assert {event: over[event].counts for event in COUNTABLE} == {
        event: event is Event.SERVFAIL for event in COUNTABLE
    }
    assert (over[Event.SILENCE].then, over[Event.REFUSED].then) == (Then.NEXT_SERVER, Then.FINAL)
    with pytest.raises(InputError, match="no failure of a server"):
        Overrides(failures=frozenset({Event.NXDOMAIN}))


@given(st.text(max_size=200))
def test_any_text_is_refused_with_words(text: str) -> None:
    """A profile or an InputError, never anything else."""
    with pytest.raises(InputError):
        parse_profile(text)


@pytest.mark.parametrize("key", sorted(tomllib.loads(RIBBON)))
@pytest.mark.parametrize(
    "value",
    [True, -1, 1.5, "", "x", [], [1], [[]], [{}], {}, {"x": 1}, {"stages": [1], "by": []},
     {"method": {}, "expire_ms": [{}], "schedule_ms": {"x": []}}],
    ids=repr,
)  # fmt: skip
def test_any_value_in_place_of_a_table_is_refused_with_words(key: str, value: object) -> None:
    """Whatever the type and the depth: a profile or an InputError."""
    table = tomllib.loads(RIBBON) | {key: value}
    lines = [f"{_key(name)} = {_toml(one)}" for name, one in table.items()]
    with contextlib.suppress(InputError):
        parse_profile("\n".join(lines), "p.toml")


def _key(name: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08x}" for char in name) + '"'


def _toml(value: object) -> str:
    """Return *value* as an inline TOML value."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            return _key(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            rows = (f"{_key(name)} = {_toml(one)}" for name, one in value.items())
            return f"{{{', '.join(rows)}}}"
    raise AssertionError(value)


def test_profile_needs_a_reaction_to_every_event() -> None:
    """Built by hand too, nothing is left to chance."""
    reactions = {event: one for event, one in FIXED.reactions.items() if event is not Event.LATE}
    with pytest.raises(InputError, match=r"reactions\.late: missing"):
        replace(FIXED, reactions=reactions)


@pytest.mark.parametrize(
    ("probe_name", "asked"),
    [
        ("", "e164.example"),
        ("Health.Example.", "health.example"),
        ("+16505550112", "2.1.1.0.5.5.5.0.5.6.1.e164.example"),
    ],
)
def test_probe_asks_for_a_name_or_a_number(probe_name: str, asked: str) -> None:
    """A number lies under the apex of whoever is asked."""
    readmission = replace(shipped_profile("ribbon").readmission, probe_name=probe_name)

    assert readmission.asked_for("e164.example.") == asked
