"""The words between two sites: one JSON request, one answer line with a sentinel.

Law: the other site is hostile until proved otherwise. Every text has a grammar and a bound, every
number a range, every object exactly its fields; what does not fit is refused whole.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

from harness.errors import InputError
from hasync.failure import Exit, Stop
from hasync.role import MAX_EPOCH, Restored, Role, SiteFact

PROTOCOL = 2
SENTINEL = "HASYNC-ANSWER"  # a profile or banner may print around it
MAX_REQUEST_BYTES = 1 << 18
MAX_ANSWER_BYTES = 1 << 20
MAX_IDS = 4096  # the newest are told
MAX_PARTS = 64
MAX_EXIT_CODE = 255
MAX_COUNT = 1 << 62  # of bytes, sequences and nanoseconds: fits every field that stores one
MAX_TEXT = 1000  # characters of a reason

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)  # as hasync.sets.manifest has it
_STREAM = re.compile(r"(db|app|rp|tail)/[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_FOLDER = re.compile(r"(/[A-Za-z0-9_.+,=@-]{1,255}){0,64}", re.ASCII)
_PROGRAM = re.compile(r"[a-z0-9_.-]{1,40}", re.ASCII)
_VERSION = re.compile(r"[ -~]{1,120}", re.ASCII)
_ANSWER_CODES = frozenset(code for code in Exit if code not in {Exit.OK, Exit.SIGNAL})


class PeerStop(Stop):
    """What the other site said why not; its words are shown, never obeyed."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a site says of itself; from the other site it is a claim, checked for its form only."""

    site: str
    role: Role
    epoch: int
    at_ns: int  # its wall clock
    free_bytes: int = 0  # that the inbox may still take
    inbox: str = ""  # as rsync must name it there; "": it is all that rsync sees there
    base: str = ""  # the folder of all, for people and for HOST:PATH
    sequences: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    ids: tuple[str, ...] = ()  # of the sets in its catalogue, the newest first
    parts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    corrupt: tuple[str, ...] = ()  # ids of the sets that have rotted in its catalogue
    restored_id: str = ""  # of the set that is live there; "": none is known
    restored_at_ns: int = 0
    restored_snapshot_ns: int = 0
    restored_took_ms: int = 0
    exit_code: int = 0  # of its last pgsync that had ended
    failures: int = 0  # of its pgsync, in row

    def __post_init__(self) -> None:
        """Refuse what has not the form; `sequences` go by kind/site, `parts` are bytes by id."""
        _text("site", self.site, _SITE)
        _count("epoch", self.epoch, MAX_EPOCH)
        _count("at_ns", self.at_ns)
        _count("free_bytes", self.free_bytes)
        for name in ("inbox", "base"):
            _text(name, getattr(self, name), _FOLDER)
            if {".", ".."} & set(getattr(self, name).split("/")):
                _refuse(name, getattr(self, name), "not a plain path")
        _table("sequences", self.sequences, MAX_IDS, _STREAM, _count)
        _table("parts", self.parts, MAX_PARTS, _ID, _count)
        _table("versions", self.versions, MAX_PARTS, _PROGRAM, _version)
        for name, ids in (("ids", self.ids), ("corrupt", self.corrupt)):
            if len(ids) > MAX_IDS:
                _refuse(name, len(ids), f"more than {MAX_IDS}")
            for one in ids:
                _text(name, one, _ID)
        if self.restored_id:
            _text("restored_id", self.restored_id, _ID)
        for name in ("restored_at_ns", "restored_snapshot_ns", "restored_took_ms", "failures"):
            _count(name, getattr(self, name))
        _count("exit_code", self.exit_code, MAX_EXIT_CODE)

    @property
    def fact(self) -> SiteFact:
        """Return what decides over publishing and restoring."""
        restored = Restored(
            self.restored_id, self.restored_at_ns, self.restored_snapshot_ns, self.restored_took_ms
        )
        return SiteFact(
            self.site,
            self.role,
            self.epoch,
            restored if self.restored_id else None,
            self.exit_code,
            self.failures,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {name: _plain(getattr(self, name)) for name in _FIELDS}

    @classmethod
    def from_json(cls, found: object) -> "Hello":
        """Return the hello in a JSON value.

        Raises:
            InputError: not exactly the fields, or one that is out of its range.
        """
        known = fields_of(found, _FIELDS)
        for name, kind in _FIELDS.items():
            if type(known[name]) is not kind:
                _refuse(name, known[name], f"not {kind.__name__}")
        if known["role"] not in set(Role):
            _refuse("role", known["role"], "no such role")
        more = {name: tuple(known[name]) for name in ("ids", "corrupt")}
        return cls(**(known | more | {"role": Role(known["role"])}))


@dataclass(frozen=True, slots=True)
class Request:
    """What one site asks of the other: a hello, or the commit of one set."""

    verb: str
    hello: Hello | None = None
    id: str = ""

    def __post_init__(self) -> None:
        """Refuse a verb with another verb's argument."""
        match self.verb, self.hello, self.id:
            case "hello", Hello(), "":
                return
            case "commit", None, wanted:
                _text("id", wanted, _ID)
            case _:
                _refuse("verb", self.verb, "neither hello nor commit")

    def encode(self) -> bytes:
        """Return the request as one line."""
        argument = {"id": self.id} if self.hello is None else {"hello": self.hello.to_json()}
        return _line({"hasync": PROTOCOL, "verb": self.verb, **argument})

    @classmethod
    def parse(cls, raw: bytes) -> "Request":
        """Return the request in *raw*.

        Raises:
            InputError: too long, not JSON, or not exactly a request.
        """
        found = parse_json(raw, MAX_REQUEST_BYTES)
        _speaks(found)
        argument = "hello" if found.get("verb") == "hello" else "id"
        fields_of(found, {"hasync": int, "verb": str, argument: object})
        if argument == "hello":
            return cls("hello", Hello.from_json(found["hello"]))
        verb, wanted = found["verb"], found["id"]
        if not isinstance(verb, str) or not isinstance(wanted, str):
            _refuse("verb", verb, "not text")
        return cls(verb, None, wanted)


def encode_hello(hello: Hello) -> bytes:
    """Return the answer line to a hello."""
    return _answer({"hello": hello.to_json()})


def encode_committed(set_id: str) -> bytes:
    """Return the answer line to a commit that holds."""
    return _answer({"committed": set_id})


def encode_refusal(code: Exit, why: str, fact: str = "", fix: str = "") -> bytes:
    """Return the answer line that says why not."""
    words = {"why": why, "fact": fact, "fix": fix}
    return _answer({"code": int(code)} | {name: readable(text) for name, text in words.items()})


def parse_answer(raw: bytes, *, wanted: str) -> Any:  # noqa: ANN401 - JSON, parsed by the caller
    """Return the field *wanted* (hello, committed) of the one answer in *raw*.

    Raises:
        PeerStop: the other site refused, with its own reason.
        InputError: no answer, two of them, or one that is not exactly an answer.
    """
    head = f"{SENTINEL} ".encode()
    lines = [line for line in raw[: MAX_ANSWER_BYTES + 1].split(b"\n") if line.startswith(head)]
    if len(lines) != 1 or len(raw) > MAX_ANSWER_BYTES:
        raise InputError(f"{len(lines)} answers, not one", file="answer of the peer")
    found = parse_json(lines[0][len(head) :], MAX_ANSWER_BYTES)
    _speaks(found)
    if "code" in found:
        raise _refusal(found)
    return fields_of(found, {"hasync": int, wanted: object})[wanted]


def readable(text: str, limit: int = MAX_TEXT) -> str:
    r"""Return *text* for a log or a terminal: on one line, no control characters, cut at *limit*.

    >>> readable("no\x1b[2Jspace\n")
    'no\\x1b[2Jspace'
    """
    plain = " ".join(text[: 4 * limit].split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)
    return shown if len(shown) <= limit else shown[:limit] + "…"


def parse_json(raw: bytes, limit_bytes: int) -> dict[str, Any]:
    """Return the JSON object in *raw*: no name twice, no NaN, no fraction.

    Raises:
        InputError: too long, or anything else.
    """
    if len(raw) > limit_bytes:
        raise InputError(f"longer than {limit_bytes} bytes", file="message of the peer")
    try:
        found = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_number,
            parse_float=_no_number,
        )
    except (ValueError, RecursionError) as error:
        said = readable(str(error), 200)
        raise InputError(f"not JSON ({said})", file="message of the peer") from error
    if not isinstance(found, dict):
        raise InputError("not a JSON object", file="message of the peer")
    return found


