"""Every capture in pcaps/ is read by tshark as a person expects, and as our analyser reads it.

Where that is not so, `pcaps/DIFFERENCES.toml` says which clause of an RFC makes it so; a difference
that is not listed fails, and so does one that is listed and no longer there.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.lab.peers import need

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
CASES = sorted(path.parent for path in (ROOT / "pcaps").glob("*/README.md"))


@dataclass(frozen=True, slots=True)
class Message:
    """One SIP message, as tshark reads it."""

    frame: int
    method: str  # "" in a response
    call_id: str
    from_user: str
    to_user: str
    request_user: str
    to_tag: str


def tshark(path: Path, *options: str) -> str:
    """Return what tshark says about the capture at *path*."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), *options]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout


def messages(path: Path) -> list[Message]:
    """Return every SIP message; those of one TCP segment one by one."""
    found = []
    for packet in ET.fromstring(tshark(path, "-T", "pdml", "-Y", "sip")):  # noqa: S314 - tshark's
        frame = int(values(packet, "frame.number")[0])
        for sip in packet.findall("proto[@name='sip']"):
            first = {key: (values(sip, f"sip.{key}") or [""])[0] for key in KEYS}
            found.append(Message(frame, *(first[key] for key in KEYS)))
    return found


KEYS = ("Method", "Call-ID", "from.user", "to.user", "r-uri.user", "to.tag")


def values(node: ET.Element, name: str) -> list[str]:
    return [field.get("show", "") for field in node.iter("field") if field.get("name") == name]
