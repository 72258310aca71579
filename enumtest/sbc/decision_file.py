"""The matchers of a site as tables: in its site file, or in a file of their own for the commands.

    [[decisions]]
    decision = "terminate"
    service = "pstn"
    parameters = { cause = "*" }

Laws: an unknown key is an error, because a misspelt one would be silently ignored; the order of the
tables is the order of the matchers.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from enumtest.sbc.decision import Decision, DecisionRule, UserMatch
from enumtest.stub.policy import input_error, parse_toml
from harness.errors import InputError


class DecisionTable(BaseModel):
    """One matcher on the URI that an ENUM answer yields; the first that fits decides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decision: Literal[Decision.ALLOW, Decision.TERMINATE, Decision.REDIRECT]
    scheme: str = ""
    host: str = ""
    user: UserMatch = UserMatch.ANY
    user_text: str = ""
    service: str = ""
    parameters: dict[str, str] = {}

    def rule(self) -> DecisionRule:
        """Return the matcher; what it must not be is a ValueError."""
        values = self.model_dump() | {"parameters": tuple(self.parameters.items())}
        try:
            return DecisionRule(**values)
        except InputError as error:
            raise ValueError(f"{error.why}; {error.fix}") from error

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self.rule()
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    decisions: Annotated[list[DecisionTable], Field(min_length=1)]


def parse_decisions(text: str, file: str = "") -> tuple[DecisionRule, ...]:
    """Return the matchers in the TOML *text*, in its order.

    Raises:
        InputError: not TOML, or wrong fields: all of them in one error.
    """
    try:
        found = _File.model_validate(parse_toml(text, file))
    except ValidationError as error:
        raise input_error(error, file) from error
    return tuple(table.rule() for table in found.decisions)