def fields_of(found: object, wanted: Mapping[str, type]) -> dict[str, Any]:
    """Return the object when it has exactly the fields *wanted*.

    Raises:
        InputError: fields are missing, or too many.
    """
    if not isinstance(found, dict):
        raise InputError("not a JSON object", file="message of the peer")
    if found.keys() != wanted.keys():
        odd = readable(" ".join(sorted(map(str, found.keys() ^ wanted.keys()))), 200)
        raise InputError(f"not exactly its fields: {odd}", file="message of the peer")
    return found


_FIELDS: dict[str, type] = {
    "site": str,
    "role": str,
    "epoch": int,
    "at_ns": int,
    "free_bytes": int,
    "inbox": str,
    "base": str,
    "sequences": dict,
    "ids": list,
    "parts": dict,
    "versions": dict,
    "corrupt": list,
    "restored_id": str,
    "restored_at_ns": int,
    "restored_snapshot_ns": int,
    "restored_took_ms": int,
    "exit_code": int,
    "failures": int,
}


def _refusal(found: dict[str, Any]) -> PeerStop:
    """Return the peer's refusal as ours."""
    known = fields_of(found, {"hasync": int, "code": int, "why": str, "fact": str, "fix": str})
    code = known["code"] if type(known["code"]) is int else Exit.FAILED
    words = {name: readable(str(known[name])) for name in ("why", "fact", "fix")}
    return PeerStop(
        Exit(code) if code in _ANSWER_CODES else Exit.FAILED,
        f"the peer says: {words['why']}",
        fact=words["fact"],
        fix=words["fix"],
    )


