"""A URI or name-addr taken apart, before any dial plan is asked: what is the user, what stands by.

The order is that of the grammar, and it matters: brackets and display name (which may hold any
bracket, in quotes) → scheme → user information → its parameters, from the first ";" → escapes. An
escaped ";" is part of the user, a `;phone-context=…` is not.

Laws: any text is taken apart, none raises; nothing here says whether it is a number.

Sources: RFC 3261 sections 19.1 and 20.10, RFC 3966 section 3 (parameters of a number), RFC 4694
(rn, npdi), RFC 4904 (tgrp, trunk-context), RFC 4967 (user=dialstring).
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

_BRACKETED = re.compile(r'((?>(?:[^"<]|"(?>(?:[^"\\]|\\.)*)")*))<([^<>]*)>(.*)\Z', re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(.*)\Z", re.DOTALL)
_HOST_END = re.compile("[;?]")
_PIECE = re.compile(r'"(?>(?:[^"\\]|\\.?)*)"?|<[^>]*+>?|[,;]|[^",;<]+', re.DOTALL)
_PLAIN = re.compile(  # as nearly all are written: no escapes, no parameters but user=phone
    r'(?:(?:[^"<>]*|"[^"\\]*"[ \t]*)(<))?'
    r"((sips?):([+0-9A-Za-z*#_.\-]+)@([a-z0-9.\-]+)(?::[0-9]{1,5})?(;user=phone)?)(>)?\Z"
)
_PHONE = (("user", "phone"),)
_NUMBER_SCHEME = "tel"
MAX_CACHED_CHARS = (
    256  # longer texts are taken apart each time, so that hostile ones fill no memory
)

Parameters = tuple[tuple[str, str], ...]


class Dialled(NamedTuple):
    """The parts of one text; those that are absent are ""."""

    uri: str  # without display name, brackets and header parameters
    scheme: str  # in lower case
    user: str  # of a tel URI the number; escapes are read, parameters cut
    host: str  # in lower case, without port
    number: Parameters = ()  # beside the user: rn, npdi, isub, ext, phone-context; "" of a flag
    uri_parameters: Parameters = ()  # after the host
    header: Parameters = ()  # after the brackets

    def parameter(self, name: str) -> str | None:
        """Return the parameter *name* of the number, or None: not there; of two alike the first."""
        return _first(self.number, name)

    def of_header(self, name: str) -> str:
        """Return the parameter *name* of the header in lower case, "" without."""
        return (_first(self.header, name) or "").strip('"').lower()

    @property
    def is_phone(self) -> bool:
        """Say whether the URI calls its user a telephone number: tel, or user=phone."""
        said = _first(self.uri_parameters, "user") or _first(self.header, "user") or ""
        return self.scheme == _NUMBER_SCHEME or said.lower() == "phone"


def taken_apart(text: str) -> Dialled:
    """Return the parts of a URI or name-addr.

    >>> one = taken_apart('"A <b>" <sip:%2B16505550112;npdi;rn=+12125550142:pw@H:5060;user=phone>')
    >>> one.user, one.host, one.number, one.is_phone
    ('+16505550112', 'h', (('npdi', ''), ('rn', '+12125550142')), True)
    """
    return _cached(text) if len(text) <= MAX_CACHED_CHARS else _taken_apart(text)


def _taken_apart(text: str) -> Dialled:
    """Return the parts of a URI or name-addr; most are plain."""
    text = text.strip()
    plain = _PLAIN.match(text)
    if plain is not None and plain[1] is None is plain[7]:
        own = _PHONE if plain[6] else ()
        return Dialled(plain[2], plain[3], plain[4], plain[5], (), own, own)
    if plain is not None and plain[1] and plain[7]:
        return Dialled(plain[2], plain[3], plain[4], plain[5], (), _PHONE if plain[6] else ())
    return _parsed(text)


_cached = lru_cache(16_384)(_taken_apart)


def _parsed(text: str) -> Dialled:
    """Return the parts of a URI or name-addr, whatever is in it."""
    found = _BRACKETED.match(text)
    uri, after = (found[2].strip(), found[3]) if found else (text, None)
    split = _SCHEME.match(uri)
    if split is None:
        return Dialled(uri, "", "", "", header=parameters(after or ""))
    scheme, rest = split[1].lower(), split[2]
    if scheme == _NUMBER_SCHEME:
        user, numbers = number_parts(rest)
        beside = parameters(after) if after is not None else numbers
        return Dialled(uri, scheme, user, "", numbers, (), beside)
    information, at, place = rest.partition("@")
    place = place if at else rest
    user, numbers = number_parts(information.partition(":")[0] if at else "")
    host = _HOST_END.split(place, maxsplit=1)[0]
    own = parameters(place[len(host) :].partition("?")[0])
    beside = parameters(after) if after is not None else own  # bare: RFC 3261 section 20.10
    return Dialled(uri, scheme, user, _bare_host(host), numbers, own, beside)


def number_parts(text: str) -> tuple[str, Parameters]:
    """Return a user part or the rest of a tel URI: the user without escapes, and its parameters.

    >>> number_parts("*31%2306123;isub=1411")
    ('*31#06123', (('isub', '1411'),))
    """
    user, semicolon, rest = text.partition(";")
    beside = parameters(semicolon + rest) if semicolon else ()
    return _unescaped(user).strip(), beside


def parameters(text: str) -> Parameters:
    """Return the `;name=value` pairs of *text*, names in lower case, values without escapes."""
    if ";" not in text:
        return ()
    pairs = (part.partition("=") for part in pieces(text, ";")[1:])
    return tuple(
        (name.strip().lower(), _unescaped(value.strip()))
        for name, _, value in pairs
        if name.strip()
    )


def pieces(text: str, separator: str) -> list[str]:
    """Return what stands between *separator*, "," or ";", outside quotes and brackets.

    >>> pieces('"a, b" <sip:a@h;x,y>, <tel:+1>', ",")
    ['"a, b" <sip:a@h;x,y>', '<tel:+1>']
    """
    found = [""]
    for piece in _PIECE.finditer(text):
        if piece[0] == separator:
            found.append("")
        else:
            found[-1] += piece[0]
    return [one.strip() for one in found]


def _unescaped(text: str) -> str:
    return unquote(text, errors="surrogateescape") if "%" in text else text


def _first(pairs: Parameters, name: str) -> str | None:
    return next((value for key, value in pairs if key == name), None)


def _bare_host(text: str) -> str:
    """Return a host in lower case without its port."""
    host = text.strip().lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
