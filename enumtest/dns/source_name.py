"""The calling number in the name that is asked, where an SBC cannot send an EDNS option.

    another root for callers of a prefix  2.1.1.0.5.5.5.0.5.6.1.from-1212.enum.example
    the calling number behind a label     0.2.4.4.from.6.6.1.0.5.5.5.2.1.2.1.enum.example

Laws: the two do not go together; a name without a caller is the plain one; a prefix names callers
as far as it goes, so a rule for a longer prefix does not fit it.

Source: draft-kaplan-enum-sip-routing-04 appendix B (a root per source prefix). The label form is
this project's own, for a private apex.
"""

import re
from dataclasses import dataclass

from enumtest.dns.message import number_from_qname
from enumtest.dns.source_uri import ANONYMOUS
from harness.errors import InputError, NumberError
from harness.number import MAX_DIGITS, PhoneNumber

_PREFIX = re.compile(rf"\+[0-9]{{1,{MAX_DIGITS}}}")
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class SourceNaming:
    """How names tell the caller; nothing set: they do not."""

    roots: tuple[tuple[str, str], ...] = ()  # prefix of the calling number, root that is asked
    label: str = ""  # between the called and the calling digits

    def __post_init__(self) -> None:
        """Refuse what could be read in two ways."""
        if self.roots and self.label:
            raise InputError("either roots or a label", field="label", value=self.label)
        if self.label and not _LABEL.fullmatch(self.label):
            why, fix = "must start with a small letter, and be one label", 'such as "from"'
            raise InputError(why, field="label", value=self.label, fix=fix)
        for prefix, root in self.roots:
            if not _PREFIX.fullmatch(prefix):
                raise InputError("no prefix", field="roots", value=prefix, fix='write "+1212"')
            if not _NAME.fullmatch(root) or len(root.partition(".")[0]) == 1:
                why = "no domain in small letters whose first label is longer than a digit"
                raise InputError(why, field="roots", value=root)
        for what in zip(*self.roots, strict=True):
            if len(set(what)) != len(what):
                raise InputError("given twice", field="roots", value=what)

    def root_of(self, qname: str, apex: str) -> str:
        """Return the root that *qname* lies under: that of a prefix, or *apex*."""
        name = qname.lower().removesuffix(".")
        usual = apex.lower().strip(".")
        roots = [usual, *(root for _, root in self.roots)]
        under = (root for root in roots if f".{name}".endswith(f".{root}"))
        return max(under, key=len, default=usual)


NO_NAMING = SourceNaming()


def encode_name(called: PhoneNumber, source: str, apex: str, naming: SourceNaming) -> str:
    """Return the name to ask for a call from *source* ("+" and digits, or "anonymous").

    >>> naming = SourceNaming(label="from")
    >>> encode_name(PhoneNumber("4420"), "+1650", "x.example", naming)
    '0.2.4.4.from.0.5.6.1.x.example'
    """
    fits = [(prefix, root) for prefix, root in naming.roots if source.startswith(prefix)]
    if fits:
        return called.enum_domain(max(fits, key=lambda each: len(each[0]))[1])
    if naming.label and source == ANONYMOUS:
        return called.enum_domain(f"{naming.label}.{ANONYMOUS}.{apex}")
    if naming.label and _PREFIX.fullmatch(source):
        digits = ".".join(reversed(source[1:]))
        return called.enum_domain(f"{naming.label}.{digits}.{apex}")
    return called.enum_domain(apex)


def parse_name(qname: str, apex: str, naming: SourceNaming) -> tuple[PhoneNumber, str | None]:
    """Return the called number and the caller, or the caller's prefix; None when not told.

    Raises:
        InputError: another apex, or a name that is not of this form.
    """
    root = naming.root_of(qname, apex)
    source = {root_: prefix for prefix, root_ in naming.roots}.get(root)
    name = qname.lower().removesuffix(".")
    labels = name.removesuffix(f".{root}").split(".")
    if not naming.label or naming.label not in labels:
        return number_from_qname(name, root), source
    at = labels.index(naming.label)
    called = number_from_qname(".".join([*labels[:at], root]), root)
    behind = labels[at + 1 :]
    if behind == [ANONYMOUS]:
        return called, ANONYMOUS
    try:
        caller = PhoneNumber("".join(reversed(behind)))
    except NumberError as error:
        raise InputError(f"calling number: {error.why}", field="qname", value=qname) from error
    if len(behind) != len(caller.digits):
        raise InputError("a label that is not one digit", field="qname", value=qname)
    return called, str(caller)
