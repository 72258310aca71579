"""What a capture script says: participants, calls, and packets with their exact times.

Laws: a script that exists can be built; nothing is drawn by chance, every number that reaches the
wire stands in the script or is counted up from one; times are whole nanoseconds after `start`.

The fields are described in docs/script.md. Sources: RFC 3550 section 5.1, RFC 4733 section 2.3.
"""

import tomllib
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from harness.errors import InputError
from probetest.script.fields import (
    U16,
    U32,
    Address,
    AtNs,
    Count,
    Hex,
    Indexes,
    Mac,
    PartBytes,
    PayloadType,
    Port,
    Resolution,
    Row,
    Tags,
    Texts,
    Times,
    Ttl,
    listed,
)
from probetest.script.layer import Layers
from probetest.script.rtcp import Parts

DIGITS = "0123456789*#ABCD"  # their place is the event code (RFC 4733 section 3.2)
_CSEQ = r"^[0-9]{1,10} [A-Z]+$"
SNAPLEN_BYTES = 262_144  # the most of a frame that a file keeps
Link = Literal["ethernet", "cooked", "cooked2", "raw", "ipv4", "ipv6", "null", "loop"]


class Interface(Row):
    """A port of the probe, as pcapng describes it."""

    name: str = Field(min_length=1, max_length=80)
    resolution: Resolution = "ns"
    link: Link | None = None  # None: that of the file


class Format(Row):
    """The kind of file, and when its time 0 is."""

    container: Literal["pcap", "pcapng"] = "pcap"
    resolution: Literal["us", "ns"] = "ns"  # of a pcap; a pcapng says it for each interface
    interfaces: Annotated[tuple[Interface, ...], BeforeValidator(listed)] = ()
    start: datetime
    link: Link = "ethernet"
    byte_order: Literal["little", "big"] = "little"
    snaplen: int = Field(default=SNAPLEN_BYTES, ge=14, le=SNAPLEN_BYTES)
    compression: Literal["none", "gzip", "zstd"] = "none"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.start.tzinfo is None or self.start.microsecond:
            raise ValueError("start: whole seconds with their zone, such as 2025-03-04T10:00:00Z")
        if bool(self.interfaces) != (self.container == "pcapng"):
            raise ValueError("interfaces belong to a pcapng, and it needs them")
        return self

    @property
    def start_ns(self) -> int:
        """Return the start in nanoseconds since 1970 (UTC)."""
        return int(self.start.timestamp()) * 10**9

    def resolution_of(self, interface: int) -> str:
        """Return the resolution of the clock of *interface*."""
        return self.interfaces[interface].resolution if self.interfaces else self.resolution

    def link_of(self, interface: int) -> Link:
        """Return what kind of link *interface* is on."""
        own = self.interfaces[interface].link if self.interfaces else None
        return own or self.link


class Participant(Row):
    """A host: where it is, and the port of its SIP."""

    address: Address
    mac: Mac
    port: Port = 5060
    ttl: Ttl = 64


class Call(Row):
    """What all messages of one dialog have in common; From and To as the caller writes them."""

    call_id: str = Field(min_length=1)
    uri: str  # of its first request
    caller: str = Field(alias="from")  # with display name or brackets, without tag
    callee: str = Field(alias="to")
    from_tag: str
    to_tag: str


class Sip(Row):
    """One SIP message."""

    call: str
    request: str = Field(default="", pattern=r"^[A-Z]*$")
    response: str = Field(default="", pattern=r"^([1-6][0-9]{2} .*)?$")
    uri: str = ""  # of a request; "" is that of the call
    cseq: str = Field(pattern=_CSEQ)
    branch: str = Field(pattern=r"^[A-Za-z0-9.]+$")  # without the magic cookie
    by_callee: bool = False  # the request comes, or came, from the called party
    to_tag: bool | None = None  # None: as RFC 3261 wants it outside and at the start of a dialog
    headers: Texts = ()
    body: str = ""  # a name in [bodies]
    content_type: str = "application/sdp"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if bool(self.request) == bool(self.response):
            raise ValueError("either request or response")
        return self

    @property
    def has_to_tag(self) -> bool:
        """Return whether To has its tag: in every answer but 100, and where the script says so."""
        if self.to_tag is not None:
            return self.to_tag
        return bool(self.response) and not self.response.startswith("100")


class Copy(Row):
    """The same frame once more, as a second mirror port gives it."""

    after_ns: AtNs
    interface: int = Field(default=0, ge=0)
    hops: int = Field(default=0, ge=0, le=16)  # routers between: TTL less by it, other MACs


Copies = Annotated[tuple[Copy, ...], BeforeValidator(listed)]


class Sent(Row):
    """What every packet has: when, between whom, and what it is wrapped in."""

    at_ns: AtNs
    source: str = Field(alias="from")
    destination: str = Field(alias="to")
    from_port: Port | None = None  # None: the participant's
    to_port: Port | None = None
    interface: int = Field(default=0, ge=0)
    vlan: Tags = ()  # from the outside in
    wrap: Layers | None = None  # from the outside in; None: that of the whole script
    fragment_bytes: PartBytes | None = None  # of IP payload
    copies: Copies | None = None  # None: those of the whole script
    again_ns: Times = ()  # sent again so long after `at_ns`, as a new IP packet


class SipPacket(Sent, Sip):
    """A SIP message in a UDP datagram."""

    kind: Literal["sip"]


