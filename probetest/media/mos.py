"""How a stream would sound: R and MOS by the E-model, from its loss, codec and an assumed delay.

    R = 93.2 - Id - Ie,eff          (all other factors of G.107 at their defaults, A = 0)
    Id = 0.024 d + 0.11 (d - 177.3)          the second part above 177.3 ms only
    Ie,eff = Ie + (95 - Ie) * Ppl / (Ppl / BurstR + Bpl)
    MOS = 1 + 0.035 R + R (R - 60) (100 - R) 7e-6

Laws: a codec without published factors has no figure, and it is said; what a tap cannot know
(delay, how the receiver hides loss) is assumed and told with the figure; packets that come too late
for the receiver's buffer are not counted as lost here, so the figure is the best that it can be.

Sources: ITU-T G.107 (E-model); G.113 Appendix I, table I.4 (Ie and Bpl); Id as Cole and Rosenbluth
simplified it (ACM CCR 31/2, 2001).
"""

from dataclasses import dataclass
from functools import lru_cache

ASSUMED_DELAY_MS = 150.0  # mouth to ear: what G.114 calls good for most, so most calls do better
_R_BEST = 93.2
_KNEE_MS = 177.3
_MOST, _LEAST_R, _MOST_R = 4.5, 6.5, 100.0  # below 6.5 the formula of MOS rises again


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a codec costs by itself (Ie), and how well it stands loss (Bpl)."""

    name: str
    ie: float
    bpl: float


_CODECS = {  # names in lower case
    "pcmu": Impairment("G.711 with loss concealment", 0, 25.1),
    "pcma": Impairment("G.711 with loss concealment", 0, 25.1),
    "g729": Impairment("G.729A with VAD", 11, 19.0),  # SDP does not tell G.729 from G.729A
    "g723": Impairment("G.723.1 at 6.3 kbit/s with VAD", 15, 16.1),
    "gsm-efr": Impairment("GSM EFR", 5, 10.0),
}
PLAIN_G711 = Impairment("G.711 without loss concealment", 0, 4.3)


@dataclass(frozen=True, slots=True)
class Quality:
    """A figure, and what it stands on; None: there is none."""

    r: float | None
    mos: float | None
    rule: str


def impairment(codec: str) -> Impairment | None:
    """Return the factors of a codec, None where none are published."""
    return _CODECS.get(codec.lower())


@lru_cache(maxsize=4096)  # most streams are equally long, and lose nothing
def quality(
    codec: str, *, expected: int, missing: int, runs: int, delay_ms: float = ASSUMED_DELAY_MS
) -> Quality:
    """Return R and MOS of a stream that lost *missing* packets in *runs*.

    >>> quality("opus", expected=100, missing=0, runs=0).rule
    'no MOS: no G.113 factors for opus'
    """
    factors = impairment(codec)
    if factors is None:
        return Quality(None, None, f"no MOS: no G.113 factors for {codec or 'this codec'}")
    if expected <= 0:
        return Quality(None, None, "no MOS: no packets")
    loss = min(max(missing / expected, 0.0), 1.0)
    burst = burst_ratio(missing, runs, loss)
    r = r_factor(factors, loss_percent=100 * loss, burst=burst, delay_ms=delay_ms)
    rule = f"G.107: {factors.name}, burst ratio {burst:.2f}, {delay_ms:g} ms one way assumed"
    return Quality(round(r, 2), round(mos(r), 3), rule)


def burst_ratio(missing: int, runs: int, loss: float) -> float:
    """Return how long runs of loss are, against those of random loss; never below 1 (G.107)."""
    if runs <= 0 or missing <= 0:
        return 1.0
    return max(1.0, missing / runs * (1 - loss))


def r_factor(
    factors: Impairment, *, loss_percent: float, burst: float = 1.0, delay_ms: float = 0.0
) -> float:
    """Return R, from 0 to 100."""
    delay = 0.024 * delay_ms + 0.11 * max(0.0, delay_ms - _KNEE_MS)
    lost = loss_percent / (loss_percent / burst + factors.bpl)
    equipment = factors.ie + (95 - factors.ie) * lost
    return min(max(_R_BEST - delay - equipment, 0.0), _MOST_R)


def mos(r: float) -> float:
    """Return MOS of R; it never falls where R rises.

    >>> round(mos(93.2), 3), mos(-3), mos(100)
    (4.409, 1.0, 4.5)
    """
    if r <= _LEAST_R:
        return 1.0
    if r >= _MOST_R:
        return _MOST
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
