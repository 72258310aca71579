"""Every type of event that a journal of schema 1 holds, as a table.

A field has a kind and a meaning; one that ends in "?" may be absent or null. A type is never taken
out of the table and a field never changes its kind: that would be schema 2.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "text"
    WHOLE = "whole"  # a whole number from 0 to 2^63-1
    NUMBER = "number"
    FLAG = "flag"
    TEXTS = "texts"
    WHOLES = "wholes"
    OUTCOME = "outcome"  # PASS, FAIL, OTHER
    SAID = "said"  # pass, fail, other
    OBJECT = "object"
    OBJECTS = "objects"
    ROWS = "rows"  # a list of lists


@dataclass(frozen=True, slots=True)
class FieldType:
    """One field of an event."""

    name: str
    kind: Kind
    meaning: str
    required: bool


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event."""

    name: str
    meaning: str
    fields: tuple[FieldType, ...]


def _type(name: str, meaning: str, *fields: str) -> EventType:
    """Return a type from fields such as "attempt whole: its number"."""
    found = []
    for text in fields:
        head, _, told = text.partition(": ")
        field, kind = head.split()
        found.append(FieldType(field, Kind(kind.rstrip("?")), told, not kind.endswith("?")))
    return EventType(name, meaning, tuple(found))


_STEP = "step text: the step of the plan, such as B.3.4"
_TARGET = "target text: where: a host (site/host), a site, or system"
_ATTEMPT = "attempt whole: number of the attempt at this case on this target, from 1"
_ATTEMPT_OPEN = "attempt whole?: number of the attempt that it belongs to"
_BY = "by text: the person's name"
_BOX = (_STEP, _TARGET)
_CLOCKS = (
    "wall_ns whole?: this machine's wall clock",
    "mono_ns whole?: its monotonic clock",
    "boot text?: since which start of it",
)