class TcpPacket(Sent):
    """Segments of a TCP connection: its SIP messages, cut where the script says."""

    kind: Literal["tcp"]
    flags: str = Field(default="PA", pattern=r"^[SAPFR]+$")
    messages: Annotated[tuple[Sip, ...], BeforeValidator(listed)] = ()
    cut_bytes: Indexes = ()  # where in the messages a new segment begins
    gap_ns: AtNs = 0  # between segments


class RtpPacket(Sent):
    """A stream of RTP packets of one source."""

    kind: Literal["rtp"]
    ssrc: U32
    payload_type: PayloadType
    sequence: U16  # of the first packet
    timestamp: U32
    count: Count  # sent, with those that get lost
    gap_ns: AtNs
    step: int = Field(ge=0, lt=2**16)  # of the time stamp, from packet to packet
    payload_bytes: int = Field(default=160, ge=0, le=1400)
    marker: bool = True  # on the first packet
    lost: Indexes = ()  # counted from 0: these are never seen
    late: dict[str, int] = Field(default_factory=dict)  # index: nanoseconds later than its turn
    jitter_ns: Times = ()  # added to the times in turn, from its start again at its end

    @model_validator(mode="after")
    def _sound(self) -> Self:
        named = {*map(str, self.lost), *self.late}
        if strangers := sorted(named - set(map(str, range(self.count)))):
            raise ValueError(f"lost, late: there is no packet {strangers[0]}")
        return self


class DtmfPacket(Sent):
    """One digit as RFC 4733 events: updates, then the end three times."""

    kind: Literal["dtmf"]
    digit: Literal[*DIGITS]  # type: ignore[valid-type] # sixteen of them, listed once above
    ssrc: U32
    payload_type: PayloadType = 101
    sequence: U16
    timestamp: U32
    updates: int = Field(ge=1, le=400)  # before the end
    gap_ns: AtNs
    step: int = Field(ge=1, lt=2**16)  # of the duration, from update to update
    volume: int = Field(default=10, ge=0, le=63)


class RtcpPacket(Sent):
    """One compound RTCP packet."""

    kind: Literal["rtcp"]
    parts: Parts


class UdpPacket(Sent):
    """Any other UDP payload, such as a keep-alive."""

    kind: Literal["udp"]
    hex: Hex


class RawPacket(Row):
    """A whole Ethernet frame, byte for byte."""

    kind: Literal["raw"]
    at_ns: AtNs
    interface: int = Field(default=0, ge=0)
    hex: Hex


Packet = Annotated[
    SipPacket | TcpPacket | RtpPacket | DtmfPacket | RtcpPacket | UdpPacket | RawPacket,
    Field(discriminator="kind"),
]


class Script(Row):
    """A whole script; every name in it is known."""

    title: str
    format: Format
    participants: dict[str, Participant]
    calls: dict[str, Call] = Field(default_factory=dict)
    bodies: dict[str, str] = Field(default_factory=dict)
    copies: Copies = ()  # of every packet that does not say otherwise
    wrap: Layers = ()  # likewise
    packets: Annotated[tuple[Packet, ...], BeforeValidator(listed)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for number, packet in enumerate(self.packets):
            if why := next(self._strangers(packet), ""):
                raise ValueError(f"packets.{number}: {why}")
        return self

    def _strangers(self, packet: Packet) -> Iterator[str]:
        """Yield what the packet names and nobody defined."""
        copies = () if isinstance(packet, RawPacket) else packet.copies or self.copies
        most = max(1, len(self.format.interfaces))
        for index in (packet.interface, *(copy.interface for copy in copies)):
            if index >= most:
                yield f"no interface {index}"
        if isinstance(packet, RawPacket):
            return
        for name in (packet.source, packet.destination):
            if name not in self.participants:
                yield f"no participant {name!r}"
        for message in messages_of(packet):
            if message.call not in self.calls:
                yield f"no call {message.call!r}"
            if message.body and message.body not in self.bodies:
                yield f"no body {message.body!r}"


def messages_of(packet: Packet) -> tuple[Sip, ...]:
    """Return the SIP messages of *packet*."""
    match packet:
        case SipPacket():
            return (packet,)
        case TcpPacket():
            return packet.messages
        case RtpPacket() | DtmfPacket() | RtcpPacket() | UdpPacket() | RawPacket():
            return ()


def parse_script(text: str, file: str = "") -> Script:
    """Return the script in the TOML *text* (docs/script.md).

    Raises:
        InputError: not TOML, or wrong fields: all of them in one error.

    >>> parse_script("title = 1")
    Traceback (most recent call last):
    harness.errors.InputError: 4 fields: title = 1: Input should be a valid string; ...
    """
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"not TOML: {error}", file=file) from error
    return parse_values(values, file)


def parse_values(values: dict[str, Any], file: str = "") -> Script:
    """Return the script with these *values*, as they stand in TOML.

    Raises:
        InputError: wrong fields: all of them in one error.
    """
    try:
        return Script.model_validate(values)
    except ValidationError as error:
        raise _input_error(error, file) from error


def _input_error(error: ValidationError, file: str) -> InputError:
    """Return everything that pydantic found wrong in *file* as one error."""
    found = []
    for one in error.errors(include_url=False):
        field = ".".join(str(part) for part in one["loc"])
        value = None if isinstance(one["input"], dict) else one["input"]
        found.append(InputError(one["msg"].removeprefix("Value error, "), field=field, value=value))
    if len(found) == 1:
        return InputError(found[0].why, file=file, field=found[0].field, value=found[0].value)
    return InputError("; ".join(map(str, found)), file=file, field=f"{len(found)} fields")
