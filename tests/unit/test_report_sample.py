"""A realistic journal: three ENUM servers, the sixteen steps of part B, and a case of each kind.

The other report tests take their runs from here.
"""

from collections.abc import Mapping

from harness.journal import FIRST, Event, chain, parse

Told = tuple[str, dict[str, object]]  # an event's type and its fields

START_NS = 1_767_261_600_000_000_000  # 2026-01-01 10:00:00 UTC
SECOND_NS = 1_000_000_000
SITE = "site1"
SERVERS = ("enum1", "enum2", "enum3")
STEPS = (
    ("B.1.1", "ENUM requests arrive from the SBC", "Place test calls and watch this server.", True),
    ("B.1.2", "ENUM requests arrive from the SBC", "View average calls per second.", True),
    ("B.1.3", "ENUM requests arrive from the SBC", "View the ten busiest sources.", False),
    ("B.1.4", "ENUM requests arrive from the SBC", "View the ten busiest destinations.", False),
    ("B.2.1", "The SBC acts on regular expressions", "Let one chosen call through.", False),
    ("B.2.2", "The SBC acts on regular expressions", "End one chosen call.", False),
    ("B.2.3", "The SBC acts on regular expressions", "Send one call to an extension.", False),
    ("B.2.4", "The SBC acts on regular expressions", "Take every test policy out.", False),
    ("B.2.5", "The SBC acts on regular expressions", "Place the same calls again.", False),
    ("B.3.1", "Routing by the state of the servers", "Start a packet capture.", True),
    ("B.3.2", "Routing by the state of the servers", "Follow the requests of ten calls.", False),
    ("B.3.3", "Routing by the state of the servers", "Stop the first server.", False),
    ("B.3.4", "Routing by the state of the servers", "Stop all servers but the last.", False),
    ("B.3.5", "Routing by the state of the servers", "Start the stopped services again.", False),
    ("B.3.6", "Routing by the state of the servers", "Stop every server.", False),
    ("B.3.7", "Routing by the state of the servers", "Start every server again.", False),
)
NOTES = {
    "B.2.3": ["printed as a second allow in the source; read as redirect"],
    "B.1.4": ["dataset printed as SIP in the source; read as ENUM"],
}


class Writer:
    """A journal in memory, with a clock that moves two seconds an event."""

    def __init__(self) -> None:
        """Start with no event."""
        self.events: list[Event] = []

    def add(self, kind: str, /, **fields: object) -> None:
        """Append one event."""
        prev = chain(self.events[-1].encode()) if self.events else FIRST
        seq = len(self.events) + 1
        self.events.append(Event(seq, START_NS + seq * 2 * SECOND_NS, kind, prev, fields))

    def attempt(
        self,
        step: str,
        target: str,
        verdict: tuple[str, str] | None,
        *events: tuple[str, Mapping[str, object]],
        number: int = 1,
        ends: bool = True,
    ) -> None:
        """Append a whole attempt, or one that breaks off."""
        box = {"step": step, "target": target}
        self.add("attempt.start", **box, attempt=number)
        for kind, fields in events:
            self.add(kind, **box, **fields)
        if verdict:
            self.add("verdict.proposed", **box, outcome=verdict[0], words=verdict[1])
        if ends:
            self.add("attempt.end", **box)


def row(step: str, section: str, text: str, form: str, target: str) -> dict[str, object]:
    return {
        "box": f"{form}:{step}",
        "step": step,
        "section": section,
        "text": text,
        "expected": "It is as the plan says, and every call goes through as usual.",
        "mode": "manual" if step == "B.2.4" else "automatic",
        "target": target,
        "not_applicable": "",
        "notes": NOTES.get(step, []),
    }


def form(number: int) -> dict[str, object]:
    server, identity = SERVERS[number - 1], f"F{12 + number}"
    rows = [
        row(step, section, text, identity, server if own else SITE)
        for step, section, text, own in STEPS
    ]
    rows.append(
        row("B.4.1", "Enhanced availability", "Fail over to the standby.", identity, server)
        | {"box": "", "not_applicable": "ENUM servers have no standby"}
    )
    title = f"Site 1 ENUM server {number}"
    facts = {"id": identity, "part": "B", "title": title, "site": SITE, "host": server}
    return facts | {"rows": rows}


def start(**changed: object) -> dict[str, object]:
    return {
        "run": "2026-01-01T10-00-00Z-loopback",
        "title": "Call policy at Example Bank, Site 1",
        "mode": "lab",
        "watermark": "LAB",
        "tool_version": "fst 0.1.0",
        "plan": {
            "id": "fst-call-policy",
            "version": "1.0",
            "title": "Functional system test of the call policy solution",
            "sha256": "a1" * 32,
        },
        "site": {
            "name": "Example Bank, Site 1",
            "file": "loopback.toml",
            "sha256": "b2" * 32,
            "settings": ["sbc.hold_down_s=30"],
        },
        "people": {"tester": "T. Ester", "witness": "W. Itness", "customer": ""},
        "selected": [step for step, _, _, _ in STEPS if step != "B.3.7"],
        "forms": [form(1), form(2), form(3)],
    } | changed


