"""Somebody's report as rows, whatever its form."""

from harness.errors import InputError
from harness.premises import Premises
from probetest.compare.csv_rows import read_csv
from probetest.compare.foreign import FOREIGN, foreign_form
from probetest.compare.mapping import BUILT_IN, Mapping
from probetest.compare.report import Report

FORMS = (*FOREIGN, *BUILT_IN)
_HEADS = {  # the first line of what can be told by it
    "average-cps": "device,bucket,calls,observed_seconds,missed_seconds,average_cps",
    "peak-cps": "device,bucket,calls,at",
}
_DELIMITERS = ",;\t|"


def read_report(  # noqa: PLR0913 - what it is, and what is wanted of it
    text: str,
    premises: Premises,
    *,
    form: str = "",
    mapping: Mapping | None = None,
    device: str = "",
    file: str = "",
) -> Report:
    """Return what *text* says; without a form or a mapping it is told by its first lines.

    Raises:
        InputError: it is of no form that is known, or not what its form says.
    """
    text = text.removeprefix("\ufeff")  # as spreadsheets write it
    if mapping is not None:
        return read_csv(text, mapping, premises, form="mapping", device=device, file=file)
    form = form or _form(text, file)
    if form in FOREIGN:
        return FOREIGN[form](text, file=file)
    if form not in BUILT_IN:
        raise InputError(
            "no such form", field="--form", value=form, fix="one of " + ", ".join(FORMS)
        )
    own = BUILT_IN[form]
    if form == "tshark-fields":
        own = _with_delimiter(own, text)
    return read_csv(text, own, premises, form=form, device=device, file=file)


def _form(text: str, file: str) -> str:
    """Return the form that *text* has."""
    if form := foreign_form(text):
        return form
    head = text.partition("\n")[0].strip()
    for form, own in _HEADS.items():
        if head == own:
            return form
    if "sip.Call-ID" in head:
        return "tshark-fields"
    names = set(head.split(","))
    for form in ("streams", "calls", "report", "cdr"):
        columns = set(BUILT_IN[form].columns.values())
        needed = {"top_source", "top_destination", "average_cps", "peak_cps"}
        if form == "cdr":
            columns = {"start", "source", "destination"}
        if columns <= names or (form == "report" and "bucket" in names and names & needed):
            return form
    fix = "say what it is with --form or --mapping"
    raise InputError("not a form that is known", file=file, value=head, fix=fix)


def _with_delimiter(own: Mapping, text: str) -> Mapping:
    """Return the mapping with the separator that the first line has."""
    head = text.partition("\n")[0]
    found = [one for one in _DELIMITERS if one in head]
    return Mapping(own.rows, own.columns, found[0] if found else ",", time=own.time)
