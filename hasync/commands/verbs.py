"""The command line of `hasync`, as values: a verb, and what belongs to it, in any order."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import InputError
from hasync.commands.checks import Thresholds
from hasync.commands.options import (
    BACKUPS,
    JOBS,
    MAX_BACKUPS,
    MAX_JOBS,
    VERSION,
    Once,
    Parser,
    arguments,
    whole,
)

MAX_EPOCH = 999_999


@dataclass(frozen=True, slots=True)
class HasyncOptions:
    """What one run of hasync was asked for; each verb uses some of it."""

    verb: str
    action: str = ""  # tail: list, diff, ack, restore; role: show, set
    word: str = ""  # a set, a tail, a file, a role
    config: str = ""
    json: bool = False
    dry_run: bool = False
    jobs: int = JOBS
    backups: int = BACKUPS
    all: bool = False
    force: bool = False
    trusted: bool = False
    undo: bool = False
    export: str = ""
    name: str = ""  # of the database that a tail is restored into
    unseen: bool = False
    epoch: int = 0
    why: str = ""
    warning_s: int = Thresholds().warning_s
    critical_s: int = Thresholds().critical_s
    site: str = ""
    peer: str = ""
    base: str = ""


_Adds = Callable[[Parser], None]


def _nothing(parser: Parser) -> None:
    del parser


def _set(help_text: str, *, needed: bool = True) -> _Adds:
    def add(parser: Parser) -> None:
        nargs = None if needed else "?"
        parser.add_argument("word", metavar="SET", nargs=nargs, default="", help=help_text)

    return add


def _dry(parser: Parser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only print what would be done")


def _jobs(parser: Parser) -> None:
    parser.add_argument(
        "-j", "--jobs", type=whole(1, MAX_JOBS, ""), default=JOBS, action=Once, metavar="JOBS",
        help="processes of pg_restore",
    )  # fmt: skip


def _check(parser: Parser) -> None:
    limits, seconds = Thresholds(), whole(1, 366 * 86_400, "")
    for name, short, value in (
        ("warning", "-w", limits.warning_s),
        ("critical", "-c", limits.critical_s),
    ):
        parser.add_argument(
            short, f"--{name}", dest=f"{name}_s", type=seconds, default=value, action=Once,
            metavar="SECONDS", help=f"age of proven data that is {name} (default {value})",
        )  # fmt: skip


def _verify(parser: Parser) -> None:
    _set("name or id of the set", needed=False)(parser)
    parser.add_argument("--all", action="store_true", help="every set of the catalogue")


def _restore(parser: Parser) -> None:
    _set("name or id; left out: the newest that is newer than what is live", needed=False)(parser)
    _jobs(parser)
    _dry(parser)


def _rollback(parser: Parser) -> None:
    parser.add_argument("--force", action="store_true", help="whatever role and service say")
    _dry(parser)


def _tail(parser: Parser) -> None:
    parser.add_argument("action", choices=("list", "diff", "ack", "restore"))
    _set("name of the tail, or of its set (diff, ack, restore)", needed=False)(parser)
    parser.add_argument("--export", metavar="FOLDER", default="", action=Once,
                        help="diff: write the rows into files there")  # fmt: skip
    parser.add_argument("--unseen", action="store_true",
                        help="ack: although no diff was made of it")  # fmt: skip
    parser.add_argument("--as", metavar="DATABASE", dest="name", default="", action=Once,
                        help="restore: its name (default NAME__tail_ID)")  # fmt: skip
    _jobs(parser)
    _dry(parser)


def _role_word(text: str) -> str:
    if text not in {"active", "standby", ""}:  # "": left out
        raise argparse.ArgumentTypeError(f"{text!r} is no role: active or standby")
    return text


def _role(parser: Parser) -> None:
    parser.add_argument("action", choices=("show", "set"), nargs="?", default="show")
    parser.add_argument("word", metavar="ROLE", type=_role_word, nargs="?",
                        default="", help="active or standby")  # fmt: skip
    parser.add_argument("--epoch", type=whole(1, MAX_EPOCH, ""), default=0, action=Once,
                        help="one more than any before, for a new active site")  # fmt: skip
    parser.add_argument("--force", action="store_true",
                        help="a standby's epoch that nothing here knows of")  # fmt: skip
    parser.add_argument("--why", default="", action=Once, help="goes on record")


def _import(parser: Parser) -> None:
    parser.add_argument("word", metavar="FILE", help="a pgbackup*.tgz of the scripts before")
    help_text = "I know who made it: it is not signed, and restoring it runs its SQL"
    parser.add_argument("--trusted", action="store_true", help=help_text)
    _jobs(parser)
    _dry(parser)


def _install(parser: Parser) -> None:
    _set("name or id of an application set", needed=False)(parser)
    parser.add_argument("--undo", action="store_true", help="the trees before become live again")
    _dry(parser)


def _keep(parser: Parser) -> None:
    parser.add_argument("-b", "--backups", type=whole(1, MAX_BACKUPS, ""), default=BACKUPS,
                        action=Once, metavar="BACKUPS", help="sets to keep")  # fmt: skip
    _dry(parser)


def _init(parser: Parser) -> None:
    parser.add_argument("--site", required=True, help="name of this site")
    parser.add_argument("--peer", required=True, help="name of the other site")
    parser.add_argument("--base", required=True, help="folder for everything, made with mode 0700")


def _hold(parser: Parser) -> None:
    _set("name or id")(parser)
    parser.add_argument("--why", required=True, help="goes on record")


def _doctor(parser: Parser) -> None:
    parser.add_argument("word", metavar="REMOTE_HOST", nargs="?", default="",
                        help="also ask the other site")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: what it is for, and its options."""

    does: str
    adds: _Adds = _nothing
    locked: bool = False  # it changes what another run may be changing
    asks: bool = False  # a run that only waits for a set ends for it; not what may stand in cron


