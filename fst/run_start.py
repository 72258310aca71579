"""What the first event of a run says of plan and site: enough to print its forms without them."""

import hashlib
from collections.abc import Set as AbstractSet
from typing import Any

from enumtest.profiles.profile_file import encode_profile
from fst.matrix import Form, Matrix
from fst.plan import Mode, Plan, Step
from fst.site import SiteFile


def plan_fields(plan: Plan) -> dict[str, Any]:
    """Return which plan it is."""
    about = plan.about
    told = {"id": about.id, "version": about.version, "title": about.title, "sha256": plan.sha256}
    return {"title": about.title, "plan": told}


def site_fields(file: SiteFile, name: str, sha256: str, folder: str) -> dict[str, Any]:
    """Return which site file it is, and in which *folder* its other files lie."""
    told = {"name": file.name, "file": name, "sha256": sha256, "folder": folder}
    kept = profile_texts(file)
    return told | ({"profiles": {name: sha256_of(kept[name]) for name in kept}} if kept else {})


def profile_texts(file: SiteFile) -> dict[str, str]:
    """Return the SBC profiles beside the site file as the run keeps them, by file name."""
    return {name: encode_profile(profile) for name, profile in file.beside.items()}


def sha256_of(text: str) -> str:
    """Return the hash of a text as a file has it."""
    return hashlib.sha256(text.encode()).hexdigest()


def form_fields(matrix: Matrix, plan: Plan, carried_out: AbstractSet[str]) -> list[dict[str, Any]]:
    """Return the forms with their rows; a step that is not *carried_out* waits for a person."""
    return [_form(form, plan, carried_out) for form in matrix.forms]


def _form(form: Form, plan: Plan, carried_out: AbstractSet[str]) -> dict[str, Any]:
    return {
        "id": form.id,
        "part": form.part,
        "title": form.title,
        "site": form.site,
        "host": form.host,
        "rows": [
            {
                "box": row.box,
                "step": row.step.id,
                "section": plan.section_of(row.step).title,
                "text": row.step.text,
                "expected": row.step.expected,
                "mode": _mode(row.step, carried_out),
                "target": row.target,
                "not_applicable": row.not_applicable,
                "notes": list(row.notes),
            }
            for row in form.rows
        ],
    }


def _mode(step: Step, carried_out: AbstractSet[str]) -> str:
    """Return who judges a box: the machine, or a person where the lab has not the part."""
    return (step.mode if step.id in carried_out else Mode.ASSISTED).value
