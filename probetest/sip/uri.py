"""The parts of SIP and tel URIs; any text gives some, and none raises."""

import re

from probetest.sip.grammar import parameters, split


def uri_user(uri: str) -> str:
    """Return the user of a sip or sips URI, the number of a tel URI; "" when there is none.

    Escapes and user parameters (`;npdi;rn=…`) stay: `harness.dialplan` reads them.

    >>> uri_user("sip:+16505550112;npdi:secret@192.0.2.1"), uri_user("tel:+16505550112;npdi")
    ('+16505550112;npdi', '+16505550112')
    """
    scheme, user, rest = _uri_parts(uri)
    return rest.partition(";")[0] if scheme == "tel" else user.partition(":")[0]


def uri_host(uri: str) -> str:
    """Return the host of a sip or sips URI in lower case, without port and IPv6 brackets.

    >>> uri_host("sip:a@[2001:DB8::1]:5060;transport=udp"), uri_host("sip:Example.COM")
    ('2001:db8::1', 'example.com')
    """
    scheme, _, rest = _uri_parts(uri)
    if scheme == "tel":
        return ""
    hostport = re.split("[;?]", rest, maxsplit=1)[0].strip().lower()
    if hostport.startswith("["):
        return hostport[1:].partition("]")[0]
    return hostport.partition(":")[0]


def uri_params(uri: str) -> dict[str, str]:
    """Return the URI's parameters, names in lower case, of two alike the first; flags are "".

    >>> uri_params("sip:a;b=c@example.com;user=phone;lr?Subject=x")
    {'user': 'phone', 'lr': ''}
    """
    scheme, _, rest = _uri_parts(uri)
    text = rest if scheme == "tel" else rest.partition("?")[0]
    return parameters(split(text, ";")[1:])


def _uri_parts(uri: str) -> tuple[str, str, str]:
    """Return scheme in lower case, user information, and all after the "@"."""
    scheme, colon, rest = uri.strip().partition(":")
    if not colon:
        return "", "", uri
    user, at, host = rest.partition("@")
    if not at or scheme.lower() == "tel":
        return scheme.lower(), "", rest
    return scheme.lower(), user, host
