"""What can be wrong with a SIP message, each with its name and clause.

Laws: an observer reads what a server would refuse, and says why the server would; only where it
cannot be known which message it is does the defect stand in place of the message.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a defect means for who reads the message."""

    FATAL = "no message"  # it cannot be said which call it belongs to, or what it is
    REFUSED = "refused"  # read here; a server would refuse it
    NOTED = "noted"  # read by a server too


class Defect(StrEnum):
    """A way in which a message is not as it should be."""

    START_LINE = "start-line"
    VERSION = "version"
    STATUS = "status"
    CALL_ID = "call-id"
    CSEQ = "cseq"
    CONFLICT = "conflict"
    TOO_LONG = "too-long"
    UNFINISHED = "unfinished"
    JUNK = "junk"
    MISSING_HEADER = "missing-header"
    DOUBLED_HEADER = "doubled-header"
    ADDRESS = "address"
    QUOTES = "quotes"
    CSEQ_RANGE = "cseq-range"
    CSEQ_METHOD = "cseq-method"
    LENGTH_LONG = "length-long"
    LENGTH = "length"
    HEADER_LINE = "header-line"
    MANY_HEADERS = "many-headers"
    NO_EMPTY_LINE = "no-empty-line"
    BARE_CR = "bare-cr"
    START_LINE_SPACE = "start-line-space"
    REQUEST_URI = "request-uri"
    INCOMPLETE = "incomplete"
    LINE_END = "line-end"
    METHOD_CASE = "method-case"
    VERSION_CASE = "version-case"
    NOT_UTF8 = "not-utf8"
    TRAILING_BYTES = "trailing-bytes"
    DATE = "date"
    NUMBER = "number"
    URI_BRACKETS = "uri-brackets"
    URI_SPACE = "uri-space"
    URI_HEADERS = "uri-headers"
    DISPLAY_NAME = "display-name"
    EMPTY_PARAMETER = "empty-parameter"
    BRANCH = "branch"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a defect is, and where it is ruled out."""

    severity: Severity
    clause: str
    meaning: str


_FATAL, _REFUSED, _NOTED = Severity.FATAL, Severity.REFUSED, Severity.NOTED
RULES = {
    Defect.START_LINE: Rule(_FATAL, "RFC 3261 7", "no request line and no status line"),
    Defect.VERSION: Rule(_FATAL, "RFC 3261 21.5.6", "another version than SIP/2.0"),
    Defect.STATUS: Rule(_FATAL, "RFC 3261 7.2", "a status code that is not 100 to 699"),
    Defect.CALL_ID: Rule(_FATAL, "RFC 3261 8.1.1.4", "no Call-ID"),
    Defect.CSEQ: Rule(_FATAL, "RFC 3261 8.1.1.5", "no CSeq with a number and a method"),
    Defect.CONFLICT: Rule(_FATAL, "RFC 3261 7.3.1", "a header that stands once is there twice"),
    Defect.TOO_LONG: Rule(_FATAL, "RFC 3261 18.1.1", "longer than a UDP datagram can be"),
    Defect.UNFINISHED: Rule(_FATAL, "RFC 3261 18.3", "the TCP stream ends inside the message"),
    Defect.JUNK: Rule(_FATAL, "RFC 3261 18.3", "bytes of a TCP stream that are no message"),
    Defect.MISSING_HEADER: Rule(_REFUSED, "RFC 3261 8.1.1", "no From, To or Via"),
    Defect.DOUBLED_HEADER: Rule(_REFUSED, "RFC 3261 7.3.1", "a header twice, both alike"),
    Defect.ADDRESS: Rule(_REFUSED, "RFC 3261 20.10", "From or To holds no address"),
    Defect.QUOTES: Rule(_REFUSED, "RFC 3261 25.1", "a quoted string is never closed"),
    Defect.CSEQ_RANGE: Rule(_REFUSED, "RFC 3261 8.1.1.5", "the number is 2**31 or more"),
    Defect.CSEQ_METHOD: Rule(_REFUSED, "RFC 3261 8.1.1.5", "CSeq names another method"),
    Defect.LENGTH_LONG: Rule(_REFUSED, "RFC 3261 18.3", "Content-Length is more than follows"),
    Defect.LENGTH: Rule(_REFUSED, "RFC 3261 20.14", "Content-Length is no single number"),
    Defect.HEADER_LINE: Rule(_REFUSED, "RFC 3261 7.3.1", "a line without a header name"),
    Defect.MANY_HEADERS: Rule(_REFUSED, "RFC 3261 21.5.7", "more than 200 header lines"),
    Defect.NO_EMPTY_LINE: Rule(_REFUSED, "RFC 3261 7", "no empty line after the headers"),
    Defect.BARE_CR: Rule(_REFUSED, "RFC 3261 25.1", "a CR without LF in or after a line"),
    Defect.START_LINE_SPACE: Rule(_REFUSED, "RFC 3261 7.1", "other spaces than one between parts"),
    Defect.REQUEST_URI: Rule(_REFUSED, "RFC 3261 7.1", "spaces or <> around or in the URI"),
    Defect.INCOMPLETE: Rule(_REFUSED, "", "not captured whole: what is there was read"),
    Defect.LINE_END: Rule(_NOTED, "RFC 3261 7", "lines end in LF, not in CRLF"),
    Defect.METHOD_CASE: Rule(_NOTED, "RFC 3261 7.1", "a known method in other letters is another"),
    Defect.VERSION_CASE: Rule(_NOTED, "RFC 3261 7.1", "SIP/2.0 in small letters"),
    Defect.NOT_UTF8: Rule(_NOTED, "RFC 3261 7", "headers that are no UTF-8"),
    Defect.TRAILING_BYTES: Rule(_NOTED, "RFC 3261 18.3", "bytes of a datagram after the message"),
    Defect.DATE: Rule(_REFUSED, "RFC 3261 20.17", "a Date that is not in GMT"),
    Defect.NUMBER: Rule(_REFUSED, "RFC 3261 25.1", "a number out of its range"),
    Defect.URI_BRACKETS: Rule(_REFUSED, "RFC 3261 20.10", "a URI with , ; or ? without <>"),
    Defect.URI_SPACE: Rule(_REFUSED, "RFC 3261 25.1", "space inside <>"),
    Defect.URI_HEADERS: Rule(_REFUSED, "RFC 3261 19.1.1", "a Request-URI with header fields"),
    Defect.DISPLAY_NAME: Rule(_REFUSED, "RFC 3261 25.1", "a name that needs quotes has none"),
    Defect.EMPTY_PARAMETER: Rule(_REFUSED, "RFC 3261 25.1", "nothing between separators"),
    Defect.BRANCH: Rule(_REFUSED, "RFC 3261 8.1.1.7", "a branch with nothing after z9hG4bK"),
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """A defect of one message, where it is, and in words."""

    defect: Defect
    why: str
    offset_bytes: int = 0

    @property
    def severity(self) -> Severity:
        """Return what it means."""
        return RULES[self.defect].severity
