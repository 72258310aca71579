"""Every exception this project raises on purpose.

    HarnessError
    ├── InputError            what we were given is wrong; names file, field, value and what to do
    │   ├── NumberError       not a telephone number
    │   └── WireError         bytes that do not parse; carries the offset
    └── ToolError             the harness itself could not do its work (never a FAIL verdict)

A broken rule in the system under test is not an exception: it is a `harness.finding.Finding`.
"""


class HarnessError(Exception):
    """Base of all deliberate errors; anything else that escapes is a bug."""


class InputError(HarnessError):
    """What we were given is wrong: one line with file, field, value, why, and what to do."""

    def __init__(
        self, why: str, *, file: str = "", field: str = "", value: object = None, fix: str = ""
    ) -> None:
        """Keep each part as an attribute; the text joins those that are known.

        >>> str(InputError("no such role", file="s.toml", field="hosts.0.role", value="dns",
        ...                fix="use enum"))
        "s.toml: hosts.0.role = 'dns': no such role; use enum"
        """
        self.why, self.file, self.field, self.value, self.fix = why, file, field, value, fix
        shown = "" if value is None else repr(value)
        if len(shown) > MAX_SHOWN_CHARS:
            shown = shown[:MAX_SHOWN_CHARS] + "…"
        place = f"{field} = {shown}" if field and shown else field or shown
        head = "".join(f"{part}: " for part in (file, place) if part)
        super().__init__(head + why + (f"; {fix}" if fix else ""))


class NumberError(InputError):
    """Text that is not an E.164 telephone number."""

    def __init__(self, text: str, why: str) -> None:
        """Keep the offending *text* whole: it may be the only trace of what a peer sent."""
        super().__init__(f"not an E.164 number: {why}", value=text)
        self.text = text


class WireError(InputError):
    """Bytes that do not parse, with the *offset_bytes* at which reading stopped."""

    def __init__(self, why: str, *, offset_bytes: int, file: str = "", fix: str = "") -> None:
        """Name the place; the bytes themselves stay in the capture."""
        super().__init__(why, file=file, field=f"byte {offset_bytes}", fix=fix)
        self.offset_bytes = offset_bytes


class ToolError(HarnessError):
    """The harness could not do its work; the verdict is OTHER, never FAIL."""


MAX_SHOWN_CHARS = 200  # of a hostile value, in a message: enough to recognise it
