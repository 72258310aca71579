"""Fixtures that more than one test of the faults uses."""

from tests.fault.cluster import cluster
from tests.fault.memory import make_place
from tests.fault.standby_pair import pair
from tests.fault.two_sites import sites

__all__ = ["cluster", "make_place", "pair", "sites"]
