"""Names and values as SQL text, exact for any name that PostgreSQL accepts.

Law: nothing from a catalogue, a manifest or a setting meets SQL but through here. The sessions of
`hasync.database.psql` pin `standard_conforming_strings`, so that a backslash is only a backslash.
"""

import re
from collections.abc import Mapping

from harness.errors import InputError

MAX_NAME_BYTES = 63  # NAMEDATALEN - 1: PostgreSQL would cut a longer name silently

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")
_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^\W\d][\w$]*)')
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*\Z")
_LISTS = frozenset(  # GUC_LIST_QUOTE: stored as quoted lists (pg_dump's dumputils.c)
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_LIST_ITEM = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^",\s]+))\s*(?:,|\Z)')


def ident(name: str) -> str:
    """Return *name* as a quoted identifier.

    >>> ident('an "odd" name')
    '"an ""odd"" name"'

    Raises:
        InputError: no name of PostgreSQL: empty, with a NUL, or longer than 63 bytes.
    """
    _check(name, "name")
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise InputError("not 1 to 63 bytes long", field="name", value=name)
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    r"""Return *text* as a string constant.

    >>> literal("it's a \\ backslash")
    "'it''s a \\ backslash'"

    Raises:
        InputError: it has a NUL, or cannot be UTF-8.
    """
    _check(text, "text")
    return "'" + text.replace("'", "''") + "'"


def relation(schema: str, name: str) -> str:
    """Return a relation's name for a statement, both parts quoted.

    >>> relation("public", "user")
    '"public"."user"'
    """
    return f"{ident(schema)}.{ident(name)}"


def qualified(schema: str, name: str) -> str:
    """Return a relation's name as facts and reports have it: quoted only where it reads otherwise.

    The same on every version, unlike `quote_ident`, whose keywords change. Not for SQL.

    >>> qualified("public", "calls"), qualified("a.b", "Ü")
    ('public.calls', '"a.b"."Ü"')
    """
    return ".".join(part if _PLAIN.match(part) else ident(part) for part in (schema, name))


def parse_qualified(text: str) -> tuple[str, str]:
    """Return schema and name of a relation that `qualified`, or pg_dump, has written.

    >>> parse_qualified('public."a.b"')
    ('public', 'a.b')

    Raises:
        InputError: not two names joined by a dot.
    """
    parts, at = [], 0
    while match := _PART.match(text, at):
        quoted, plain = match.group("quoted"), match.group("plain")
        parts.append(plain if quoted is None else quoted.replace('""', '"'))
        at = match.end() + 1
        if text[match.end() : at] != ".":
            break
    if len(parts) != 2 or at != len(text) + 1:  # noqa: PLR2004 - schema and name
        raise InputError("not schema.name", field="relation", value=text)
    for part in parts:
        ident(part)
    return parts[0], parts[1]


def assignment(name: str, value: str) -> str:
    r"""Return `"name" TO value` for ALTER DATABASE|ROLE ... SET, from the text in `setconfig`.

    A list such as search_path is stored quoted; as one string it would name one odd schema.

    >>> assignment("search_path", '"$user", public')
    '"search_path" TO \'$user\', \'public\''
    >>> assignment("work_mem", "64MB")
    '"work_mem" TO \'64MB\''

    Raises:
        InputError: no name of a setting, or no list where one must be.
    """
    if not _SETTING.match(name):
        raise InputError("no name of a setting", field="setting", value=name)
    shown = ".".join(f'"{part}"' for part in name.split("."))
    if name.lower() not in _LISTS:
        return f"{shown} TO {literal(value)}"
    items = _list_items(name, value)
    return f"{shown} TO {', '.join(literal(item) for item in items)}"


def conninfo(words: Mapping[str, str]) -> str:
    r"""Return a libpq connection string; each value quoted, so none can be taken for a keyword.

    >>> conninfo({"dbname": "it's"})
    "dbname='it\\'s'"

    Raises:
        InputError: a value has a NUL.
    """
    for key, value in words.items():
        _check(value, key)
    return " ".join(
        f"{key}='{value.replace(chr(92), chr(92) * 2).replace(chr(39), chr(92) + chr(39))}'"
        for key, value in words.items()
    )


def _list_items(name: str, value: str) -> tuple[str, ...]:
    items, at = [], 0
    while at < len(value):
        match = _LIST_ITEM.match(value, at)
        if match is None:
            raise InputError("not a list of names", field=name, value=value)
        quoted, plain = match.group("quoted"), match.group("plain")
        items.append(plain if quoted is None else quoted.replace('""', '"'))
        at = match.end()
    return tuple(items) or ("",)


def _check(text: str, field: str) -> None:
    """Refuse what libpq would cut short, or could not send."""
    if "\0" in text:
        raise InputError("has a NUL character", field=field, value=text)
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InputError("is no Unicode text", field=field, value=ascii(text))
