"""What the fields of a capture script may hold, and what every table of it has in common.

Laws: a table has no field beyond those named, and nothing is converted: a number in quotes is
refused, not read.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from harness.errors import InputError
from harness.packets.frame import Endpoint

MAX_PACKETS = 100_000  # of one stream: a fixture, not a load
MAX_AT_NS = 86_400 * 10**9  # a day
_RESOLUTION = re.compile(r"ms|us|ns|2\^-([1-9]|[12][0-9]|3[0-2])")


def listed(value: object) -> object:
    """Return a list as the tuple that a frozen value holds; TOML has only lists."""
    return tuple(value) if isinstance(value, list) else value


def _resolution(text: str) -> str:
    if not _RESOLUTION.fullmatch(text):
        raise ValueError("not a resolution; use ms, us, ns, or 2^-1 to 2^-32")
    return text


def _hex(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError as error:
        raise ValueError("not pairs of hexadecimal digits") from error
    return text


def _address(text: str) -> str:
    try:
        return Endpoint(text, 0).address
    except InputError as error:
        raise ValueError(error.why) from error


AtNs = Annotated[int, Field(ge=0, le=MAX_AT_NS)]
Port = Annotated[int, Field(ge=0, le=65_535)]
U8 = Annotated[int, Field(ge=0, lt=2**8)]
U16 = Annotated[int, Field(ge=0, lt=2**16)]
U24 = Annotated[int, Field(ge=0, lt=2**24)]
U32 = Annotated[int, Field(ge=0, lt=2**32)]
Ttl = Annotated[int, Field(ge=1, le=255)]
Vlan = Annotated[int, Field(ge=1, le=4094)]
PayloadType = Annotated[int, Field(ge=0, le=127)]
Count = Annotated[int, Field(ge=1, le=MAX_PACKETS)]
PartBytes = Annotated[int, Field(ge=64, le=65_000)]
Hex = Annotated[str, AfterValidator(_hex)]
Address = Annotated[str, AfterValidator(_address)]
Mac = Annotated[str, Field(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]
Resolution = Annotated[str, AfterValidator(_resolution)]
Texts = Annotated[tuple[str, ...], BeforeValidator(listed)]
Times = Annotated[tuple[AtNs, ...], BeforeValidator(listed)]
Indexes = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(listed)]
Tags = Annotated[tuple[Vlan, ...], BeforeValidator(listed)]


class Row(BaseModel):
    """A table of a script: no field beyond those named, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)
