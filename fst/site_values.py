"""The plain values of a site file: what each has to look like, and what to write instead.

Laws: a value is taken as it is written or refused; each is a ValueError, as pydantic collects them.
"""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from harness.errors import InputError, NumberError
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ValueError("not an IP address; write it in figures, without a port") from error


def _number(text: str) -> str:
    try:
        return str(PhoneNumber.parse(text))
    except NumberError as error:
        raise ValueError(f"{error.why}; write it as +16505550112") from error


def _place(text: str) -> str:
    try:
        return str(Endpoint.parse(text))
    except InputError as error:
        raise ValueError(f"{error.why}; write it as 127.0.0.20:5060") from error


def _apex(text: str) -> str:
    labels = text.rstrip(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("not a domain name; write it as e164.arpa")
    return text


_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")  # RFC 1035 section 2.3.4

Address = Annotated[str, AfterValidator(_address)]
Number = Annotated[str, AfterValidator(_number)]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"not a network ({error}); write it as 192.0.2.0/24") from error


Network = Annotated[str, AfterValidator(_network)]
Place = Annotated[str, AfterValidator(_place)]  # address:port
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Apex = Annotated[str, AfterValidator(_apex), Field(max_length=200)]
