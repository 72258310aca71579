"""The edge of the log: a rotating file for each program, which never ends an operation.

The original opened its log on every line, and died of a full disk between dropping the database and
restoring it. Here a line that cannot be written is counted and told at the end.
"""

import logging
import logging.handlers
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_BYTES = 4 << 20
FILES = 5  # rotated ones that stay
LOGGERS = ("hasync", "harness")  # ours; a library's talk stays out
ALOUD = {"aloud": True}  # as `extra` of a log line: told on stderr too, at once


class RotatingLog(logging.handlers.RotatingFileHandler):
    """A rotating file that notes its first failure instead of raising."""

    def __init__(self, path: Path) -> None:
        """Log to *path*; the file is opened with the first line."""
        super().__init__(
            path,
            maxBytes=MAX_BYTES,
            backupCount=FILES,
            encoding="utf-8",
            delay=True,
            errors="backslashreplace",
        )
        self.failure = ""  # why a line is missing; "" none is
        self.setFormatter(_OneLine())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Remember why *record* is not in the log."""
        error = sys.exception()
        self.failure = self.failure or f"{self.baseFilename}: {error}; not logged: {record.msg}"


class _OneLine(logging.Formatter):
    """Time in UTC, level, module, words: one line an event, whatever is in it."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s")
        self.default_time_format = "%Y-%m-%dT%H:%M:%S"
        self.default_msec_format = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as text without line ends or terminal controls."""
        return printable(super().format(record))


class _Aloud(logging.Handler):
    """What a person who looks on should know before the end."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line to stderr when it is one of these; a stderr that is gone is no matter."""
        if sys.stderr is not None and getattr(record, "aloud", False):
            with suppress(OSError, ValueError):
                sys.stderr.write(f"{self._program}: {printable(record.getMessage())}\n")
                sys.stderr.flush()


@contextmanager
def logging_to(folder: Path, program: str) -> Iterator[RotatingLog]:
    """Log what hasync and harness tell to *folder*/*program*.log, and give the handler."""
    handler, aloud = RotatingLog(folder / f"{program}.log"), _Aloud(program)
    before = []
    for name in LOGGERS:
        logger = logging.getLogger(name)
        before.append((logger, logger.level, logger.propagate))
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
        logger.addHandler(aloud)
    try:
        yield handler
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.removeHandler(aloud)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep what is logged outside a log off stderr, where Python would print it."""
    nowhere = logging.NullHandler()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(nowhere)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(nowhere)


def printable(text: str) -> str:
    r"""Return *text* on one line; what a terminal would obey is escaped.

    >>> printable("a\x1b[2Jb\nc")
    'a\\x1b[2Jb | c'
    """
    lines = " | ".join(text.splitlines())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in lines
    )
