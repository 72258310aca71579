"""What one case leaves behind: findings, measurements, and what they rest on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fst.judgement import Judgement
from fst.plan import Step
from harness.finding import Finding, Measurement


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of one case from one place: an SBC, a host, a probe."""

    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...]
    attachments: tuple[Mapping[str, Any], ...]
    steps: tuple[Mapping[str, Any], ...] = ()  # what was done, and notes for people: `text`, …
    strip: Mapping[str, Any] | None = None
    facts: tuple[Mapping[str, Any], ...] = ()  # what its host was like: `fst.facts`


def declared(step: Step, judged: Judgement) -> tuple[Measurement, ...]:
    """Return the measurements that *step* declares, with the values of *judged*, then its extras.

    One that was not supplied stays without a value, and so can't PASS.
    """
    measured = []
    for spec in step.measurements:
        value, frames = judged.values.get(spec.name, (None, ()))
        measured.append(Measurement(spec.name, value, spec.unit, spec.low, spec.high, frames))
    return (*measured, *judged.extra)


def notes(texts: Iterable[str]) -> tuple[Mapping[str, Any], ...]:
    """Return *texts* as steps without a time of their own."""
    return tuple({"text": text} for text in texts)