VERBS: dict[str, Verb] = {
    "status": Verb("role, sets, proven RPO, measured RTO, trend"),
    "check": Verb("the same for monitoring: Nagios exit codes and perfdata", _check),
    "sets": Verb("list the catalogue, strangers and backups of the scripts before"),
    "verify": Verb("check signature, size and SHA-256 of sets here", _verify),
    "restore": Verb(
        "make a set the live database; the old one stays beside it", _restore, True, True
    ),
    "rollback": Verb("exchange the live database and its predecessor", _rollback, True, True),
    "recover": Verb("settle what an interrupted run has left", _dry, True, True),
    "tail": Verb(
        "rows that no set of the other site has: list, diff, ack, restore", _tail, asks=True
    ),
    "doctor": Verb("look for what would make the next run fail", _doctor),
    "role": Verb("show the role of this site, or declare it", _role),
    "pin": Verb("never remove a set", _set("name or id")),
    "unpin": Verb("leave a set to retention again", _set("name or id")),
    "hold": Verb("no run takes a set by itself", _hold),
    "release": Verb("runs may take a held set again", _set("name or id")),
    "keep": Verb("remove the sets that no rule keeps", _keep, True),
    "import": Verb("prove a backup of the scripts before by restoring it", _import, True, True),
    "install": Verb("make an application set live; --undo takes it back", _install, True, True),
    "agent": Verb("answer the other site (forced command of its ssh key)"),
    "init": Verb("write the folders and an example of the settings", _init),
}
_ASKS = (
    "\nA pgsync that only waits for a set steps aside for it; one that restores is never cut short."
)
_EXAMPLES = (
    "hasync status",
    "hasync restore --dry-run",
    "hasync rollback                # the database before, in seconds",
    "hasync check -w 93600 -c 180000",
    "hasync VERB --help",
)
_VALUED = frozenset({"--config", "-j", "--jobs", "-w", "--warning", "-c", "--critical", "--epoch",
                     "--why", "--export", "--as", "-b", "--backups", "--site", "--peer",
                     "--base"})  # fmt: skip


def verb_of(argv: Sequence[str]) -> str:
    """Return the verb among *argv*: the first word that is no option, nor the value of one.

    >>> verb_of(["--config", "x.toml", "status", "--json"]), verb_of(["-h"])
    ('status', '')
    """
    at = _place_of_verb(argv)
    return "" if at is None else argv[at]


def _place_of_verb(argv: Sequence[str]) -> int | None:
    is_value = False
    for at, word in enumerate(argv):
        if not is_value and not word.startswith("-"):
            return at
        is_value = not is_value and word in _VALUED
    return None


def hasync_options(argv: Sequence[str]) -> HasyncOptions:
    """Return what *argv* asks of hasync.

    Raises:
        InputError: no such verb, or what does not belong to it.
        SystemExit: --help or --version, which have been printed.
    """
    at = _place_of_verb(argv)
    verb = "" if at is None else argv[at]
    if at is None or verb not in VERBS:
        listed = "".join(f"\n  {name:10}{one.does}" for name, one in VERBS.items())
        general = Parser(
            "hasync", f"Warm standby of a database and an application.\n{listed}", _EXAMPLES
        )
        general.add_argument("verb", metavar="VERB", nargs="?", default="")
        arguments(general, argv)
        if verb:
            raise InputError("no such verb", value=verb, fix="see hasync --help")
        raise InputError("which verb?", fix=f"one of: {', '.join(VERBS)}")
    rest = [*argv[:at], *argv[at + 1 :]]
    does = VERBS[verb].does + (_ASKS if VERBS[verb].asks else "")
    parser = Parser(f"hasync {verb}", does)
    VERBS[verb].adds(parser)
    options = HasyncOptions(verb, **arguments(parser, rest))
    _belong(options, parser)
    return options


def _belong(options: HasyncOptions, parser: Parser) -> None:
    """Refuse words that do not go together."""
    match options.verb, options.action:
        case "tail", "diff" | "ack" | "restore" if not options.word:
            parser.error("which tail? see hasync tail list")
        case "tail", action if options.export and action != "diff":
            parser.error("--export belongs to tail diff")
        case "tail", action if options.unseen and action != "ack":
            parser.error("--unseen belongs to tail ack")
        case "tail", action if action != "restore" and _of_restore(options):
            parser.error("--as, --jobs and --dry-run belong to tail restore")
        case "tail", "list" if options.word:
            parser.error(f"unrecognized arguments: {options.word}")
        case "role", "set" if not options.word or not options.epoch:
            parser.error("role set needs active or standby, and --epoch N")
        case "role", "show" if options.word or options.epoch:
            parser.error("role show takes nothing; to declare: role set ROLE --epoch N")
        case "verify", _ if bool(options.word) == options.all:
            parser.error("name one set, or --all")
        case "install", _ if bool(options.word) == options.undo:
            parser.error("name one set, or --undo")
        case _:
            return


def _of_restore(options: HasyncOptions) -> bool:
    return bool(options.name or options.dry_run or options.jobs != JOBS)


__all__ = ["VERBS", "VERSION", "HasyncOptions", "Verb", "hasync_options", "verb_of"]
