"""Versions of PostgreSQL's programs as they name themselves, and which of them are unsafe.

A dump archive is code for the program that reads it. CVE-2026-116314 (a crafted archive runs code
as the user of pg_restore) and CVE-2026-18408 are mended from the minors below on; a set is
authenticated before pg_restore reads it, so this is the second lock and not the only one.
"""

import re

MENDED = {18: 7, 17: 12, 16: 16, 15: 20, 14: 25}  # major: first minor without the two
CVES = "CVE-2026-116314, CVE-2026-18408"
_VERSION = re.compile(r"\(PostgreSQL\) ([0-9]{1,3})(?:\.([0-9]{1,3}))?(?:\.([0-9]{1,3}))?")


def parse(text: str) -> tuple[int, int] | None:
    """Return major and minor in a program's own words; None when they name none.

    >>> parse("pg_restore (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), parse("pg_dump")
    ((15, 18), None)
    """
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2] or 0)) if found else None


def affected(version: tuple[int, int]) -> bool:
    """Say whether a program of *version* has the two faults; a major that gets no fixes has.

    >>> affected((15, 19)), affected((15, 20)), affected((13, 99)), affected((19, 0))
    (True, False, True, False)
    """
    major, minor = version
    if major > max(MENDED):
        return False
    return major not in MENDED or minor < MENDED[major]


def table() -> str:
    """Return the first safe minors in words.

    >>> table()
    '18.7, 17.12, 16.16, 15.20, 14.25'
    """
    return ", ".join(f"{major}.{minor}" for major, minor in MENDED.items())