def finding(outcome: str = "PASS", rule: str = "rotation.next-in-turn", **changed: object) -> Told:
    fields = {
        "rule": rule,
        "outcome": outcome,
        "expected": "enum2",
        "observed": "enum2" if outcome == "PASS" else "enum3",
        "unit": "",
        "frames": [3, 4, 5, 9],
        "needed": 0,
    }
    return "finding", fields | changed


def measurement(value: float | None, **changed: object) -> Told:
    fields = {"name": "answer_time", "value": value, "unit": "ms", "low": None, "high": 500.0}
    return "measurement", fields | {"outcome": "PASS", "frames": [12]} | changed


def attachment(step: str, target: str = SITE) -> Told:
    fields = {
        "path": f"attempts/{step}-{target}-1/capture.pcap",
        "sha256": "c3" * 32,
        "bytes": 24_680,
        "media_type": "application/vnd.tcpdump.pcap",
        "packets": 132,
        "dropped": 0,
        "captured_by": "tcpdump -i lo -U -w - udp port 5300",
    }
    return "attachment", fields


def outage_strip() -> Told:
    """Two servers stop at 20 s, are noticed, held, and taken back; the calls go on."""
    dots: list[list[object]] = []
    for call in range(40):
        t_ms, turn, frame = call * 2000, call % 3, 10 + call * 4
        down = turn < 2 and 20_000 <= t_ms < 50_000
        if down and t_ms < 26_000:
            dots += [[t_ms, turn, "unanswered", frame], [t_ms + 500, turn, "retransmission", 11]]
            dots.append([t_ms + 1000, 2, "answered", frame + 2])
        else:
            dots.append([t_ms, 2 if down else turn, "late" if call == 33 else "answered", frame])
    dots += [[58_000, 1, "failure", 240], [62_000, 0, "other", 260]]
    calls = [[call * 2000 + 40, "allowed"] for call in range(36)]
    calls += [[72_040, "terminated"], [74_040, "redirected"], [76_040, "none"]]
    fields = {
        "servers": list(SERVERS),
        "dots": dots,
        "spans": [
            [0, 20_000, 50_000, "down"],
            [1, 20_000, 50_000, "down"],
            [0, 50_000, 54_000, "held"],
            [1, 50_000, 56_000, "held"],
        ],
        "marks": [
            [20_000, "enum1 and enum2 stopped"],
            [21_000, "SBC noticed"],
            [50_000, "enum1 and enum2 started"],
            [56_000, "hold-down over"],
        ],
        "calls": calls,
        "dropped_dots": 7,
    }
    return "strip", fields


def sample() -> list[Event]:
    """Return the whole journal of the run."""
    journal = Writer()
    journal.add("run.start", **start())
    for step, _, text, own in STEPS[:10]:
        for target in SERVERS if own else (SITE,):
            if step == "B.2.4":
                continue
            journal.attempt(
                step,
                target,
                ("PASS", "2 checks of 1 rule and 1 measurement within limits, shown by 5 frames"),
                ("step", {"text": f"{text} Calling +1 212 555 0123 from +1 212 555 0100."}),
                attachment(step, target),
                finding(),
                finding(expected="!^.*$!sip:+12125550123@pbx.example!", observed="the same"),
                measurement(41.5),
            )
    failed = finding("FAIL", frames=[31, 32])
    journal.attempt("B.3.2", SITE, ("FAIL", "rotation.next-in-turn: a turn was left out"), failed)
    rotated = ("PASS", "10 checks of 1 rule, shown by 40 frames")
    journal.attempt("B.3.2", SITE, rotated, attachment("B.3.2"), finding(), number=2)
    held = ("PASS", "12 checks of 3 rules, shown by 36 frames")
    journal.attempt("B.3.3", SITE, held, outage_strip(), attachment("B.3.3"), finding())
    wrong = "availability.no-query-while-held: expected 0 queries, observed 2 (frames 31-32)"
    journal.attempt("B.3.4", SITE, ("FAIL", wrong), outage_strip(), attachment("B.3.4"), failed)
    journal.add("comment", step="B.3.4", target=SITE, text="The SBC's log shows a restart.")
    early = ("OTHER", "cannot be judged yet: only 2 calls after the hold-down; 4 more calls needed")
    journal.attempt("B.3.5", SITE, early, finding("OTHER", needed=4), measurement(None))
    journal.attempt("B.3.6", SITE, None, ("step", {"text": "Stop every server"}), ends=False)
    journal.add("run.end", exit_code=1, reason="")
    return journal.events


def test_sample_is_a_whole_journal() -> None:
    """The sample's lines form an unbroken chain, as those of a run on disk do."""
    events = sample()
    assert parse(event.encode() for event in events) == tuple(events)
