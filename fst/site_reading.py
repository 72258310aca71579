"""The edge that reads a site file, and what it makes of the plan."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enumtest.profiles.profile_file import parse_profile
from enumtest.profiles.profiles import Profile
from fst.matrix import HostEntry, Matrix, SiteHosts, build
from fst.plan import Plan
from fst.sbc_profile import named_beside, refuse_elsewhere
from fst.settings import parse_settings
from fst.site import SiteFile, parse_site, site_document
from harness.errors import InputError


def read_site_file(
    path: Path, settings: Sequence[str] = (), *, profiles: Path | None = None
) -> tuple[SiteFile, Any, str]:
    """Return the site file at *path*, its dial plan, and the hash of its text.

    *profiles* is the folder of the SBC profiles that it names; None: its own.

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
    laid = parse_settings(settings)
    document = site_document(text, file=str(path), settings=laid)
    beside = _profiles_beside(document, path, path.parent if profiles is None else profiles)
    file, dial_plan = parse_site(text, file=str(path), settings=laid, beside=beside)
    return file, dial_plan, hashlib.sha256(content).hexdigest()


def _profiles_beside(document: Mapping[str, Any], path: Path, folder: Path) -> dict[str, Profile]:
    """Return the SBC profiles in *folder* that the site file at *path* names, by file name."""
    found: dict[str, Profile] = {}
    for field, name in named_beside(document):
        refuse_elsewhere(name, str(path), field)
        try:
            text = (folder / name).read_bytes().decode()
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
            fix = "put the profile beside the site file"
            raise InputError(why, file=str(path), field=field, value=name, fix=fix) from error
        except UnicodeDecodeError as error:
            raise InputError("not UTF-8 text", file=str(folder / name)) from error
        found[name] = parse_profile(text, str(folder / name))
    return found


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
