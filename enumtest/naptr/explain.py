"""One ENUM question explained: what was asked, what came back, what it orders, and why.

Pure: the asking itself is `enumtest.commands.ask`; regular expressions run in the engine that is
passed in.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from enumtest.dns.message import Answer, Query, parse_answer, parse_query
from enumtest.dns.source_uri import SourceOption, decode
from enumtest.naptr.search import Found, Step, resolve
from enumtest.sbc.decision import DEFAULT_RULES, Decision, DecisionRule, decided_by
from harness.errors import InputError
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex import RegexEngine

NS_PER_MS = 1_000_000


class Outcome(StrEnum):
    """How the asking ended."""

    ANSWERED = "answered"
    SILENT = "no answer in time"
    REFUSED = "port closed"  # an ICMP port unreachable, or a reset over TCP


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `payload` is the answer whole, without the length octets of TCP."""

    outcome: Outcome
    payload: bytes = b""
    tcp: bool = False
    truncated: bytes = b""  # the answer over UDP that sent us to TCP
    ignored: tuple[bytes, ...] = ()  # from the server, but no answer to this question
    elapsed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Each step from the number to the decision."""

    server: Endpoint
    query: Query
    query_bytes: int
    source: SourceOption | None
    reply: Reply
    answer: Answer | None
    steps: tuple[Step, ...]
    uri: str | None
    decision: Decision

    def event(self) -> dict[str, object]:
        """Return the explanation as JSON values."""
        reply, answer = self.reply, self.answer
        told: dict[str, object] = {
            "server": str(self.server),
            "qname": self.query.qname,
            "id": self.query.id,
            "source": None if self.source is None else asdict(self.source),
            "outcome": reply.outcome,
            "transport": "tcp" if reply.tcp else "udp",
            "elapsed_ms": reply.elapsed_ns / NS_PER_MS,
            "ignored": len(reply.ignored),
            "decision": self.decision,
            "uri": self.uri,
        }
        if answer is not None:
            told |= {
                "rcode": answer.rcode,
                "authoritative": answer.authoritative,
                "udp_truncated": bool(reply.truncated),
                "ttl_s": [record.ttl_s for record in answer.records],
                "records": [asdict(step.record) | {"verdict": step.verdict} for step in self.steps],
            }
        return told

    def lines(self) -> list[str]:
        """Return the explanation as text, a step a line."""
        query, source = self.query, self.source
        carried = ""
        if source is not None:
            carried = f", source {source.uri} (option {source.code}, {source.framing})"
        return [
            f"question  {query.qname} {query.qtype}",
            f"sent      {self.query_bytes} bytes to {self.server}, id {query.id}{carried}",
            *self._answer_lines(),
        ]

    def end_lines(self) -> list[str]:
        """Return the end: the URI and what it orders."""
        return [f"uri       {self.uri or 'none'}", f"decision  {self.decision}"]

    def _answer_lines(self) -> list[str]:
        """Return what came back, record by record."""
        reply, answer = self.reply, self.answer
        lines = [f"ignored   {len(item)} bytes that answer another question, or none"
                 for item in reply.ignored]  # fmt: skip
        if reply.truncated:
            lines.append("truncated over UDP: asked again over TCP")
        transport = "TCP" if reply.tcp else "UDP"
        took = f"{transport}, {reply.elapsed_ns / NS_PER_MS:.1f} ms"
        if answer is None:
            return [*lines, f"answer    {reply.outcome} ({took})"]
        authority = "authoritative" if answer.authoritative else "not authoritative"
        size = f"{len(reply.payload)} bytes"
        lines.append(f"answer    {answer.rcode}, {authority}, {size} ({took})")
        if answer.malformed:
            lines.append(f"malformed records at bytes {', '.join(map(str, answer.malformed))}")
        ttls_s = {record.naptr: record.ttl_s for record in answer.records}
        for step in self.steps:
            record = step.record
            content = f'{record.order} {record.preference} "{record.flags}" "{record.services}"'
            where = f'"{record.regexp}" {record.replacement} ttl {ttls_s[record]} s'
            lines += [f"record    {content} {where}", f"          {step.verdict}"]
        return lines


def explain(  # noqa: PLR0913 - a question, its answer, and what both are read with
    server: Endpoint,
    sent: bytes,
    reply: Reply,
    engine: RegexEngine,
    services: tuple[str, ...],
    *,
    number: PhoneNumber | None = None,
    rules: tuple[DecisionRule, ...] = DEFAULT_RULES,
) -> Explanation:
    """Return what the query *sent* and its *reply* mean to a client that accepts *services*.

    *number* is what was called, when the name asked for is not its own but one that it led to;
    *rules* say what a URI orders.

    Raises:
        InputError: *sent* is no ENUM query.
    """
    query = parse_query(sent)
    source = None if query.edns is None else decode(query.edns.options)
    parts = (server, query, len(sent), source, reply)
    if reply.outcome is not Outcome.ANSWERED:
        return Explanation(*parts, None, (), None, Decision.NO_SERVER)
    answer, called = parse_answer(reply.payload), number or number_in(query)
    resolution = resolve(answer.naptr, str(called), engine, services)
    decision, _ = decided_by(resolution, called, rules)
    return Explanation(*parts, answer, resolution.steps, resolution.uri, decision)


def followed(
    explanations: Sequence[Explanation],
    found: Found,
    called: PhoneNumber,
    rules: tuple[DecisionRule, ...] = DEFAULT_RULES,
) -> tuple[Explanation, ...]:
    """Return *explanations*, one a domain that was asked, with the steps and the end of *found*.

    The first of them tells how the whole search ended.
    """
    decision, _ = decided_by(found, called, rules)
    if explanations[0].answer is None:
        decision = Decision.NO_SERVER
    told = [replace(one, steps=asked.steps)
            for one, asked in zip(explanations, found.asked, strict=True)]  # fmt: skip
    return (replace(told[0], uri=found.uri, decision=decision), *told[1:])


def number_in(query: Query) -> PhoneNumber:
    """Return the number that *query* asks for, whatever the apex.

    Raises:
        InputError: no label of the name is a digit.
    """
    digits = []
    for label in query.labels:
        if len(label) != 1 or not label.isdigit():
            break
        digits.append(label.decode("ascii"))
    if not digits:
        raise InputError("no number in this name", field="qname", value=query.qname)
    return PhoneNumber("".join(reversed(digits)))
