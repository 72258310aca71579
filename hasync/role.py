"""The role of a site: an explicit fact with an epoch, and what it allows.

Laws: the service's probe can only forbid; unknown means do nothing; an epoch never goes back, and
a site becomes active only with an epoch that nobody has used.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.errors import InputError
from hasync.failure import Exit, Stop

MAX_EPOCH = 999_999  # six digits in the name of a set
MAX_ROLE_BYTES = 16_384
MAX_WORDS = 500  # characters of `by` and `why`


class Role(StrEnum):
    """What a site is; `UNKNOWN` is never declared, it is what is left when nothing else is sure."""

    ACTIVE = "active"
    STANDBY = "standby"
    UNKNOWN = "unknown"


class ServiceState(StrEnum):
    """What the probe of the application's service said."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ServiceFact:
    """The service as probed, with the words that say from what."""

    state: ServiceState
    why: str = ""


@dataclass(frozen=True, slots=True)
class Restored:
    """The set that a site says to have made its live database."""

    set_id: str
    at_ns: int  # its wall time of it
    snapshot_at_ns: int  # of the data, by the clock of the site that made the set
    took_ms: int


@dataclass(frozen=True, slots=True)
class SiteFact:
    """What the other site says of itself."""

    site: str
    role: Role
    epoch: int
    restored: Restored | None = None
    exit_code: int = 0  # of its last pgsync that had ended
    failures: int = 0  # of its pgsync, in row


@dataclass(frozen=True, slots=True)
class RoleFact:
    """This site's role since wall time `since_ns`, who declared it, and why."""

    role: Role
    epoch: int
    since_ns: int = 0
    by: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        """Refuse an epoch that no set could carry, and a declared role without one."""
        first = 0 if self.role is Role.UNKNOWN else 1
        if not first <= self.epoch <= MAX_EPOCH:
            raise InputError(f"not from {first} to {MAX_EPOCH}", field="epoch", value=self.epoch)
        for field, text in (("by", self.by), ("why", self.why)):
            if len(text) > MAX_WORDS:
                raise InputError(f"longer than {MAX_WORDS} characters", field=field, value=text)

    def encode(self) -> bytes:
        """Return the file's bytes: one JSON object on one line."""
        fields = {name: getattr(self, name) for name in ("role", "epoch", "since_ns", "by", "why")}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def unknown(why: str) -> RoleFact:
    """Return the role of a site that does not know it: it does nothing."""
    return RoleFact(Role.UNKNOWN, 0, why=why[:MAX_WORDS])


def parse(raw: bytes, *, file: str = "") -> RoleFact:
    """Return the declared role.

    Raises:
        InputError: not exactly what `encode` writes, or no declared role.
    """
    try:
        found: Any = json.loads(raw[: MAX_ROLE_BYTES + 1])
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})", file=file) from error
    kinds = {"role": str, "epoch": int, "since_ns": int, "by": str, "why": str}
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        raise InputError(f"not a role ({', '.join(kinds)})", file=file)
    for name, kind in kinds.items():
        if type(found[name]) is not kind:
            raise InputError(f"not {kind.__name__}", file=file, field=name, value=found[name])
    if found["role"] not in {Role.ACTIVE, Role.STANDBY}:
        raise InputError("neither active nor standby", file=file, field="role", value=found["role"])
    return RoleFact(**(found | {"role": Role(found["role"])}))


def declared(  # noqa: PLR0913 - each is a fact that decides
    old: RoleFact,
    role: Role,
    epoch: int,
    *,
    own_seen: int,
    peer_seen: int,
    at_ns: int,
    by: str,
    why: str,
) -> RoleFact:
    """Return the fact that follows *old*; the same declaration again changes nothing.

    *peer_seen* is the highest epoch with which the other site is known to have been active (its
    sets here, its hello), *own_seen* the highest otherwise seen: a lost role file is no way back.

    Raises:
        Stop: the epoch goes back, or is not new where it must be.
        InputError: not a role that can be declared, or no epoch.
    """
    if role is Role.UNKNOWN:
        raise InputError("only active and standby are declared", field="role", value=role)
    wanted = RoleFact(role, epoch, at_ns, by, why)
    least = max(old.epoch, own_seen, peer_seen)
    fix = f"use epoch {least + 1} for active, {max(least, 1)} or more for standby"
    if epoch < least:
        raise Stop(Exit.REFUSED, "an epoch never goes back", fact=f"{epoch} < {least}", fix=fix)
    if role is Role.STANDBY:
        return old if (old.role, old.epoch) == (role, epoch) else wanted
    if epoch <= peer_seen:
        raise Stop(
            Exit.REFUSED,
            "the other site has had this epoch",
            fact=f"{epoch}, seen from it {peer_seen}",
            fix=fix,
        )
    if (old.role, old.epoch) == (role, epoch):
        return old
    if epoch == old.epoch:
        raise Stop(Exit.REFUSED, "a new active site needs a new epoch", fact=f"{epoch}", fix=fix)
    return wanted


