"""Who calls and who is called: a global number, local digits, nobody shown, or something else.

Laws: two parties are the same when their `text` is; that text fits a table and never holds a
control character, whatever a peer sent.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from harness.errors import InputError
from harness.number import PhoneNumber

SEPARATORS = str.maketrans("", "", " -.()")  # RFC 3966 section 5.1.1, plus the space people type
MAX_OPAQUE_CHARS = 64  # of text that is no number, kept as a key in tables


@dataclass(frozen=True, slots=True)
class Global:
    """A party known all over the world by its E.164 number."""

    number: PhoneNumber

    @property
    def text(self) -> str:
        """Return the number with its plus sign."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class Local:
    """Digits that mean something only inside *plan*: an extension, 911, a service code."""

    digits: str
    plan: str  # name of the dial plan, or the domain of a phone-context

    @property
    def text(self) -> str:
        """Return the digits and where they hold, such as "1001@main"."""
        return f"{self.digits}@{self.plan}"


@dataclass(frozen=True, slots=True)
class Restricted:
    """A caller who asked not to be shown, or whose network did."""

    @property
    def text(self) -> str:
        """Return the one word for all spellings of it."""
        return "restricted"


@dataclass(frozen=True, slots=True)
class Opaque:
    """Anything else: a name, a device id, digits no rule explains."""

    text: str  # printable, bounded; see `opaque`

    def __post_init__(self) -> None:
        """Refuse what would not fit a table; `opaque` makes it fit."""
        if len(self.text) > MAX_OPAQUE_CHARS or not self.text.isprintable():
            raise InputError("not printable, or too long", field="opaque", value=self.text)


Party = Global | Local | Restricted | Opaque


class PartyKind(StrEnum):
    """What sort of address a party has."""

    E164 = "e164"
    EMERGENCY = "emergency"
    SERVICE = "service"
    EXTENSION = "extension"
    SHORT = "short"
    LOCAL = "local"  # digits of one dial plan or phone-context
    RESTRICTED = "restricted"
    DIGITS = "digits"  # that no rule explains, or no plan is there to
    INVALID = "invalid"  # digits that cannot be a number, there are too many
    NAME = "name"  # and all else


_OF_LOCAL = {  # the end of a rule about local digits
    "extension": PartyKind.EXTENSION,
    "short number": PartyKind.SHORT,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Who *raw* names, and the rule that says so."""

    party: Party
    rule: str
    raw: str

    @property
    def text(self) -> str:
        """Return the party in normalised form."""
        return self.party.text

    @property
    def kind(self) -> PartyKind:
        """Return what sort of address it is.

        >>> Reading(Local("1001", "main"), "service code *67, extension", "*671001").kind.value
        'extension'
        """
        if isinstance(self.party, Global):  # nearly all
            return PartyKind.E164
        if self.rule.startswith("emergency"):
            return PartyKind.EMERGENCY
        last = self.rule.rpartition(", ")[2]
        match self.party:
            case Restricted():
                return PartyKind.RESTRICTED
            case Local():
                if last.startswith("emergency"):
                    return PartyKind.EMERGENCY
                is_service = last.startswith("service code")
                return PartyKind.SERVICE if is_service else _OF_LOCAL.get(last, PartyKind.LOCAL)
            case Opaque(text):
                return _of_opaque(text, self.rule)


def opaque(text: str) -> Opaque:
    r"""Return *text* as a party: printable, at most 64 characters, two texts never alike.

    >>> opaque("a\x00b@c").text
    'a%00b%40c'
    """
    shown = "".join(
        c if c.isprintable() and c not in "@%…" else _percent(c)
        for c in text[: MAX_OPAQUE_CHARS + 1]
    )
    if len(shown) > MAX_OPAQUE_CHARS:
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        shown = f"{shown[: MAX_OPAQUE_CHARS - len(mark) - 1]}…{mark}"
    return Opaque(shown)


def _percent(char: str) -> str:
    r"""Return *char* as percent-escaped bytes; one that was no UTF-8 as the byte that it was.

    >>> _percent("\xfc"), _percent("\udcff")
    ('%C3%BC', '%FF')
    """
    how = "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", how))


def _of_opaque(text: str, rule: str) -> PartyKind:
    """Return what a text is that the plan made no party of."""
    if rule.endswith("service URN"):
        return PartyKind.SERVICE
    if rule.startswith(("opaque: more than", "opaque: no E.164")):
        return PartyKind.INVALID
    bare = text.translate(SEPARATORS).removeprefix("+")
    is_dialled = bare.isascii() and bare.strip("*#").isdecimal() and "IP address" not in rule
    return PartyKind.DIGITS if is_dialled else PartyKind.NAME
