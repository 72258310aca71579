"""The edge that reads a site file, and what it makes of the plan."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fst.matrix import HostEntry, Matrix, SiteHosts, build
from fst.plan import Plan
from fst.settings import parse_settings
from fst.site import SiteFile, parse_site
from harness.errors import InputError


def read_site_file(path: Path, settings: Sequence[str] = ()) -> tuple[SiteFile, Any, str]:
    """Return the site file at *path*, its dial plan, and the hash of its text.

    Raises:
        InputError: it cannot be read, or has bad fields (one line each).
    """
    try:
        content = path.read_bytes()
        text = content.decode()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", file=str(path), fix="name a site file"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path), fix="name a site file") from error
    file, dial_plan = parse_site(text, file=str(path), settings=parse_settings(settings))
    return file, dial_plan, hashlib.sha256(content).hexdigest()


def matrix_of(file: SiteFile, plan: Plan) -> Matrix:
    """Return the forms and boxes that *plan* gives for the sites of *file*."""
    sites = tuple(
        SiteHosts(
            site.name,
            site.title,
            site.standby,
            tuple(HostEntry(host.name, host.role) for host in site.hosts),
        )
        for site in file.sites
    )
    return build(plan, sites)
