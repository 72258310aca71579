"""The SBC's pool holds a server exactly when its whole history says so."""

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import Share, Stage
from enumtest.sbc.health import ServerHealth
from tests.enum_wire import FIXED, at_will
from tests.held_model import Deed, held_in

STAGE = st.builds(
    Stage,
    failures=st.integers(1, 2),
    consecutive=st.booleans(),
    window_ns=st.sampled_from((0, 5, 12)),
    length_ns=st.sampled_from((0, 1, 7, 20)),
    share=st.just(Share.NEXT),
)
STAGES = st.lists(STAGE, max_size=3).map(
    lambda found: tuple(
        replace(one, failures=one.failures + 2 * at) for at, one in enumerate(found)
    )
)
STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(("failed", "failed", "answered", "late"))),
    max_size=30,
)
PROBED = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(("failed", "answered", "replied", "lost"))),
    max_size=30,
)


@settings(max_examples=300)
@given(STAGES, STEPS, st.booleans(), st.booleans(), st.integers(0, 25))
def test_server_is_held_as_its_history_says(
    stages: tuple[Stage, ...],
    steps: list[tuple[int, str]],
    answer_ends: bool,
    end_resets: bool,
    last_ns: int,
) -> None:
    """Stages, windows and rows of failures; late answers change nothing."""
    rules = replace(FIXED.hold_down, stages=stages, answer_ends=answer_ends, end_resets=end_resets)
    profile = at_will(FIXED, hold_down=rules)
    health, now_ns = ServerHealth(rules, FIXED.readmission), 0
    history: list[Deed] = []
    for by_ns, what in steps:
        now_ns += by_ns
        assert health.is_held(now_ns) == held_in(history, "a", profile, now_ns)
        if what == "failed":
            held = held_in(history, "a", profile, now_ns)
            history.append(Deed(now_ns, "a", what))
            begins = health.on_failure(now_ns)
            assert not (begins and held)
        else:
            health.on_answer(now_ns, late=what == "late")
            history += [Deed(now_ns, "a", what)] * (what == "answered")
    now_ns += last_ns

    assert health.is_held(now_ns) == held_in(history, "a", profile, now_ns)


LOST_BETWEEN = [
    (0, what) for what in ("failed", "failed", "answered", "replied", "failed", "replied", "failed")
]


@settings(max_examples=300)
@given(STAGE, PROBED, st.booleans(), st.integers(1, 3))
@example(Stage(2, True, 0, 0, Share.NEXT), LOST_BETWEEN, False, 2)
def test_probed_server_is_held_as_its_history_says(
    stage: Stage, steps: list[tuple[int, str]], end_resets: bool, replies: int
) -> None:
    """Replies in a row bring it back, and no time does."""
    ribbon = shipped_profile("ribbon")
    rules = replace(ribbon.hold_down, stages=(replace(stage, length_ns=0),), end_resets=end_resets)
    readmission = replace(ribbon.readmission, replies=replies)
    profile = at_will(ribbon, hold_down=rules, readmission=readmission)
    health, now_ns = ServerHealth(rules, readmission), 0
    history: list[Deed] = []
    for by_ns, what in steps:
        now_ns += by_ns
        held = held_in(history, "a", profile, now_ns)
        assert health.is_held(now_ns) == held
        if what in ("replied", "lost") and not held:
            continue  # nobody probes a healthy server
        history.append(Deed(now_ns, "a", what))
        match what:
            case "failed":
                health.on_failure(now_ns)
            case "answered":
                health.on_answer(now_ns)
            case "replied":
                health.on_probe_reply()
            case _:
                health.on_probe_lost()

    assert health.is_held(now_ns + 10**15) == held_in(history, "a", profile, now_ns + 10**15)
