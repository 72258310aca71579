"""What the keys of an `[[sites.sbcs]]` table and the profile it names say together.

Laws: a key in the file beats the profile; without `profile` the times have to stand in the file,
and all else is as the plan describes it (`fixed-hold-down`).
"""

from collections.abc import Collection, Mapping
from typing import Any

from enumtest.profile_file import shipped_names, shipped_profile
from enumtest.profile_overrides import COUNTABLE, Overrides, laid_over
from enumtest.profiles import Profile
from harness.errors import InputError

MS = 1_000_000  # nanoseconds
PLAIN = "fixed-hold-down"


def known_profile(name: str) -> str:
    """Return *name*; one that no profile has is a ValueError, as pydantic collects it."""
    try:
        return shipped_profile(name).name
    except InputError as error:
        raise ValueError(f"{error.why}; {error.fix}") from error


def with_defaults(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return *table* with the values of the profile that it names where it has none of its own."""
    name = table.get("profile")
    if not isinstance(name, str) or name not in shipped_names():
        return dict(table)
    return _own(shipped_profile(name)) | dict(table)


def declared(table: Mapping[str, Any], stated: Collection[str]) -> Profile:
    """Return the profile of a whole *table*, of which the keys *stated* stand in the file.

    Raises:
        InputError: no SBC could follow that.
    """
    profile = shipped_profile(table["profile"])
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