def _answer(fields: Mapping[str, Any]) -> bytes:
    # A line of its own, also after a profile that printed half of one.
    return b"\n" + f"{SENTINEL} ".encode() + _line({"hasync": PROTOCOL, **fields})


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _speaks(found: dict[str, Any]) -> None:
    if found.get("hasync") != PROTOCOL:
        raise InputError(
            f"not protocol {PROTOCOL}",
            file="message of the peer",
            field="hasync",
            value=found.get("hasync"),
            fix="install the same version of hasync on both sites",
        )


def _plain(value: object) -> object:
    match value:
        case tuple():
            return list(value)
        case Mapping():
            return dict(value)
        case _:
            return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{readable(text, 40)} is no whole number")


def _text(name: str, value: object, grammar: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not grammar.fullmatch(value):
        _refuse(name, value, "not of its form")


def _version(name: str, value: object) -> None:
    _text(name, value, _VERSION)


def _count(name: str, value: object, most: int = MAX_COUNT) -> None:
    if type(value) is not int or not 0 <= value <= most:
        _refuse(name, value, f"not from 0 to {most}")


def _table(
    name: str,
    table: Mapping[str, object],
    most: int,
    key: re.Pattern[str],
    check: Callable[[str, object], None],
) -> None:
    if len(table) > most:
        _refuse(name, len(table), f"more than {most}")
    for one, value in table.items():
        _text(name, one, key)
        check(f"{name}.{one}", value)


def _refuse(name: str, value: object, why: str) -> NoReturn:
    raise InputError(why, file="message of the peer", field=name, value=value)
