"""The address of the other site as it stands on a command line: HOST, HOST:PATH, [v6]:PATH, v6.

It is handed to ssh and rsync, so nothing in it can be taken for an option, a path or a shell word.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from harness.errors import InputError

_FIX = "write HOST, HOST:PATH, [IPV6]:PATH, IPV6, each with or without USER@"
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}", re.ASCII | re.IGNORECASE)
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?",
    re.ASCII | re.IGNORECASE,
)
_PATH = re.compile(r"/(?!/)[A-Za-z0-9_./+,=@ -]{0,1023}", re.ASCII)  # // is a URL
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A host to reach by ssh: *host* is a name, an ssh_config alias, an IPv4 or an IPv6 address."""

    host: str
    path: str = ""  # absolute, without a slash at its end; "": as the peer says
    user: str = ""  # "": as the settings or ssh_config say

    def __post_init__(self) -> None:
        """Refuse anything that ssh, rsync or a shell could take for something else."""
        if not _is_host(self.host):
            raise InputError("not a host name or address", field="host", value=self.host, fix=_FIX)
        if self.user and not _USER.fullmatch(self.user):
            raise InputError("not a user name", field="user", value=self.user, fix=_FIX)
        if self.path and (not _PATH.fullmatch(self.path) or ".." in self.path.split("/")):
            raise InputError("not an absolute path", field="path", value=self.path, fix=_FIX)

    @classmethod
    def parse(cls, text: str) -> "PeerAddress":
        """Return the address in *text*.

        >>> PeerAddress.parse("postgres@[2001:db8::2]:/srv/hasync/")
        PeerAddress(host='2001:db8::2', path='/srv/hasync', user='postgres')

        Raises:
            InputError: not an address; nothing is guessed.
        """
        head, slash, tail = text.partition("/")  # a path may have an @ of its own
        user, at, place = head.rpartition("@")
        place += slash + tail
        if at and not user:
            raise InputError("no user before @", field="host", value=text, fix=_FIX)
        if place.startswith("["):
            host, closed, rest = place[1:].partition("]")
            if not closed or not _is_v6(host):
                raise InputError("no IPv6 address in brackets", field="host", value=text, fix=_FIX)
        elif _is_v6(place):
            host, rest = place, ""
        else:
            host, colon, path = place.partition(":")
            rest = colon + path
        if rest and not rest.startswith(":/"):
            raise InputError("no absolute path after the host", field="host", value=text, fix=_FIX)
        path = rest[1:].rstrip("/") or rest[1:2]
        return cls(host, path, user)

    def encode(self) -> str:
        """Return the text that `parse` reads back."""
        host = f"[{self.host}]" if ":" in self.host and self.path else self.host
        return (
            (f"{self.user}@" if self.user else "") + host + (f":{self.path}" if self.path else "")
        )

    @property
    def ssh_destination(self) -> str:
        """Return what ssh is given; an IPv6 address stands bare."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def rsync_host(self) -> str:
        """Return what stands before the colon of an rsync destination."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" if self.user else host


def _is_host(text: str) -> bool:
    return bool(_HOST.fullmatch(text)) or _is_v6(text)


def _is_v6(text: str) -> bool:
    address, percent, zone = text.partition("%")
    try:
        IPv6Address(address)
    except AddressValueError:
        return False
    return not percent or bool(_ZONE.fullmatch(zone))
