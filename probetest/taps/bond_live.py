"""The edge that reads interfaces and bonds of this host: netlink, and the text in /proc beside it.

Not to be called in a running event loop: pyroute2 runs one of its own (use asyncio.to_thread).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from harness.errors import InputError, ToolError
from probetest.taps.bond_state import BondState, combine, from_netlink, parse_proc
from probetest.taps.replay_plan import Interface

_PROC = Path("/proc/thread-self/net/bonding")  # of the namespace in which this thread is
_MAX_NAME = 15  # IFNAMSIZ, less its NUL
_LOOPBACK, _UP, _LOWER_UP = 0x8, 0x1, 0x10000  # IFF_*
_ETHERNET_TYPES = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK


def read_bond(interface: str) -> BondState | None:
    """Return the bond called *interface* as it is now; None: no bond of that name is here.

    Speed and duplex are told by /proc only.

    Raises:
        InputError: no name that an interface could have.
        ToolError: netlink or /proc could not be read.
    """
    _check_name(interface)
    links, text = _links(), _proc_text(interface)
    said = None if text is None else parse_proc(text, str(_PROC / interface), observed_live=True)
    try:
        state = bond_of(links, interface)
    except InputError as error:  # old kernels say little of a bond over netlink
        if said is None:
            raise ToolError(f"{interface}: the kernel tells too little of it: {error}") from error
        return said
    return combine(state, said) if state is not None and said is not None else state


def bond_of(links: Iterable[Any], interface: str) -> BondState | None:
    """Return the bond called *interface* among pyroute2's answers to a dump of all links.

    Raises:
        InputError: an attribute is missing, or not what the kernel sends.
    """
    links = tuple(links)
    for link in links:
        if link.get_attr("IFLA_IFNAME") == interface and _kind(link) == "bond":
            break
    else:
        return None
    values = _values(link, "IFLA_INFO_DATA")
    slaves = [
        _values(port, "IFLA_INFO_SLAVE_DATA")
        for port in links
        if port.get_attr("IFLA_MASTER") == link["index"]
    ]
    return from_netlink(values, slaves, observed_live=True)


def read_interface(name: str) -> Interface | None:
    """Return what matters for a replay about the interface called *name*; None: there is none.

    Raises:
        InputError: no name that an interface could have.
        ToolError: netlink could not be read.
    """
    _check_name(name)
    link = next((x for x in _links() if x.get_attr("IFLA_IFNAME") == name), None)
    if link is None:
        return None
    flags = link["flags"]
    return Interface(
        name=name,
        kind="lo" if flags & _LOOPBACK else _kind(link),
        ethernet=link["ifi_type"] in _ETHERNET_TYPES,
        up=bool(flags & _UP),
        mtu_bytes=link.get_attr("IFLA_MTU"),
        default_route=link["index"] in _default_routes(),
    )


def _check_name(name: str) -> None:
    if not 0 < len(name.encode()) <= _MAX_NAME or "/" in name or not name.isprintable():
        fix = "see the names in: ip link"
        raise InputError("not the name of an interface", field="interface", value=name, fix=fix)


def _links() -> tuple[Any, ...]:
    return _told("interfaces", lambda netlink: netlink.get_links())


def _default_routes() -> set[int]:
    """Return the index of each interface through which a default route goes."""
    routes = _told("routes", lambda netlink: netlink.get_default_routes())
    return {route.get_attr("RTA_OIF") for route in routes}


def _told(what: str, ask: Callable[[Any], Iterable[Any]]) -> tuple[Any, ...]:
    """Return the kernel's answers to *ask*, given an open netlink socket."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - 0.3 s, which only who reads a bond has to pay
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - the same

    try:
        with IPRoute() as netlink:
            return tuple(ask(netlink))
    except (OSError, NetlinkError) as error:
        raise ToolError(f"the kernel does not list its {what}: {error}") from error


def _kind(link: Any) -> str:  # noqa: ANN401 - pyroute2 has no types
    """Return what kind of virtual interface it is; "" for a real one."""
    info = link.get_attr("IFLA_LINKINFO")
    return (info.get_attr("IFLA_INFO_KIND") if info is not None else None) or ""


def _values(link: Any, part: str) -> dict[str, int | str | None]:  # noqa: ANN401 - as above
    """Return the plain values that `from_netlink` reads."""
    data = link.get_attr("IFLA_LINKINFO").get_attr(part)
    attributes = data["attrs"] if data is not None else ()
    found = {name: value for name, value in attributes if isinstance(value, int | str)}
    lacp = data.get_attr("IFLA_BOND_AD_INFO") if data is not None else None
    if lacp is not None:
        key = "IFLA_BOND_AD_INFO_AGGREGATOR"
        found[key] = lacp.get_attr(key)
    up = bool(link["flags"] & _LOWER_UP)
    return {"ifname": link.get_attr("IFLA_IFNAME"), "index": link["index"], "up": up, **found}


def _proc_text(interface: str) -> str | None:
    """Return the text of /proc about a bond; None: there is none."""
    try:
        return (_PROC / interface).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ToolError(f"{_PROC / interface}: {error.strerror}") from error
