"""Every way in which hasync ends, as exit codes that a cron job and an operator can act on.

0 ok, 1 done but look, 2 failed with nothing changed, and the causes below. `hasync check` alone
speaks Nagios (0 ok, 1 warning, 2 critical, 3 unknown).
"""

from enum import IntEnum

from harness.errors import HarnessError


class Exit(IntEnum):
    """The exit codes; stable."""

    OK = 0
    WARNING = 1
    FAILED = 2  # nothing was changed
    RECOVER = 3  # stopped between two steps: `hasync recover`
    CONFIG = 10
    REFUSED = 11  # the role, its epoch, or the service's probe forbids it
    NOT_VERIFIED = 12
    NO_SPACE = 13
    TRANSFER = 14
    TRUST = 15  # host key, signature
    TIMEOUT = 16
    ASIDE = 17  # waited for a set, and made room for a command typed by a person
    LOCKED = 75
    SIGNAL = 128  # plus its number


class Stop(HarnessError):  # noqa: N818 - it is an end, with a reason, more than an error
    """A guard or a failure that ends the operation: what, the fact behind it, how to clear it."""

    def __init__(self, code: Exit, why: str, *, fact: str = "", fix: str = "") -> None:
        """Keep each part; the text joins those that are known.

        >>> str(Stop(Exit.NO_SPACE, "no space for the restore", fact="needs 9 GB, has 2 GB"))
        'no space for the restore: needs 9 GB, has 2 GB'
        """
        self.code, self.why, self.fact, self.fix = code, why, fact, fix
        super().__init__(why + (f": {fact}" if fact else "") + (f"; {fix}" if fix else ""))


class Interrupted(BaseException):
    """A signal asked this process to end; like KeyboardInterrupt, never swallowed on the way."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        self.number = number
        super().__init__(f"signal {number}")