def unheard(old: RoleFact, epoch: int, seen: int) -> Stop | None:
    """Return why a standby may not have *epoch*; None when some active site may have had it.

    *seen* is the highest epoch known of here. A slip of the finger beyond it would make the active
    site take itself for one that is behind, and then there is none.

    >>> unheard(RoleFact(Role.STANDBY, 1), 11, 1).why
    'no active site is known to have had this epoch'
    """
    known = max(old.epoch, seen, 1)
    if epoch <= known:
        return None
    return Stop(
        Exit.REFUSED,
        "no active site is known to have had this epoch",
        fact=f"{epoch}, the highest known here is {known}",
        fix=f"use epoch {known}; or --force when the active site really has {epoch}",
    )


def conflict(own: RoleFact, peer: SiteFact) -> str:
    """Return what is wrong between the two sites, "" when nothing is.

    >>> conflict(RoleFact(Role.ACTIVE, 3), SiteFact("west", Role.ACTIVE, 4))
    'split brain: this site is active with epoch 3, west is active with epoch 4'
    """
    both = f"this site is {own.role} with epoch {own.epoch}, "
    both += f"{peer.site} is {peer.role} with epoch {peer.epoch}"
    match own.role, peer.role:
        case Role.ACTIVE, Role.ACTIVE:
            return f"split brain: {both}"
        case Role.STANDBY, Role.STANDBY:
            return f"no active site: {both}"
        case Role.ACTIVE, Role.STANDBY if peer.epoch > own.epoch:
            return f"an active site that is behind: {both}"
        case Role.STANDBY, Role.ACTIVE if peer.epoch < own.epoch:
            return f"an active site that is behind: {both}"
        case _:
            return ""


def may_publish(role: RoleFact, service: ServiceFact, peer: SiteFact | None = None) -> Stop | None:
    """Return why this site may not publish as the active one; None when it may.

    The service does not decide: the last set of a switchover is made after it has been stopped.
    """
    del service
    if role.role is not Role.ACTIVE:
        return _not(role, Role.ACTIVE)
    if peer is None or peer.epoch < role.epoch:
        return None
    if peer.role is Role.ACTIVE:
        return Stop(
            Exit.REFUSED,
            "another site has taken over",
            fact=conflict(role, peer) or f"{peer.site} has epoch {peer.epoch}, we {role.epoch}",
            fix=f"declare this site standby (hasync role set standby --epoch {peer.epoch})",
        )
    if peer.epoch > role.epoch:
        return Stop(
            Exit.REFUSED,
            f"{peer.site} is {peer.role}, and of a higher epoch than this active site",
            fact=f"it has epoch {peer.epoch}, we {role.epoch}",
            fix="if this is the active site: "
            f"hasync role set active --epoch {min(peer.epoch + 1, MAX_EPOCH)}",
        )
    return None


def may_restore(role: RoleFact, service: ServiceFact, peer: SiteFact | None = None) -> Stop | None:
    """Return why the live database may not be replaced here; None when it may.

    Asked at the start and again immediately before the swap.
    """
    if role.role is not Role.STANDBY:
        return _not(role, Role.STANDBY)
    if service.state is not ServiceState.INACTIVE:
        return Stop(
            Exit.REFUSED,
            "the service is not known to be stopped here",
            fact=f"{service.state}: {service.why}" if service.why else str(service.state),
            fix="stop the service, or declare this site active",
        )
    if peer is not None and peer.role is Role.ACTIVE and peer.epoch < role.epoch:
        return Stop(
            Exit.REFUSED,
            "the active site is behind this one",
            fact=conflict(role, peer),
            fix="declare the roles anew: the active site with the higher epoch",
        )
    return None


def _not(role: RoleFact, wanted: Role) -> Stop:
    """Return the refusal of a site that has not the role for it."""
    return Stop(
        Exit.REFUSED,
        f"only {'an' if wanted is Role.ACTIVE else 'a'} {wanted} site may do this",
        fact=f"this site is {role.role}" + (f" ({role.why})" if role.why else ""),
        fix=f"hasync role set {wanted} --epoch N" if role.role is Role.UNKNOWN else "",
    )
