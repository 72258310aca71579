"""The command lines of pgsync and ngpsync, as values: anything not exactly right is refused.

Options may stand anywhere: the original took the last word for the host, whatever it was, and
ignored what it did not know. Here `pgsync HOST -b 5` and `pgsync -b 5 HOST` are the same.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from harness.errors import InputError

VERSION = "0.1.0"
TIMEOUT_S, JOBS, BACKUPS = 3600, 1, 14  # the guide's defaults
MAX_TIMEOUT_S = 7 * 86_400
MAX_JOBS = 64
MAX_BACKUPS = 100_000
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_CONFIG = "settings (default: $HASYNC_CONFIG, then /etc/hasync/hasync.toml)"


@dataclass(frozen=True, slots=True)
class PgsyncOptions:
    """What one run of pgsync was asked for."""

    host: str  # HOST or HOST:PATH as typed; hasync.peer.address reads it
    timeout_s: int = TIMEOUT_S
    jobs: int = JOBS
    backups: int = BACKUPS
    config: str = ""
    dry_run: bool = False
    json: bool = False


@dataclass(frozen=True, slots=True)
class NgpsyncOptions:
    """What one run of ngpsync was asked for."""

    host: str  # "" only with `list`
    backups: int = BACKUPS
    config: str = ""
    dry_run: bool = False
    list: bool = False  # only show what would be archived, and what is left out
    json: bool = False


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `InputError`s of one line; only --help and --version exit."""

    def __init__(self, prog: str, description: str, examples: Sequence[str] = ()) -> None:
        """Describe *prog*; each of *examples* is a whole command line."""
        shown = "".join(f"  {line}\n" for line in examples)
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"examples:\n{shown}" if shown else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--config", metavar="FILE", default="", action=Once, help=_CONFIG)
        self.add_argument("--json", action="store_true", help="print the result as JSON")
        self.add_argument("--version", action="version", version=f"hasync {VERSION}")

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            InputError: always.
        """
        raise InputError(message, fix=f"see {self.prog} --help")


class Once(argparse.Action):
    """Keep a value; the same option again with another value is refused, not overwritten."""

    _given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store *values* under the option's name."""
        before = getattr(namespace, self.dest)
        if self._given and before != values:
            parser.error(f"argument {option_string}: given twice, as {before} and {values}")
        self._given = True
        setattr(namespace, self.dest, values)


def whole(low: int, high: int, fix: str) -> Callable[[str], int]:
    """Return a reader of whole numbers in [low, high]; plain digits, no sign, no blanks."""

    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number from {low} to {high}{fix}"
            )
        return int(text)

    return read


def arguments(parser: Parser, argv: Sequence[str]) -> dict[str, Any]:
    """Return the values of *argv*, options and words in any order.

    Raises:
        InputError: an unknown option, a value missing or wrong, a word too many.
        SystemExit: --help or --version, which have been printed.
    """
    for word in argv:
        if "\0" in word or not word.isprintable():
            raise InputError("control characters in the command line", value=word)
    values = vars(parser.parse_intermixed_args(list(argv)))
    if "" in argv:
        parser.error("an empty word in the command line")
    return values


def pgsync_options(argv: Sequence[str]) -> PgsyncOptions:
    """Return what *argv* asks of pgsync.

    >>> pgsync_options(["db2", "-b", "5"])  # doctest: +ELLIPSIS
    PgsyncOptions(host='db2', timeout_s=3600, jobs=1, backups=5, ...)
    >>> pgsync_options(["-b", "0", "db2"])
    Traceback (most recent call last):
    harness.errors.InputError: argument -b/--backups: '0' is no whole number from 1 to 100000...

    Raises:
        InputError: as in `arguments`, or no host.
        SystemExit: --help or --version.
    """
    parser = Parser(
        "pgsync",
        "Keep the database of the standby site in step with the active one.\n"
        "On the active site: dump, send, and have it verified there.\n"
        "On the standby: restore the newest verified set beside the live database, then swap.",
        (
            "pgsync -j 4 db2.example.net          # the same line in cron on both sites",
            "pgsync 192.0.2.2:/var/lib/hasync/inbox -t 7200 -b 30",
            "pgsync --dry-run db2.example.net     # only say what would be done",
        ),
    )
    _timeout(parser)
    parser.add_argument(
        "-j",
        "--jobs",
        type=whole(1, MAX_JOBS, ""),
        default=JOBS,
        action=Once,
        metavar="JOBS",
        help=f"processes of pg_dump and pg_restore (default {JOBS})",
    )
    _shared(parser, host_needed=True)
    return PgsyncOptions(**arguments(parser, argv))


def ngpsync_options(argv: Sequence[str]) -> NgpsyncOptions:
    """Return what *argv* asks of ngpsync.

    Raises:
        InputError: as in `arguments`, or no host (which only --list can do without).
        SystemExit: --help or --version.
    """
    parser = Parser(
        "ngpsync",
        "On the active site: archive the configuration of the mediation server, and send it.\n"
        "On the standby: take in what has come and keep it; `hasync install` makes it live.",
        (
            "ngpsync ms2.example.net              # the same line in cron on both sites",
            "ngpsync --list                       # what goes into the set, and what does not",
        ),
    )
    parser.add_argument("--list", action="store_true", help="show each path and the rule for it")
    _shared(parser, host_needed=False)
    options = NgpsyncOptions(**arguments(parser, argv))
    if not options.host and not options.list:
        parser.error("the following arguments are required: REMOTE_HOST")
    return options


def _timeout(parser: Parser) -> None:
    parser.add_argument(
        "-t",
        "--timeout",
        dest="timeout_s",
        type=whole(0, MAX_TIMEOUT_S, "; 0 does not wait"),
        default=TIMEOUT_S,
        action=Once,
        metavar="TIMEOUT",
        help=f"seconds that a standby waits for a new set (default {TIMEOUT_S})",
    )


def _shared(parser: Parser, *, host_needed: bool) -> None:
    parser.add_argument(
        "-b",
        "--backups",
        type=whole(1, MAX_BACKUPS, "; the last verified set is never removed"),
        default=BACKUPS,
        action=Once,
        metavar="BACKUPS",
        help=f"sets to keep (default {BACKUPS}), at least 1",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
    parser.add_argument(
        "host",
        metavar="REMOTE_HOST",
        nargs=None if host_needed else "?",
        default="",
        help="HOST, HOST:PATH or [IPv6]:PATH of the other site",
    )
