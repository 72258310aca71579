"""Each known bug of a probe is named by its figures alone.

The wrong reports are made here by a counter of a few lines that knows nothing of the project's own
(regular expressions over raw packets), or were printed by programs that have the bug.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.dialplan import DialPlan
from harness.packets.blocks import whole
from harness.packets.capture_file import read
from harness.premises import Premises
from probetest.compare.mapping import Mapping
from probetest.compare.run import Comparison, run
from probetest.compare.theirs import read_report
from tests.sip_wire import ALICE, BOB, CAROL, CARRIER, MS, PHONE, SBC, START_NS, Leg, Tape, dialog

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000


def compared(
    tape: Tape, text: str, premises: Premises | None = None, *, form: str = ""
) -> Comparison:
    """Return what comes of a report on a tape."""
    place = premises or Premises()
    report = read_report(text, place, form=form)
    return run(lambda: [whole(tape.capture())], report, place)


def named(found: Comparison) -> set[str]:
    """Return every explanation."""
    return {" + ".join(part.name for part in one.together) for one in found.explanations}


def busy() -> Tape:
    """Return 1 copy, 2 retransmissions, 4 re-INVITEs, 8 retries, 16 hops, 32 legs of 63 calls."""
    tape = Tape()
    for number in range(63):
        at_ms = number * 100_000
        leg = Leg(f"{number}@192.0.2.10", branch=f"z9hG4bK-{number}", from_tag=f"a{number}")
        leg = replace(leg, extra=(("Session-ID", f"{number + 1:032x}"),))
        tape.udp(at_ms, PHONE, SBC, leg.request())
        if number < 1:
            tape.udp(at_ms + 1, PHONE, SBC, leg.request(), ip_id=tape.ip_id)
        elif number < 3:
            tape.udp(at_ms + 500, PHONE, SBC, leg.request())
        elif number < 7:
            again = replace(leg, number=2, to_tag="b", branch=f"{leg.branch}-re")
            tape.udp(at_ms + 50, SBC, PHONE, leg.response(200))
            tape.udp(at_ms + 500, PHONE, SBC, again.request())
        elif number < 15:
            again = replace(leg, number=2, branch=f"{leg.branch}-2")
            tape.udp(at_ms + 50, SBC, PHONE, leg.response(407))
            tape.udp(at_ms + 60, PHONE, SBC, again.request())
        elif number < 31:
            hop = replace(leg, branch=f"{leg.branch}-hop")
            tape.udp(at_ms + 5, SBC, CARRIER, hop.request())
        else:
            onward = replace(leg, call_id=f"b{number}@192.0.2.20", from_tag=f"s{number}")
            tape.udp(at_ms + 5, SBC, CARRIER, onward.request())
    return tape


@dataclass
class Naive:
    """A counter of calls with bugs: what it calls each INVITE is told by the raw bytes alone."""

    tape: Tape

    def kinds(self) -> list[tuple[int, str]]:
        """Return when each INVITE was seen, and what sort it is."""
        found, seen, sessions = [], dict[str, bytes](), set[str]()
        packets, payloads = set[bytes](), set[bytes]()
        for at_ns, frame in self.tape.frames:
            payload = frame[28:]
            if not payload.startswith(b"INVITE"):
                continue
            text = payload.decode()
            call_id, session = (
                re.search(rf"^{name}: (\S+)", text, re.MULTILINE)[1]  # type: ignore[index]
                for name in ("Call-ID", "Session-ID")
            )
            kind = "call"
            if frame in packets:
                kind = "no de-duplication"
            elif payload in payloads:
                kind = "retransmissions counted"
            elif re.search(r"^To:.*;tag=", text, re.MULTILINE):
                kind = "re-INVITE counted"
            elif call_id in seen:
                is_same = seen[call_id] == frame[12:16]
                kind = "authentication counted" if is_same else "hops counted apart"
            elif session in sessions:
                kind = "legs counted apart"
            found.append((at_ns, kind))
            packets.add(frame)
            payloads.add(payload)
            seen.setdefault(call_id, frame[12:16])
            sessions.add(session)
        return found

    def report(self, *bugs: str) -> str:
        """Return the calls of each hour, as a probe with these bugs counts them."""
        hours: Counter[int] = Counter()
        for at_ns, kind in self.kinds():
            hours[at_ns // (HOUR_MS * MS) * HOUR_MS // 1000] += kind in ("call", *bugs)
        return "bucket,calls\n" + "".join(f"{iso(at)},{n}\n" for at, n in sorted(hours.items()))


def iso(at_s: int) -> str:
    days, rest = divmod(at_s - 1_699_920_000, 86_400)  # 2023-11-14
    return f"2023-11-{14 + days}T{rest // 3600:02}:{rest // 60 % 60:02}:00+00:00"


SORTS = (
    *("no de-duplication", "retransmissions counted", "re-INVITE counted"),
    *("authentication counted", "hops counted apart", "legs counted apart"),
)


@pytest.mark.parametrize("bug", SORTS)
def test_what_is_counted_as_a_call_too_is_named(bug: str) -> None:
    """One bug, told from all others by the calls of each hour."""
    tape = busy()
    found = compared(tape, Naive(tape).report(bug), form="report")

    assert not found.is_equal
    assert bug in named(found)
    assert not named(found) & set(SORTS) - {bug}


def test_a_report_without_a_bug_is_equal() -> None:
    """The naive counter without bugs finds our calls."""
    tape = busy()
    found = compared(tape, Naive(tape).report(), form="report")

    assert found.is_equal
    assert found.explanations == ()


def test_every_invite_is_named_where_all_are_counted() -> None:
    """All six at once are no pair: one bug explains them."""
    tape = busy()

    assert named(compared(tape, Naive(tape).report(*SORTS), form="report")) == {
        "every INVITE counted"
    }


def test_two_bugs_together_are_named() -> None:
    """No single bug gives these figures, one pair does."""
    tape = busy()
    found = compared(tape, Naive(tape).report(SORTS[2], SORTS[3]), form="report")

    assert "re-INVITE counted + authentication counted" in named(found)


def test_three_bugs_are_not_guessed() -> None:
    """What neither one nor two explain is said to be unexplained."""
    tape = busy()
    found = compared(tape, Naive(tape).report(*SORTS[1:4]), form="report")

    assert not found.is_equal
    assert found.explanations == ()


def test_hours_of_another_zone_are_named() -> None:
    """The same counts, each one hour later."""
    tape = busy()
    text = re.sub(r"T(\d\d)", lambda hour: f"T{int(hour[1]) + 1:02}", Naive(tape).report()).replace(
        "T24", "T24"
    )
    if "T24" in text:
        text = re.sub(r"-14T24", "-15T00", text)

    assert "times of another zone, +01:00" in named(compared(tape, text, form="report"))


def parties() -> Tape:
    """Return calls whose headers name different parties, two of three refused."""
    tape = Tape()
    for number in range(3):
        leg = Leg(
            f"{number}@192.0.2.10",
            called=f"sip:{BOB}@192.0.2.20",
            branch=f"z9hG4bK-{number}",
            extra=(("P-Asserted-Identity", f"<sip:{CAROL}@192.0.2.10>"),),
        )
        invite = leg.request().replace(f"To: <sip:{BOB}".encode(), b"To: <sip:+16505550199")
        tape.udp(number * 10_000, PHONE, SBC, invite)
        tape.udp(number * 10_000 + 100, SBC, PHONE, leg.response(486 if number else 200))
    return tape


HOUR = "2023-11-14T22:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "bug"),
    [
        (
            f"top_destination,top_destination_calls\n{HOUR},+16505550199,3",
            "To instead of Request-URI",
        ),
        (f"top_source,top_source_calls\n{HOUR},{ALICE},3", "From instead of asserted identity"),
        (f"calls\n{HOUR},1", "unanswered calls left out"),
        (f"average_cps\n{HOUR},0.000833", "whole-bucket divisor"),
    ],
)
def test_a_wrong_party_or_divisor_is_named(text: str, bug: str) -> None:
    """One wrong column of a report."""
    assert named(compared(parties(), f"bucket,{text}\n", form="report")) == {bug}


def test_numbers_that_are_not_normalised_are_named() -> None:
    """Two spellings of one number are two rows there."""
    tape = Tape()
    for number, called in enumerate(("+16505550113", "6505550113", "16505550113")):
        leg = Leg(f"{number}@192.0.2.10", called=f"sip:{called}@192.0.2.20")
        tape.udp(number * 10_000, PHONE, SBC, leg.request())
    plan = (ROOT / "fixtures/dialplans/us-650.toml").read_text()
    place = Premises().with_plan(plan)
    assert isinstance(place.plan, DialPlan)
    rows = "".join(f"{HOUR},{n},1\n" for n in ("+16505550113", "6505550113", "16505550113"))
    head = "bucket,top_destination,top_destination_calls\n"

    assert "numbers not normalised" in named(compared(tape, head + rows, place, form="report"))


def test_calls_over_tcp_that_are_missing_are_named() -> None:
    """One call over UDP, one over TCP: the report has one."""
    tape = Tape()
    dialog(tape, 0)
    tape.tcp(20_000, PHONE, SBC, Leg("t@192.0.2.10").request(), at=0)

    assert "TCP not read" in named(
        compared(tape, "call_id,source\n1@192.0.2.10," + ALICE, form="cdr")
    )


def test_a_replay_that_vanishes_by_its_payload_is_named() -> None:
    """The same bytes a minute later are a new call, there they are dropped."""
    tape = Tape()
    dialog(tape, 0)
    dialog(tape, 60_000)
    found = named(compared(tape, f"bucket,calls\n{HOUR},1\n", form="report"))

    assert {"de-duplication by payload only", "every Call-ID counted"} <= found


@pytest.mark.parametrize(
    ("capture", "bug"),
    [
        ("ip-fragments", "first fragment only"),
        ("network-qinq", "one VLAN tag only"),
        ("network-vxlan", "tunnels not opened"),
    ],
)
def test_what_a_probe_does_not_open_is_named(capture: str, bug: str) -> None:
    """No call at all is reported of a capture that needs it."""
    (path,) = (ROOT / "pcaps" / capture).glob("capture.pcap*")
    report = read_report("call_id,source\n", Premises(), form="cdr")
    found = run(lambda: [whole(read(path))], report, Premises())

    assert bug in named(found)


def test_copies_that_are_counted_as_packets_are_named() -> None:
    """Each packet was seen twice: a hundred came where fifty were sent, and -50 are lost."""
    names = ("source", "destination", "ssrc", "packets", "lost")
    rows = (
        names,
        ("192.0.2.10:20000", "192.0.2.1:30000", "0x11111111", "100", "-50"),
        ("192.0.2.1:30000", "192.0.2.10:20000", "0x22222222", "100", "-50"),
    )
    mapping = Mapping("streams", {name: name for name in names})
    text = "".join(",".join(row) + "\n" for row in rows)
    report = read_report(text, Premises(), mapping=mapping)
    path = ROOT / "pcaps" / "two-span-duplicates" / "capture.pcapng"
    found = run(lambda: [whole(read(path))], report, Premises())

    assert named(found) == {"copies counted as packets", "Wireshark's convention"}


def test_a_report_of_our_own_clock_starts_where_the_tape_does() -> None:
    """The hour of these tests is that of the tape."""
    assert START_NS // 10**9 // 3600 * 3600 == 1_699_999_200
