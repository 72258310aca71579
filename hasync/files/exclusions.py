"""Which files of the application stay out of a set: the guide's list, as rules that mean one thing.

Two forms, no others:

    ngp/config/network     that folder (or file) of the root `ngp`, and all below it
    ngp/**/*.log           every regular file of the root `ngp` whose name ends in .log

Laws: a path rule matches whole components from the top of its root, never a part of a name and
never deeper down, so `ngp/log` takes neither `ngp/login.conf` nor `ngp/bin/log`. A suffix rule
takes regular files alone: a folder `x.log`, or a link of that name, stays in with what is below.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from harness.errors import InputError

GUIDE = (
    "ngp/jboss-as-7.2.0.Final/standalone/data",
    "ngp/jboss-as-7.2.0.Final/standalone/tmp",
    "ngp/jboss-as-7.2.0.Final/standalone/log",
    "ngp/config/network",  # of this very machine: the peer's must never replace it
    "ngp/openldap/var",
    "ngp/log",
    "ngp/**/*.log",
    "ngp/**/*.pyc",
    "ngp/**/*.pyo",
    "ngp/**/*.gitignore",
)
ANYWHERE = "**"
_FIX = "write ROOT/PATH for a folder or file, or ROOT/**/*SUFFIX for regular files"


@dataclass(frozen=True, slots=True)
class Rule:
    """One exclusion: a path with all below it, or a suffix of names of regular files."""

    text: str  # as configured; what --list shows beside a file
    parts: tuple[str, ...]  # root name and path; for a suffix rule the root name alone
    suffix: str = ""  # "": a path rule

    def matches(self, parts: tuple[str, ...], *, regular: bool) -> bool:
        """Say whether the rule takes the path of these components."""
        if parts[: len(self.parts)] != self.parts:
            return False
        below = len(parts) > len(self.parts)
        return not self.suffix or (below and regular and parts[-1].endswith(self.suffix))


def parse(text: str) -> Rule:
    """Return the rule that *text* writes.

    >>> parse("ngp/config/network").parts
    ('ngp', 'config', 'network')
    >>> parse("ngp/**/*.log").suffix
    '.log'

    Raises:
        InputError: neither of the two forms.
    """
    parts: tuple[str, ...] = tuple(text.split("/"))
    suffix = ""
    if len(parts) == 3 and parts[1:2] == (ANYWHERE,) and parts[-1].startswith("*"):  # noqa: PLR2004 - ROOT, **, *SUFFIX
        parts, suffix = parts[:1], parts[-1][1:]
        if not suffix:
            raise InputError("takes every file", field="exclude", value=text, fix=_FIX)
    elif len(parts) == 1:
        raise InputError("no path below a root", field="exclude", value=text, fix=_FIX)
    for part in (*parts, suffix or "x"):
        if part in {"", ".", ".."} or not part.isprintable() or set(part) & set("*?[]\\"):
            raise InputError("not a rule of ours", field="exclude", value=text, fix=_FIX)
    return Rule(text, parts, suffix)


def rules(texts: Iterable[str] = (), roots: Iterable[str] = ("ngp", "m2")) -> tuple[Rule, ...]:
    """Return the rules of *texts*; without any the guide's list, as far as it names *roots*.

    Raises:
        InputError: a text is no rule, or names a root that is not configured.
    """
    wanted, known = tuple(texts), tuple(roots)
    if not wanted:
        return tuple(rule for rule in map(parse, GUIDE) if rule.parts[0] in known)
    found = tuple(map(parse, wanted))
    for rule in found:
        if rule.parts[0] not in known:
            raise InputError(
                f"no root named {rule.parts[0]!r}",
                field="exclude",
                value=rule.text,
                fix=f"begin with one of {', '.join(known)}",
            )
    return found


def excluded(path: str, *, regular: bool, by: Iterable[Rule]) -> Rule | None:
    """Return the first rule that keeps *path* (root name first) out of the set; None: it goes in.

    *regular* says whether it is a regular file: not a folder, not a link.

    >>> excluded("ngp/login.conf", regular=True, by=rules()) is None
    True
    """
    parts = tuple(path.split("/"))
    return next((rule for rule in by if rule.matches(parts, regular=regular)), None)


def kept_by_host(by: Iterable[Rule]) -> tuple[str, ...]:
    """Return the paths that every host keeps as its own: what the path rules name.

    An install carries them over from the live tree: they are in no set, and the host needs them.
    """
    return tuple("/".join(rule.parts) for rule in by if not rule.suffix)
