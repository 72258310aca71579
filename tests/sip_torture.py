"""The 49 messages of RFC 4475, as bytes, each with how it is to be read."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent / "golden" / "rfc4475" / "messages.toml"
_REPEATED = re.compile(r"<([0-9]+)\*(\w+)>")
_SDP = (
    "v=0\no=mhandley 29739 7272939 IN IP4 {origin}\ns=-\nc=IN IP4 {address}\nt={start} 0\n"
    "m=audio 49217 RTP/AVP 0 12\nm=video 3227 RTP/AVP 31\na=rtpmap:31 LPC\n"
)


@dataclass(frozen=True, slots=True)
class Torture:
    """One message, and what a reader is to make of it."""

    name: str
    section: str
    data: bytes
    read: str  # "": it cannot be read
    defects: tuple[str, ...]
    deep: tuple[str, ...]  # what a look at every header tells beside them


def messages() -> tuple[Torture, ...]:
    """Return them all, in the RFC's order."""
    tables = tomllib.loads(FILE.read_text("utf-8"))
    return tuple(
        Torture(
            name=name,
            section=table["section"],
            data=_data(table),
            read=_written_out(table.get("read", "")),
            defects=tuple(table.get("defects", ())),
            deep=tuple(table.get("deep", ())),
        )
        for name, table in tables.items()
    )


def _data(table: dict[str, str]) -> bytes:
    body = table.get("body", "")
    if "sdp" in table:
        address, _, start = table["sdp"].partition(" ")
        body = _SDP.format(origin=address, address=address, start=start or "0")
    text = _written_out(table["head"]) + "\n" + body
    return text.replace("\n", "\r\n").encode()


def _written_out(text: str) -> str:
    return _REPEATED.sub(lambda found: found[2] * int(found[1]), text)
