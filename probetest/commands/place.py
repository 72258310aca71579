"""What the options of a command say of the place whose captures are read."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.errors import InputError
from harness.premises import Premises
from probetest.calls.joining import X_CID, Joining

_TOKEN = re.compile(r"[A-Za-z0-9!%'*+.`_~-]+")  # RFC 3261 section 25.1


def premises(
    site: Path | None,
    dial_plan: Path | None,
    inside: Sequence[str] = (),
    trusted: Sequence[str] = (),
) -> Premises:
    """Return what is known of the customer.

    Raises:
        InputError: a file that cannot be read or used, or a network that is none.
    """
    known = Premises() if site is None else Premises.from_site(text(site), file=str(site))
    if dial_plan is not None:
        known = known.with_plan(text(dial_plan), file=str(dial_plan))
    return known.with_inside(inside).with_trusted(trusted)


def joined(headers: Sequence[str] | None, *, by_sdp: bool) -> Joining:
    """Return how legs are joined: by headers of these names too, and by the origin of their SDP.

    Raises:
        InputError: a name that no header has.

    >>> joined(["X-Call-Group"], by_sdp=False).headers
    ('X-CID', 'X-Call-Group')
    """
    for name in headers or ():
        if not _TOKEN.fullmatch(name):
            fix = "a name alone, such as X-CID"
            raise InputError("no header has it", field="--join-header", value=name, fix=fix)
    return Joining((*X_CID, *(headers or ())), by_origin=by_sdp)


def of_devices(
    place: Premises, plans: Iterable[str], devices: Iterable[str]
) -> dict[str, Premises]:
    """Return the *place* of each device, with its own dial plan: "FILE" or "NAME=FILE".

    Raises:
        InputError: no such device, two plans of one, or a plan that cannot be read or used.
    """
    found, named = dict.fromkeys(devices, place), set[str]()
    for one in sorted(plans, key=lambda text: _device(text) != ""):  # those of all come first
        device, path = _device(one), Path(one.removeprefix(f"{_device(one)}="))
        if device in named or (device and device not in found):
            fix = f"one plan each, of {', '.join(found)}"
            why = "a second plan" if device in named else "no such device"
            raise InputError(why, field="--dial-plan", value=one, fix=fix)
        named.add(device)
        content = text(path)
        for name in [device] if device else list(found):
            found[name] = found[name].with_plan(content, file=str(path))
    return found


def _device(text: str) -> str:
    """Return the device that stands before "=", "" where there is only a path."""
    name, equals, _ = text.partition("=")
    return name if equals and "/" not in name else ""


def text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InputError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path)) from error
