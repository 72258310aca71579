"""What each table of the dataset holds: the columns of the Parquet files, in their order.

Laws: a column never changes its meaning; when one is added, changed or dropped, `SCHEMA` is raised,
and docs/dataset.md, which is made of this, changes with it.
"""

from dataclasses import dataclass
from enum import StrEnum

SCHEMA = 1


class Kind(StrEnum):
    """Of a column, as engines call it."""

    INT = "int64"
    FLOAT = "float64"
    TEXT = "string"
    BOOL = "bool"
    INTS = "list of int64"


@dataclass(frozen=True, slots=True)
class Field:
    """One column."""

    name: str  # the same in the record
    kind: Kind
    unit: str  # "" of what has none
    words: str
    null: str = ""  # what a missing value means; "": there is none


CALLS = (
    Field("at_ns", Kind.INT, "ns", "wall time of the INVITE"),
    Field("frame", Kind.INT, "", "number of the frame with the INVITE"),
    Field("call_id", Kind.TEXT, "", "of the first leg"),
    Field("source", Kind.TEXT, "", "calling party in normalised form"),
    Field(
        "source_rule", Kind.TEXT, "", "the header that named the source, and the rule that read it"
    ),
    Field("destination", Kind.TEXT, "", "dialled party in normalised form"),
    Field("destination_rule", Kind.TEXT, "", "the same of the destination"),
    Field("direction", Kind.TEXT, "", "inbound, outbound, internal or unknown"),
    Field("direction_rule", Kind.TEXT, "", "how that was decided"),
    Field(
        "outcome",
        Kind.TEXT,
        "",
        "allowed, redirected, terminated, answered, refused, cancelled or none",
    ),
    Field("target", Kind.TEXT, "", 'where it was sent, in normalised form; "" when nowhere'),
    Field("status", Kind.INT, "", "final response to the caller; 0 when none was seen"),
    Field("frames", Kind.INTS, "", "the INVITE, the onward INVITE, the final response"),
    Field("device", Kind.TEXT, "", "which saw it"),
    Field("client", Kind.TEXT, "", "address that the INVITE came from"),
    Field("answered_ns", Kind.INT, "ns", "wall time of the first 2xx", "never answered"),
    Field(
        "duration_ns", Kind.INT, "ns", "from that answer to the BYE", "no answer, or no end seen"
    ),
    Field("final_ns", Kind.INT, "ns", "wall time of the final response", "none was seen"),
    Field(
        "ringing_ns", Kind.INT, "ns", "wall time of the first 18x to the caller", "none was seen"
    ),
    Field(
        "ended_ns",
        Kind.INT,
        "ns",
        "wall time of the first BYE, or of the response that refused it",
        "not seen",
    ),
    Field(
        "ended_by",
        Kind.TEXT,
        "",
        'caller, callee, cancelled, failed, redirected; "" when it was not seen',
    ),
    Field("legs", Kind.INT, "", "Call-IDs or dialogs it is made of: its own, and the onward ones"),
    Field("hops", Kind.INT, "", "places or branches at which its INVITE was seen, in all legs"),
    Field(
        "joined_by",
        Kind.TEXT,
        "",
        'how the onward legs are known, such as "Session-ID"; "": there are none',
    ),
    Field(
        "far_ends",
        Kind.INT,
        "",
        "parties that rang or answered, by To tag: with more than one it was forked",
    ),
    Field("transfers", Kind.INT, "", "REFER requests seen in it"),
    Field("replaces", Kind.TEXT, "", "value of Replaces: the call takes over another (RFC 3891)"),
    Field(
        "first_dialled",
        Kind.TEXT,
        "",
        'before others sent the call on, in normalised form; "": nobody did',
    ),
    Field("first_dialled_rule", Kind.TEXT, "", "how that was decided"),
    Field(
        "routing_number",
        Kind.TEXT,
        "",
        "beside the number dialled, and dialled by nobody (RFC 4694)",
    ),
)
STREAMS = (
    Field("at_ns", Kind.INT, "ns", "wall time of its first packet"),
    Field("end_ns", Kind.INT, "ns", "of its last"),
    Field("device", Kind.TEXT, "", "which saw it"),
    Field("source", Kind.TEXT, "", "address:port"),
    Field("destination", Kind.TEXT, "", "address:port"),
    Field("ssrc", Kind.INT, "", "of RFC 3550"),
    Field("payload_type", Kind.INT, "", "of most packets"),
    Field("codec", Kind.TEXT, "", "name, as in SDP"),
    Field("clock_hz", Kind.INT, "Hz", "of its timestamps"),
    Field("clock_rule", Kind.TEXT, "", "how the clock is known"),
    Field(
        "found_by",
        Kind.TEXT,
        "",
        "how it is known to be RTP: by SDP, or since it counts up (docs/media.md)",
    ),
    Field("call_id", Kind.TEXT, "", 'of the SDP that announced it, else ""'),
    Field("packets", Kind.INT, "", "without the tap's own copies"),
    Field("copies", Kind.INT, "", "more of them that the tap gave twice"),
    Field("expected", Kind.INT, "", "by sequence numbers"),
    Field("lost", Kind.INT, "", "expected less received (RFC 3550 A.3)"),
    Field("duplicates", Kind.INT, "", "sent twice, not mirrored twice"),
    Field("reordered", Kind.INT, "", "packets that came after a later one"),
    Field("restarts", Kind.INT, "", "of the sequence numbers"),
    Field("odd", Kind.INT, "", "packets out of all order, left out of the figures before"),
    Field(
        "jitter_ms",
        Kind.FLOAT,
        "ms",
        "at the end (RFC 3550 A.8), without events and comfort noise",
        "not known",
    ),
    Field("jitter_mean_ms", Kind.FLOAT, "ms", "of all packets", "not known"),
    Field("jitter_max_ms", Kind.FLOAT, "ms", "the highest", "not known"),
    Field("gap_max_ms", Kind.FLOAT, "ms", "longest time between two packets"),
    Field("digits", Kind.TEXT, "", "keys pressed (RFC 4733)"),
    Field("frame", Kind.INT, "", "of its first packet"),
    Field("missing", Kind.INT, "", "numbers that never came: lost and duplicates"),
    Field("loss_runs", Kind.INTS, "", "missing in a row: 1, 2, 3-5, 6-10, more"),
    Field("payload_bytes", Kind.INT, "bytes", "of RTP, without headers"),
    Field("markers", Kind.INT, "", "packets with the marker bit"),
    Field(
        "packet_ms", Kind.FLOAT, "ms", "the time of sound in one packet, by timestamps", "not known"
    ),
    Field("type_changes", Kind.INT, "", "of the payload type, events and comfort noise left out"),
    Field("clock_jumps", Kind.INT, "", "timestamps that leave the wall time by 5 s or more"),
    Field("clock_seen_hz", Kind.FLOAT, "Hz", "timestamps a second of wall time", "not known"),
    Field(
        "skew_ppm",
        Kind.FLOAT,
        "ppm",
        "the sender's clock against the tap's; above 0: it is fast",
        "not known",
    ),
    Field("earlier_sources", Kind.INT, "", "SSRCs before this one, between the same ports"),
    Field(
        "both_ways", Kind.BOOL, "", "the other direction has the same SSRC (RFC 3550 section 8.2)"
    ),
    Field("r_factor", Kind.FLOAT, "", "G.107", "not known for this codec"),
    Field("mos", Kind.FLOAT, "", "of G.107, with what mos_rule says", "not known"),
    Field("mos_rule", Kind.TEXT, "", "what it assumes, or why there is none"),
    Field("far_lost", Kind.INT, "", "what the receiver reports of this stream (RTCP)", "not known"),
    Field(
        "far_jitter_ms",
        Kind.FLOAT,
        "ms",
        "what the receiver reports of this stream (RTCP)",
        "not known",
    ),
    Field("round_trip_ms", Kind.FLOAT, "ms", "from the tap to the receiver and back", "not known"),
    Field(
        "sender_clock_ppm",
        Kind.FLOAT,
        "ppm",
        "RTP clock against NTP, by its sender reports",
        "not known",
    ),
)
RTCP = (
    Field("at_ns", Kind.INT, "ns", "wall time of its first packet"),
    Field("end_ns", Kind.INT, "ns", "wall time of its last packet"),
    Field("device", Kind.TEXT, "", "which saw it"),
    Field("source", Kind.TEXT, "", "address:port"),
    Field("destination", Kind.TEXT, "", "address:port"),
    Field("ssrc", Kind.INT, "", "who reports"),
    Field("cname", Kind.TEXT, "", 'its name (SDES), "" when none was seen'),
    Field("packets", Kind.INT, "", "RTCP packets of it; several can be in one datagram"),
    Field("sender_reports", Kind.INT, "", "SR packets"),
    Field("receiver_reports", Kind.INT, "", "RR packets"),
    Field("byes", Kind.INT, "", "BYE packets"),
    Field("apps", Kind.INT, "", "APP packets"),
    Field("extended_reports", Kind.INT, "", "XR packets"),
    Field("feedback", Kind.INT, "", "NACK, PLI and the like (RFC 4585)"),
    Field("malformed", Kind.INT, "", "datagrams of it that contradict themselves"),
    Field(
        "about_ssrc",
        Kind.INT,
        "",
        "the stream that it reports on; the figures below are the far end's",
        "not known",
    ),
    Field("far_lost", Kind.INT, "", "in all", "not known"),
    Field("far_fraction_max", Kind.FLOAT, "", "0 to 1, in one report", "not known"),
    Field(
        "far_jitter",
        Kind.INT,
        "",
        "of the last report, in units of the stream's timestamps",
        "not known",
    ),
    Field("far_jitter_max", Kind.INT, "", "the highest, in the same units", "not known"),
    Field(
        "round_trip_ms",
        Kind.FLOAT,
        "ms",
        "from the tap to who reports and back (median)",
        "not known",
    ),
    Field(
        "far_r",
        Kind.INT,
        "",
        "by its own extended report (RFC 3611 section 4.7), as the next",
        "not known",
    ),
    Field("far_mos", Kind.FLOAT, "", "listening quality", "not known"),
    Field("frame", Kind.INT, "", "number of the frame of its first packet"),
)
PORTS = (
    Field("device", Kind.TEXT, "", "which has it"),
    Field("interface", Kind.INT, "", "as numbered in the capture, from 0"),
    Field("frames", Kind.INT, "", "that it delivered"),
    Field("sip_messages", Kind.INT, "", "whole ones and those that do not read"),
    Field("rtp_packets", Kind.INT, "", "copies included"),
    Field("rtcp_packets", Kind.INT, "", "copies included"),
    Field("copies", Kind.INT, "", "frames that another frame has shown already"),
)
WATERFALL = (
    Field("device", Kind.TEXT, "", "which saw it"),
    Field("at_ns", Kind.INT, "ns", "wall time of an INVITE request"),
    Field("step", Kind.TEXT, "", "what it was counted as: a line of the waterfall"),
)
TABLES = {
    "calls": CALLS,
    "streams": STREAMS,
    "rtcp": RTCP,
    "ports": PORTS,
    "waterfall": WATERFALL,
}
