"""The edge to the application's service: its status command, asked; never started or stopped here.

A probe that hangs, is not there, may not ask or says anything unlisted gives unknown.
"""

from harness.child import run
from harness.command import NOT_FOUND
from hasync.role import ServiceFact, ServiceState
from hasync.settings import Service

_NEVER = frozenset({126, NOT_FOUND})  # not executable, not there: says nothing of the service


def probe(service: Service) -> ServiceFact:
    """Return what the service's status command says now."""
    output = run(service.status, limit_s=service.limit_s)
    code = output.exit_code
    why = output.complaint
    if code is None or code in _NEVER:
        return ServiceFact(ServiceState.UNKNOWN, why)
    listed = (code in service.active, code in service.inactive)
    match listed:
        case (True, False):
            return ServiceFact(ServiceState.ACTIVE, why)
        case (False, True):
            return ServiceFact(ServiceState.INACTIVE, why)
        case _:
            return ServiceFact(ServiceState.UNKNOWN, why)
