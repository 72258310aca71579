"""What the keys of an `[[sites.sbcs]]` table and the profile it names say together.

A profile is one of the package, or a file beside the site file; whoever reads the site file reads
those too (`fst.site_reading`), and passes them in as the context of the validation.

Laws: a key in the file beats the profile; without `profile` the times have to stand in the file,
and all else is as the plan describes it (`fixed-hold-down`).
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationInfo

from enumtest.profiles.profile_file import shipped_names, shipped_profile
from enumtest.profiles.profile_overrides import COUNTABLE, Overrides, laid_over
from enumtest.profiles.profiles import Profile
from harness.errors import InputError

MS = 1_000_000  # nanoseconds
PLAIN = "fixed-hold-down"
CONTEXT = "profiles"  # key of the validation's context
_BESIDE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.toml")  # no folder: it is kept with the run

Profiles = Mapping[str, Profile]  # of files beside the site file, by name


def named_beside(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield field and name of each profile in *document* that is a file beside the site file.

    What has not the shape of a site file is passed over: `fst.site` says what is wrong with it.
    """
    lab = _table(document.get("lab"))
    tables = [("lab.sbc", _table(lab.get("sbc")))]
    tables += [
        (f"sites.{at}.sbcs.{place}", _table(sbc))
        for at, site in enumerate(_rows(document.get("sites")))
        for place, sbc in enumerate(_rows(_table(site).get("sbcs")))
    ]
    for place, table in tables:
        name = table.get("profile")
        if isinstance(name, str) and name.endswith(".toml"):
            yield f"{place}.profile", name


def refuse_elsewhere(name: str, file: str, field: str) -> None:
    """Refuse a name that is not that of a file beside the site file."""
    if not _BESIDE.fullmatch(name):
        fix = "put the file beside the site file, and write its name alone"
        raise InputError("not beside the site file", file=file, field=field, value=name, fix=fix)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rows(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def context_of(profiles: Profiles) -> dict[str, Any]:
    """Return the context of a validation in which *profiles* are known."""
    return {CONTEXT: profiles}


def known_of(info: ValidationInfo) -> Profiles:
    """Return the profiles that are known in a validation, beside those of the package."""
    context = info.context
    return context.get(CONTEXT, {}) if isinstance(context, dict) else {}


def known_profile(name: str, info: ValidationInfo) -> str:
    """Return *name*; one that no profile has is a ValueError, as pydantic collects it."""
    if name in known_of(info):
        return name
    try:
        return shipped_profile(name).name
    except InputError as error:
        raise ValueError(f"{error.why}; {error.fix}") from error


def profile_named(name: str, beside: Profiles) -> Profile:
    """Return the profile called *name*: one of those *beside* the site file, or of the package."""
    return beside[name] if name in beside else shipped_profile(name)


def with_defaults(table: Mapping[str, Any], beside: Profiles) -> dict[str, Any]:
    """Return *table* with the values of the profile that it names where it has none of its own."""
    name = table.get("profile")
    if not isinstance(name, str) or name not in (*shipped_names(), *beside):
        return dict(table)
    return _own(profile_named(name, beside)) | dict(table)


def declared(table: Mapping[str, Any], stated: Collection[str], beside: Profiles) -> Profile:
    """Return the profile of a whole *table*, of which the keys *stated* stand in the file.

    Raises:
        InputError: no SBC could follow that.
    """
    profile = profile_named(table["profile"], beside)
    own = _own(profile)
    given = {name: table[name] for name in own if name in stated or table[name] != own[name]}
    # A count that is the profile's own keeps the profile's schedule; another one has none.
    if given.get("retransmissions") == own["retransmissions"]:
        del given["retransmissions"]
    for name in ("timeout", "hold_down"):
        if (value_ms := given.pop(f"{name}_ms", None)) is not None:
            given[f"{name}_ns"] = value_ms * MS
    if "failures" in given:
        given["failures"] = frozenset(given["failures"])
    return laid_over(profile, Overrides(**given))


def _own(profile: Profile) -> dict[str, Any]:
    """Return what *profile* says under the keys of the table."""
    edns = profile.edns
    return {
        "selection": profile.selection.method,
        "timeout_ms": profile.timeout_ns // MS,
        "retransmissions": profile.retransmissions,
        "hold_down_ms": profile.hold_down_ns // MS,
        "failures": [event for event in COUNTABLE if event in profile.counted],
        "all_down": profile.all_down,
        "source_code": edns.source_code if edns.source_sent else 0,
        "source_framing": edns.source_framing,
    }
