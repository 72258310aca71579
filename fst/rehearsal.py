"""A site file made fit for a rehearsal: the same sites, forms and cases, all of it simulated here.

Pure. Every address becomes one of 127.9.0.0/16, waits are divided, the SBC's times keep their
proportions. Nothing of it can reach a customer's host, and nothing of it is evidence.
"""

import ipaddress
from typing import Any

from fst.sbc_profile import context_of
from fst.site import SiteFile
from harness.errors import InputError
from harness.packets.frame import Endpoint

SCALE = 60.0  # 10 and 30 minutes become 10 and 30 s
TIMEOUT_MS = 50  # the least that a loaded laptop keeps
PORT_SHIFT = 15_300  # of ports that need root: 53 becomes 15353
FIRST = int(ipaddress.ip_address("127.9.0.1"))
MAX_HOSTS = 65_000


class _Moved:
    """Gives each address one of its own on loopback, always the same."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def address(self, text: str) -> str:
        if text not in self._known:
            if len(self._known) >= MAX_HOSTS:
                raise InputError("more addresses than a rehearsal has", field="sites", value=text)
            self._known[text] = str(ipaddress.ip_address(FIRST + len(self._known)))
        return self._known[text]

    def place(self, text: str | None) -> str | None:
        if text is None:
            return None
        found = Endpoint.parse(text)
        return f"{self.address(found.address)}:{port(found.port)}"


def port(number: int) -> int:
    """Return a port that needs no root.

    >>> port(53), port(5060)
    (15353, 5060)
    """
    return number + PORT_SHIFT if number < 1024 else number  # noqa: PLR2004 - RFC 6335 section 6


def rehearsed(file: SiteFile, scale: float = SCALE) -> SiteFile:
    """Return *file* as a lab of its own; one that is a lab already only waits less long."""
    if file.lab is not None and file.mode == "lab":
        quick = file.lab.model_copy(update={"waits_scale": max(file.lab.waits_scale, scale)})
        return file.model_copy(update={"lab": quick, "window": None})
    moved, document = _Moved(), file.model_dump(mode="python")
    for site in document["sites"]:
        for host in site["hosts"]:
            host["address"] = moved.address(host["address"])
        for sbc in site["sbcs"]:
            _rehearse_sbc(sbc, moved, scale)
    caller = f"{moved.address('the phones')}:0"
    document |= {"mode": "lab", "window": None, "lab": {"caller": caller, "waits_scale": scale}}
    return SiteFile.model_validate(document, context=context_of(file.beside))


def _rehearse_sbc(sbc: dict[str, Any], moved: _Moved, scale: float) -> None:
    factor = min(1.0, max(1 / scale, TIMEOUT_MS / sbc["timeout_ms"]))
    sbc |= {
        "address": moved.address(sbc["address"]),
        "sip_port": port(sbc["sip_port"]),
        "next_hop": moved.place(sbc["next_hop"]),
        "redirect_hop": moved.place(sbc["redirect_hop"]),
        "enum_port": port(sbc["enum_port"]),
        "timeout_ms": round(sbc["timeout_ms"] * factor),
        "hold_down_ms": round(sbc["hold_down_ms"] * factor),
    }
