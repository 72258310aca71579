"""What a packet of a script can be wrapped in: one table a layer.

A list of layers is written from the outside in, as a dissector shows it. Each takes Ethernet frames
and gives Ethernet frames; a tunnel's outer frame has the MAC addresses of the one inside.
"""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from probetest.script.fields import U8, U16, U24, U32, Address, PartBytes, Port, Row, Ttl, listed

SERVICE_TAG = 0x88A8  # IEEE 802.1ad: the outer of two tags


class VlanTag(Row):
    """A tag of IEEE 802.1Q, or of 802.1ad with `tag_type`."""

    kind: Literal["vlan"]
    id: int = Field(ge=0, le=4095)
    priority: int = Field(default=0, ge=0, le=7)
    tag_type: U16 = 0x8100


class Mpls(Row):
    """A stack of labels (RFC 3032), over the IP packet or over the whole frame (RFC 4448)."""

    kind: Literal["mpls"]
    labels: Annotated[
        tuple[Annotated[int, Field(ge=16, lt=2**20)], ...], BeforeValidator(listed)
    ] = Field(min_length=1, max_length=6)
    carries: Literal["ip", "ethernet"] = "ip"
    control_word: bool = False  # of a pseudowire
    ttl: Ttl = 64

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.control_word and self.carries == "ip":
            raise ValueError('control_word belongs to carries = "ethernet"')
        return self


class Pppoe(Row):
    """A PPPoE session (RFC 2516)."""

    kind: Literal["pppoe"]
    session: U16 = 1


class Padding(Row):
    """Zeros after the packet, up to the least size of an Ethernet frame."""

    kind: Literal["padding"]
    to_bytes: int = Field(default=60, ge=15, le=1500)


class Options(Row):
    """Options: four NOPs in an IPv4 header, two extension headers behind that of IPv6."""

    kind: Literal["options"]


class Fragments(Row):
    """The IP packet in fragments (RFC 791 section 3.2, RFC 8200 section 4.5)."""

    kind: Literal["fragments"]
    part_bytes: PartBytes  # most that one carries
    backwards: bool = False  # the last one first


class Tunnel(Row):
    """What tunnels over IP have in common."""

    source: Address = Field(default="203.0.113.1", alias="from")
    destination: Address = Field(default="203.0.113.2", alias="to")
    ttl: Ttl = 64

    @model_validator(mode="after")
    def _same_version(self) -> Self:
        if (":" in self.source) != (":" in self.destination):
            raise ValueError(f"IPv4 to IPv6: {self.source} to {self.destination}")
        return self


class Gre(Tunnel):
    """GRE (RFC 2784) with the fields of RFC 2890 that are asked for."""

    kind: Literal["gre"]
    carries: Literal["ip", "ethernet"] = "ip"
    checksum: bool = False
    key: U32 | None = None
    sequence: bool = False


class Erspan(Tunnel):
    """A mirror session of a switch over GRE (draft-foschiano-erspan)."""

    kind: Literal["erspan"]
    type: int = Field(ge=1, le=3)
    session: int = Field(default=1, ge=0, lt=2**10)
    vlan: int = Field(default=0, ge=0, le=4095)
    platform: bool = False  # type 3: eight more bytes


class Vxlan(Tunnel):
    """VXLAN (RFC 7348)."""

    kind: Literal["vxlan"]
    vni: U24 = 1
    from_port: Port = 50_000
    to_port: Port = 4789


class Geneve(Tunnel):
    """Geneve (RFC 8926); `options` is the hexadecimal text of whole options."""

    kind: Literal["geneve"]
    vni: U24 = 1
    carries: Literal["ip", "ethernet"] = "ethernet"
    options: str = Field(default="", pattern=r"^([0-9a-f]{8}){0,63}$")
    from_port: Port = 50_000
    to_port: Port = 6081


class IpInIp(Tunnel):
    """IP within IP (RFC 2003, RFC 2473, RFC 4213), whichever versions the two have."""

    kind: Literal["ipip"]


class GtpU(Tunnel):
    """GTP-U (3GPP TS 29.281); `flow` adds the container of a 5G session (TS 38.415)."""

    kind: Literal["gtpu"]
    teid: U32 = 1
    sequence: bool = False
    flow: int | None = Field(default=None, ge=0, lt=2**6)
    from_port: Port = 2152
    to_port: Port = 2152


class Hep(Tunnel):
    """HEP version 3: addresses, time and payload of a UDP datagram, as a capture agent sends it."""

    kind: Literal["hep3"]
    agent: U32 = 1
    protocol: U8 = 1  # 1: SIP
    from_port: Port = 50_000
    to_port: Port = 9060


TunnelLayer = Gre | Erspan | Vxlan | Geneve | IpInIp | GtpU | Hep
PlainLayer = VlanTag | Mpls | Pppoe | Padding | Options | Fragments
Layer = Annotated[PlainLayer | TunnelLayer, Field(discriminator="kind")]
Layers = Annotated[tuple[Layer, ...], BeforeValidator(listed)]
