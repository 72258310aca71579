"""The address of the other site, as people write it."""

import pytest

from harness.errors import InputError
from hasync.peer.address import PeerAddress


@pytest.mark.parametrize(
    ("text", "host", "path", "user"),
    [
        ("db2", "db2", "", ""),
        ("db2.example.net", "db2.example.net", "", ""),
        ("192.0.2.2", "192.0.2.2", "", ""),
        ("192.0.2.2:/srv/backups", "192.0.2.2", "/srv/backups", ""),
        ("192.0.2.2:/srv/backups/", "192.0.2.2", "/srv/backups", ""),
        ("db2:/", "db2", "/", ""),
        ("2001:db8::2", "2001:db8::2", "", ""),
        ("[2001:db8::2]", "2001:db8::2", "", ""),
        ("[2001:db8::2]:/srv", "2001:db8::2", "/srv", ""),
        ("fe80::1%eth0", "fe80::1%eth0", "", ""),
        ("::1", "::1", "", ""),
        ("postgres@db2", "db2", "", "postgres"),
        ("postgres@[::1]:/a@b", "::1", "/a@b", "postgres"),
        ("b", "b", "", ""),
        ("t", "t", "", ""),
    ],
)
def test_address_is_read(text: str, host: str, path: str, user: str) -> None:
    """Each form of the guide, IPv6 and a user give host, path and user."""
    assert PeerAddress.parse(text) == PeerAddress(host, path, user)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-oProxyCommand=id",
        "--",
        "-b",
        "a b",
        "a;id",
        "$(id)",
        "a\nb",
        "a\x00b",
        "@db2",
        "a@b@c",
        "-u@db2",
        "db2:",
        "db2:srv",
        "db2:~/x",
        "db2:/a/../b",
        "db2:/a\nb",
        "db2:/a$b",
        "db2::module",
        "rsync://db2/x",
        "[db2]:/srv",
        "[::1",
        "[::1]x",
        "2001:db8::2:/srv",
        "::1%et h0",
        "x" * 254,
        "db2:/" + "x" * 2000,
        "dbé",
        "a..b",
        ".a",
        "a-",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Options, shell words, modules, relative paths and control characters are no address."""
    with pytest.raises(InputError):
        PeerAddress.parse(text)


def test_forms_for_ssh_and_rsync_differ() -> None:
    """Ssh takes a bare IPv6 address, rsync one in brackets."""
    address = PeerAddress.parse("ann@[2001:db8::2]:/srv")

    assert address.ssh_destination == "ann@2001:db8::2"
    assert address.rsync_host == "ann@[2001:db8::2]"
