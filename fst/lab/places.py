"""The edge that tries whether this machine gives a lab its addresses and ports."""

import errno
import os
import socket

from fst.doctor_report import Check, State
from fst.doctor_site import Place, Refused, place_check, places
from fst.site import SiteFile


def refused_places(file: SiteFile) -> tuple[Check, ...]:
    """Return the addresses that a run at this site needs and can't have, with what mends each."""
    checks = (place_check(place, try_place(place)) for place in places(file))
    return tuple(check for check in checks if check.state is State.MISSING)


def try_place(place: Place) -> Refused | None:
    """Return why a socket cannot be bound at *place*, None when it can; it is closed at once."""
    kinds = [("udp", socket.SOCK_DGRAM), *([("tcp", socket.SOCK_STREAM)] if place.tcp else [])]
    family = socket.AF_INET6 if ":" in place.endpoint.address else socket.AF_INET
    for transport, kind in kinds:
        try:
            with socket.socket(family, kind) as tried:
                if kind is socket.SOCK_STREAM:  # as asyncio listens: past connections are no bar
                    tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind((place.endpoint.address, place.endpoint.port))
        except OSError as error:
            code = error.errno or errno.EIO
            return Refused(code, os.strerror(code), transport)
    return None
