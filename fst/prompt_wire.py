"""The lines of a run's prompt socket: one JSON object each, as pure functions.

    desk ──▶ client   hello {run, open} · asked {prompt…} · note {prompt, text} · told {text}
                      closed {prompt, answer|null} · accepted {prompt}
                      refused {prompt, why, answer|null}
    client ──▶ desk   answer {prompt, key, words, who?, where?}

Who connected is known from the kernel; `who` and `where` are what the client adds to it (a page has
many people behind one connection). A later version only adds fields and types: skip the unknown.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fst.prompt import Answer, Choice, Kind, Prompt
from harness.errors import InputError

NAME = "prompt.sock"  # in the run's folder
SCHEMA = 1
MAX_LINE_BYTES = 64 * 1024
MAX_NAME = 100  # characters of who and where


@dataclass(frozen=True, slots=True)
class Offer:
    """An answer as a client sends it."""

    prompt: str
    key: str
    words: str = ""
    who: str = ""
    where: str = ""


def encode(kind: str, /, **fields: object) -> bytes:
    r"""Return one line.

    >>> encode("told", text="hello")
    b'{"type":"told","text":"hello"}\n'
    """
    line = json.dumps({"type": kind, **fields}, ensure_ascii=True, separators=(",", ":"))
    return line.encode() + b"\n"


def encode_closed(prompt_id: str, answer: Answer | None) -> bytes:
    """Return the line that tells who answered (None: the question was withdrawn)."""
    return encode("closed", prompt=prompt_id, answer=None if answer is None else answer.to_json())


def encode_refused(prompt_id: str, why: str, answer: Answer | None = None) -> bytes:
    """Return the line for an answer that does not count; *answer* is the one that was first."""
    found = None if answer is None else answer.to_json()
    return encode("refused", prompt=prompt_id, why=why, answer=found)


def parse_line(line: bytes) -> Mapping[str, Any]:
    """Return the object on *line*.

    Raises:
        InputError: not one JSON object with a type.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError("not JSON", field="line", value=line[:MAX_NAME]) from error
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise InputError("not an object with a type", field="line", value=line[:MAX_NAME])
    return found


def parse_offer(line: bytes) -> Offer:
    """Return the answer on *line*.

    Raises:
        InputError: anything else.
    """
    found = parse_line(line)
    if found["type"] != "answer":
        raise InputError("not an answer", field="type", value=found["type"], fix="use answer")
    texts = {}
    for name in ("prompt", "key", "words", "who", "where"):
        text = found.get(name, "")
        if not isinstance(text, str) or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError("not a text", field=name, value=repr(text))  # no journal could hold it
        texts[name] = text
    for name in ("who", "where"):
        if len(texts[name]) > MAX_NAME or not (texts[name] == "" or texts[name].isprintable()):
            raise InputError("not a name", field=name, value=texts[name])
    if not texts["prompt"] or not texts["key"]:
        raise InputError("an answer needs prompt and key", field="prompt", value=texts["prompt"])
    return Offer(**texts)


def parse_prompt(fields: Mapping[str, Any]) -> Prompt:
    """Return the prompt that an `asked` line holds.

    Raises:
        InputError: a field is missing, or not what it should be.
    """
    try:
        keys = tuple(
            Choice(str(one["key"]), str(one["label"]), bool(one["needs_words"]))
            for one in fields["keys"]
        )
        return Prompt(
            id=str(fields["prompt"]),
            kind=Kind(fields["kind"]),
            site=str(fields["site"]),
            host=str(fields["host"]),
            step=str(fields["step"]),
            target=str(fields["target"]),
            attempt=int(fields["attempt"]),
            does=str(fields["does"]),
            expects=str(fields["expects"]),
            keys=keys,
            numbers=tuple(str(number) for number in fields.get("numbers", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a prompt ({error})", field="asked") from error


def parse_answer(fields: object) -> Answer | None:
    """Return the answer in a `closed` or `refused` line; None when there is none.

    Raises:
        InputError: a field is missing, or not what it should be.
    """
    if fields is None:
        return None
    names = ("key", "words", "who", "where")
    if not isinstance(fields, Mapping) or not all(isinstance(fields.get(n), str) for n in names):
        raise InputError("not an answer", field="answer", value=fields)
    at_ns = fields.get("at_ns")
    if type(at_ns) is not int:
        raise InputError("not a time", field="at_ns", value=at_ns)
    key, words, who, where = (fields[name] for name in names)
    return Answer(key, words, who, where, at_ns)