RUN_TYPES = (
    _type(
        "run.start",
        "The run begins; with everything that its reports need.",
        "schema whole?: number of this schema; absent in the oldest journals",
        "anchored flag?: its journal.head is written with it, and must be there",
        "run text: name of the run, as that of its folder",
        "title text?: title of the plan",
        "mode text?: lab, site or rehearsal",
        "watermark text?: what stands on each page of a run that is no evidence",
        "tool_version text?: version of the program",
        "plan object: id, version, title and sha256 of the plan",
        "site object: name, file, sha256 and settings of the site file",
        "people object?: tester, witness and customer, by name",
        "selected texts?: steps that were chosen; null: all",
        "forms objects: the forms, each with its rows (box, step, target, mode, not_applicable, …)",
    ),
    _type(
        "run.end",
        "The run, or one sitting of it, ends in order.",
        "exit_code whole?: 0 all PASS, 1 a FAIL, 3 not everything could be judged",
        "reason text?: why it ended",
    ),
    _type(
        "run.resumed",
        "Another process goes on with the run.",
        "pid whole?: the process",
        "reason text?: why, in the tester's words",
        "site_sha256 text?: hash of the site file, which is that of run.start",
        "plan_sha256 text?: hash of the plan, likewise",
        "retest texts?: what is tried again",
        "tester text?: who goes on",
    ),
    _type("run.handover", "Another tester takes over.", "from text: who", "to text: to whom"),
    _type(
        "run.aborted",
        "The run was broken off, and its debts paid as far as could be seen.",
        "safe flag: no debt is left open",
        "left texts?: what is still to be undone",
        "reason text?: why, in the tester's words",
    ),
    _type(
        "exercise.start",
        "Calls and outages at one SBC begin, which several cases are judged by.",
        "exercise text: its name",
        "sbc text: site/sbc",
    ),
    _type(
        "mark",
        "Something was done on purpose, at a time that packets are compared with.",
        "sbc text: site/sbc",
        "mark_ns whole: when, wall time in nanoseconds",
        "kind text: what",
        "names texts: to which servers or rules",
    ),
)
ATTEMPT_TYPES = (
    _type(
        "attempt.start",
        "An attempt at one case on one target begins.",
        *_BOX,
        _ATTEMPT,
        "reason text?: why a case that has a verdict is tried again",
    ),
    _type(
        "attempt.end",
        "The attempt is over; nothing more belongs to it but what people say.",
        *_BOX,
        "interrupted flag?: it was cut off, and earned no verdict",
        "parked flag?: a person could not do it now; it earned no verdict",
        "words text?: why",
    ),
    _type(
        "step",
        "What was done, or a note for people.",
        *_BOX,
        "text text: in words",
        "mark_ns whole?: when it was done, if it was written down later",
    ),
    _type(
        "attachment",
        "A file kept as evidence.",
        *_BOX,
        "path text: below the run's folder",
        "sha256 text: hash of its content",
        "bytes whole: its size",
        "media_type text?: what it is",
        "captured_by text?: the program that recorded it",
        "packets whole?: how many it holds",
        "dropped whole?: how many were lost; null: not known",
    ),
    _type(
        "measurement",
        "A number with its limits.",
        *_BOX,
        "name text: what was measured",
        "value number?: null: it was not taken",
        "unit text?: its unit",
        "low number?: the lowest that is good",
        "high number?: the highest that is good",
        "frames wholes?: packets that show it, from 1",
        "outcome outcome?: what the limits make of it",
    ),
    _type(
        "finding",
        "One rule applied to what was recorded.",
        *_BOX,
        "rule text: its id",
        "outcome outcome: what it found",
        "expected text?: in words",
        "observed text?: in words",
        "unit text?: of both",
        "frames wholes?: packets that show it, from 1",
        "needed whole?: calls that are still needed to judge it",
    ),
    _type(
        "strip",
        "The queries of an exercise, as a chart.",
        *_BOX,
        "servers texts: the lines",
        "dots rows?: time in ms, line, kind, frame",
        "spans rows?: line, start and end in ms, kind",
        "marks rows?: time in ms, text",
        "calls rows?: time in ms, what became of the call",
        "dropped_dots whole?: how many dots were left out",
    ),
    _type(
        "verdict.proposed",
        "The verdict that the checks earned.",
        *_BOX,
        "outcome outcome: the word",
        "words text: why",
    ),
)
PEOPLE_TYPES = (
    _type(
        "verdict.declared",
        "The verdict that a person gives; never better than the one that was earned.",
        *_BOX,
        _ATTEMPT_OPEN,
        "outcome outcome: the word",
        "words text?: why; needed unless PASS confirms",
        _BY,
    ),
    _type("comment", "What a person says of a box.", *_BOX, "text text: in words", "by text?: who"),
    _type(
        "caveat",
        "A reservation about a PASS or an OTHER, which the customer must accept.",
        *_BOX,
        _ATTEMPT_OPEN,
        "words text: the reservation",
        "severity text?: minor or major",
        _BY,
    ),
    _type(
        "acceptance",
        "The customer accepts boxes as they are, with their caveats.",
        "boxes rows: step, target, attempt",
        _BY,
        "note text?: in the customer's words",
        "path text?: the customer's e-mail, below the run's folder",
        "sha256 text?: hash of that file",
        "bytes whole?: its size",
    ),
    _type(
        "witness",
        "The verdict of a witness, beside that of the tester.",
        *_BOX,
        _ATTEMPT_OPEN,
        _BY,
        "says said: the word",
        "words text?: why",
    ),
    _type(
        "override",
        "A person goes on against a warning.",
        "what text: the warning",
        "words text: why",
        _BY,
        "step text?: of the box that it is about",
        "target text?: of the box that it is about",
    ),
    _type(
        "prompt.asked",
        "A person is asked.",
        "prompt text: its id",
        "step text?: of the box that it is about",
        "target text?: of the box that it is about",
        _ATTEMPT_OPEN,
        "kind text?: what is asked for",
        "does text?: what to do",
        "expects text?: what should be seen or heard",
        "site text?: name of the site",
        "host text?: name of the host",
        "keys objects?: the answers that can be given: key, label, needs_words",
        "numbers texts?: to be dialled",
    ),
    _type(
        "prompt.answered",
        "The answer that came first.",
        "prompt text: its id",
        "key text: p, f, o, n, r, or that of a sensor",
        "words text?: in words",
        "who text?: who answered",
        "where text?: at which terminal, socket, file or sensor",
        "step text?: of the box that it is about",
        "target text?: of the box that it is about",
        _ATTEMPT_OPEN,
        "took_ns whole?: how long the answer took",
        "seen objects?: what a sensor saw: number, at_ns, server, rule, by",
    ),
    _type(
        "disagreement",
        "What a person says and what was recorded are at odds.",
        *_BOX,
        _ATTEMPT_OPEN,
        "said text: what the person said",
        "packets text: what was recorded",
        "sense text?: heard, seen or dialled",
        "who text?: the person's name",
        "where text?: at which terminal, socket or file",
    ),
)
KEEPING_TYPES = (
    _type(
        "sample",
        "One look at a host while a hold lasts.",
        "target text: site/host",
        "values object?: what was seen",
    ),
    _type(
        "hold.begun",
        "A wait on one host begins; once more with the same id: it begins anew.",
        "hold text: its id",
        "target text: site/host",
        "length_ns whole: how long",
        "step text?: the case that needs it",
        "wait text?: its name in the plan",
        "period_ns whole?: time between two beats",
        "since_ns whole?: when it began, on the shared clock (0: the first hold)",
        "due_ns whole?: wall time of its end",
        "due_mono_ns whole?: monotonic time of its end",
        "restarts whole?: how often it began anew",
        "why text?: begun, or restart",
        *_CLOCKS,
    ),
    _type(
        "hold.beat",
        "The waits of all hosts go on, and were watched.",
        "since_ns whole?: when, on the shared clock of all waits",
        "period_ns whole?: time between two beats",
        "seen object?: hosts seen since the beat before, each with when (shared clock)",
        "running whole?: hosts whose processes run",
        "restarts whole?: of processes, so far",
        "alarms whole?: in logs, so far",
        "stepped_ns number?: by how much this machine's clock was set",
        *_CLOCKS,
    ),
    _type(
        "hold.gap",
        "A host was not watched for a while; once more with the same id: what was decided.",
        "gap text?: its id",
        "target text?: site/host",
        "from_ns whole?: the last look before, on the shared clock",
        "to_ns whole?: the first look after, likewise",
        "gap_ns whole?: how long",
        "why text?: what is known of it",
        "decision text?: count or restart",
        "words text?: why it was decided so",
        "who text?: who decided",
        "where text?: at which terminal, socket or file",
        *_CLOCKS,
    ),
    _type(
        "hold.ended",
        "The wait is over.",
        "hold text: its id",
        "target text?: site/host",
        "step text?: the case that needed it",
        "since_ns whole?: when it ended, on the shared clock",
        "how text?: over or abandoned",
        "words text?: why",
    ),
    _type(
        "debt.opened",
        "Something will be done that has to be undone.",
        "debt text: its id",
        "kind text: service-stopped, rule-installed, capture-started, process-started, …",
        "target text: where",
        "what text: what exactly",
        "how_to_pay text: how it is undone",
        "machine text?: the only one that can see whether it is undone",
    ),
    _type(
        "debt.paid",
        "It was seen to be undone.",
        "debt text: its id",
        "observed text: what was seen",
    ),
    _type(
        "restore.proved",
        "After a break everything was seen to be as before.",
        "debts texts?: ids of the debts that were open",
        "observed texts?: what was seen",
    ),
    _type(
        "facts",
        "What a host was like at that time.",
        "target text: site/host",
        "values object: name (version.…, config.…, process.…) to text",
        "clock_offset_ms number?: by how much its clock differs from this machine's",
        "when text?: start or end of an attempt",
        "step text?: the case of that attempt",
        _ATTEMPT_OPEN,
    ),
    _type(
        "journal.repaired",
        "The last line had been torn, and was taken off.",
        "file text: where its bytes are kept, beside the journal",
        "bytes whole: how many",
        "sha256 text: hash of them",
    ),
)
TYPES = {each.name: each for each in (*RUN_TYPES, *ATTEMPT_TYPES, *PEOPLE_TYPES, *KEEPING_TYPES)}
