"""What cannot be told of an unknown SBC while the clocks of its captures are not known.

Laws: a value that depends on which server was asked first is not known where clocks may hide it; a
capture's own order is always known. What a failed server is followed by may then stand before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from enumtest.infer.inferred import Inferred, S
from enumtest.infer.view import View
from enumtest.profiles.profile_groups import Then

ACROSS = ("selection.", "reactions.", "hold_down.", "retransmission.expire_ns")
ACROSS_TOO = ("retransmission.id_per", "readmission.replies")
PROVOKE = "say how far each capture's clock is ahead (--clock), or capture all servers at one place"


def doubted(values: Sequence[Inferred], seen: View) -> Iterator[Inferred]:
    """Yield *values*; what the captures' clocks leave open is not known."""
    unsure_ns = max((hop.unsure_ns for call in seen.calls for hop in call), default=0)
    for one in values:
        across = one.path.startswith((*ACROSS, *ACROSS_TOO))
        hidden = one.path.startswith("reactions.") and one.value is Then.FINAL
        if one.known and unsure_ns and (hidden or (across and unsure_ns > S)):
            words = f"{one.seen}; how far the clocks of the captures are apart is not known"
            yield replace(one, known=False, seen=words, provoke=one.provoke or PROVOKE)
        else:
            yield one
