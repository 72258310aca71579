"""Telephone events (RFC 4733): one key each, however its packets come."""

from probetest.media.events import MAX_KEYS, Events

END, CLOCK_HZ = 0x80, 8000


def word(code: int, duration: int, *, end: bool = False, volume: int = 10) -> int:
    """Return the four bytes of an event."""
    return code << 24 | (END if end else 0) << 16 | volume << 16 | duration


def pressed(*packets: tuple[int, int, int], marker: bool = True) -> Events:
    """Return the keys of packets: ms, timestamp, word; the first one has the marker."""
    events = Events()
    for place, (at_ms, timestamp, event) in enumerate(packets):
        events.add(at_ms * 1_000_000, timestamp, event, CLOCK_HZ, marker=marker and place == 0)
    return events


def test_a_key_has_begin_length_and_volume() -> None:
    """Duration grows; the end comes three times and counts once."""
    packets = [(20 * n, 800, word(5, 160 * n)) for n in range(1, 6)]
    packets += [(100 + 20 * n, 800, word(5, 960, end=True)) for n in range(3)]
    (key,) = pressed(*packets).records()

    assert (key.key, key.at_ns, key.duration_ms) == ("5", 20_000_000, 120.0)
    assert (key.volume_dbm0, key.started, key.ended) == (-10, True, True)


def test_a_lost_start_and_a_lost_end_are_told() -> None:
    """No marker, no E bit: the key is there all the same."""
    (key,) = pressed((0, 800, word(11, 320)), marker=False).records()

    assert (key.key, key.started, key.ended) == ("#", False, False)


def test_a_late_packet_of_an_earlier_key_is_no_key() -> None:
    """1, then 2, then once more the end of 1."""
    found = pressed(
        (0, 800, word(1, 400)), (60, 1600, word(2, 160)), (70, 800, word(1, 480, end=True))
    ).records()

    assert [(key.key, key.duration_ms, key.ended) for key in found] == [
        *(("1", 60.0, True), ("2", 20.0, False))
    ]


def test_the_same_key_twice_is_two() -> None:
    """Another timestamp after an end is another press."""
    found = pressed((0, 800, word(1, 400, end=True)), (100, 2400, word(1, 400, end=True)))

    assert [key.key for key in found.records()] == ["1", "1"]


def test_a_key_held_for_long_goes_on_with_a_new_timestamp() -> None:
    """65535 units, then the next part begins where they ended (section 2.5.1.3)."""
    found = pressed(
        (0, 800, word(0, 160)),
        (8000, 800, word(0, 0xFFFF)),
        (8020, 800 + 0xFFFF, word(0, 160)),
        (8010, 800, word(0, 0xFFFF)),
        (9000, 800 + 0xFFFF, word(0, 8000, end=True)),
    ).records()

    assert [(key.key, key.ended) for key in found] == [("0", True)]
    assert found[0].duration_ms == (0xFFFF + 8000) / 8


def test_what_is_no_key_is_a_question_mark_and_many_are_cut() -> None:
    """A hook flash is event 16; beyond the limit keys are left out."""
    events = Events()
    for number in range(MAX_KEYS + 50):
        events.add(number, number * 1000, word(16, 80, end=True), CLOCK_HZ, marker=True)

    found = events.records()
    assert len(found) == MAX_KEYS
    assert {key.key for key in found} == {"?"}
    assert events.more > 0
