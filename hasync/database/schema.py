"""What a schema is, from the text of `pg_dump -s` or `pg_restore -s`: a fingerprint, and more.

Law: the same schema gives the same fingerprint from the source, from its archive, and from the
database that the archive was restored into. Three things in the text differ though the schema does
not: the order of independent objects, the settings between them, and expressions that PostgreSQL
rewrites when it reads its own text back (`x IN ('a', 'b')` on a varchar; an OR within an OR).
"""

import hashlib
import re
from collections.abc import Iterator

from hasync.database.sql import parse_qualified, qualified

_END = "-- PostgreSQL database dump complete"
_ENTRY = re.compile(rf"^--\n(?=-- (?:Data for )?Name: |{_END}$)", re.MULTILINE)
_TYPE = re.compile(r"-- .*; Type: ([A-Z ]+); Schema: ")
_BETWEEN = re.compile(r"^(?:SET default_\w+ = .*;|\\(?:un)?restrict .*)$\n?", re.MULTILINE)
_METHOD = re.compile(r"^SET default_table_access_method = (.*);$", re.MULTILINE)
_STORED = frozenset({"TABLE", "MATERIALIZED VIEW"})  # what has a table access method
_CONTENT = frozenset(  # in an archive's schema, and not in a schema dump's: see facts instead
    {"MATERIALIZED VIEW DATA", "BLOB", "BLOBS", "BLOB METADATA", "SEQUENCE SET", "TABLE DATA"}
)
_SETVAL = re.compile(
    r"^SELECT pg_catalog\.setval\('((?:[^']|'')*)', (-?\d+), (true|false)\);$", re.MULTILINE
)
_ARRAY = "(ARRAY["
_CAST = re.compile(r'\)::([\w ."]+?(?:\(\d+\))?)\[\]')
_SKIP = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_TOKEN = re.compile(rf"{_SKIP.pattern}|[()\s]+", re.DOTALL)
_DEPTH = {"(": 1, "[": 1, ")": -1, "]": -1}


def fingerprint(text: str) -> str:
    """Return the SHA-256 of the schema that *text* describes, in hex."""
    first, *entries = _ENTRY.split(text)
    method, kept = _access_method(first, ""), []
    for entry in entries:
        match = _TYPE.match(entry)
        kind = match[1] if match else ""
        if kind not in _CONTENT and not entry.startswith(_END):
            head = f"{method}\n" if kind in _STORED else ""
            name, _, body = entry.partition("\n")
            kept.append(f"{head}{name}\n{_bare(_read_back(_BETWEEN.sub('', body)))}")
        method = _access_method(entry, method)
    return hashlib.sha256("\0".join(sorted(kept)).encode()).hexdigest()


def sequence_values(text: str) -> dict[str, tuple[int, bool]]:
    """Return last value and whether it was handed out, for each `setval` that pg_dump wrote.

    >>> sequence_values("SELECT pg_catalog.setval('public.s', 7, true);")
    {'public.s': (7, True)}

    Raises:
        InputError: a name that is none.
    """
    found = {}
    for name, value, called in _SETVAL.findall(text):
        where = qualified(*parse_qualified(name.replace("''", "'")))
        found[where] = (int(value), called == "true")
    return found


def _access_method(text: str, before: str) -> str:
    """Return the access method of the tables after *text*."""
    found = _METHOD.findall(text)
    return found[-1] if found else before


def _read_back(text: str) -> str:
    """Return *text* as PostgreSQL writes it once it has read it: casts of arrays go to their items.

    >>> _read_back("(v)::text = ANY ((ARRAY['a'::varchar, w])::text[])")
    "(v)::text = ANY (ARRAY[('a'::varchar)::text, (w)::text])"
    """
    at = len(text)
    while (at := text.rfind(_ARRAY, 0, at)) >= 0:
        inside = at + len(_ARRAY)
        items = tuple(_items(text, inside))
        end = items[-1][1] if items else -1
        cast = _CAST.match(text, end + 1) if items else None
        if cast:
            cast_items = ", ".join(f"({text[i:j]})::{cast[1]}" for i, j in items)
            text = f"{text[:at]}ARRAY[{cast_items}]{text[cast.end() :]}"
    return text


def _bare(text: str) -> str:
    """Return *text* without the brackets and white space of its expressions; quotes are kept.

    >>> _bare("CHECK (((a > 0) OR (b = '( )')) OR c)")
    "CHECKa>0ORb='( )'ORc"
    """
    return _TOKEN.sub(lambda match: "" if match[0][0] in "() \n\t" else match[0], text)


def _items(text: str, begin: int) -> Iterator[tuple[int, int]]:
    """Give where each item of the array that begins at *begin* starts and ends; none if unended."""
    found: list[tuple[int, int]] = []
    at, depth = begin, 0
    while at < len(text):
        quoted = _SKIP.match(text, at)
        if quoted:
            at = quoted.end()
            continue
        depth += _DEPTH.get(text[at], 0)
        if depth < 0:
            if text[at] == "]":
                yield from (*found, (begin, at))
            return
        if depth == 0 and text.startswith(", ", at):
            found.append((begin, at))
            begin = at = at + 2
            continue
        at += 1
