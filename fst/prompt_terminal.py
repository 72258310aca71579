"""The edge that asks on the controlling terminal, whatever was done to stdin, stdout and stderr.

/dev/tty is opened anew, so pytest's capture and redirected streams do not matter. The terminal
stays in its line mode: nothing has to be put back when the program is killed, Ctrl-Z and Ctrl-C do
what they always do, and a slow line over ssh shows the same as a fast one.

Laws: what was typed before a question came up never answers it (typed-ahead input is dropped, and
after a question that somebody else answered an Enter is asked for first); in the background nothing
is read, because that would stop the whole run.
"""

import asyncio
import getpass
import logging
import os
import socket
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from fst.prompt import Answer, Prompt
from fst.prompt_desk import Counter
from fst.prompt_pad import PromptPad
from harness.clock import Clock
from harness.errors import HarnessError, ToolError

logger = logging.getLogger(__name__)

DEVICE = "/dev/tty"
LOOK_AGAIN_S = 1.0  # whether a program in the background was brought to the front
MAX_LINE_BYTES = 16_384
FIRST_PTS, LAST_PTS = 136, 143  # major numbers of /dev/pts (Linux admin-guide/devices.txt)


def has_terminal(device: str = DEVICE) -> bool:
    """Say whether this process has a terminal that a person could sit at."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def login() -> str:
    """Return who works here: the person, also under sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # no entry for this uid
        return f"uid {os.getuid()}"


def terminal_name() -> str:
    """Return the terminal of this process, and from where it is used over ssh."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    number = int(fields[4])  # tty_nr, proc(5)
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    name = f"tty{minor}" if major not in range(FIRST_PTS, LAST_PTS + 1) else ""
    name = name or f"pts/{(major - FIRST_PTS) * 256 + minor}"
    address = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return f"terminal {name} of {socket.gethostname()}" + (
        f", ssh from {address}" if address else ""
    )


class PromptTerminal:
    """The controlling terminal as a channel of the desk."""

    def __init__(
        self,
        clock: Clock,
        *,
        device: str = DEVICE,
        status: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Keep the parts; `open` opens the device. *status* is shown above each question."""
        self._clock, self._device = clock, device
        self._file = -1
        self._counter: Counter | None = None
        self._pad = PromptPad(self._width, status)
        self._typed = b""
        self._unwritten = b""

    async def open(self, counter: Counter) -> None:
        """Open the device; raises ToolError when there is none."""
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._file = os.open(self._device, flags)
        except OSError as error:
            raise ToolError(f"{self._device}: no terminal: {error.strerror}") from error
        self._counter = counter
        asyncio.get_running_loop().add_reader(self._file, self._readable)

    async def close(self) -> None:
        """Close the device."""
        self._give_up()

    def show(self, prompt: Prompt) -> None:
        """Put the question, unless another one waits for its answer here."""
        if self._pad.asked(prompt):
            self._forget_typed()
        self._print()

    def note(self, prompt: Prompt, line: str) -> None:
        """Add a line to the question that is shown."""
        self._pad.note(prompt.id, line)
        self._print()

    def closed(self, prompt: Prompt, answer: Answer | None) -> None:
        """Tell who has answered, and go on to the next question."""
        is_own = answer is not None and answer.where == terminal_name()
        if self._pad.closed(prompt.id, answer, is_own=is_own):
            self._forget_typed()
        self._print()

    def tell(self, line: str) -> None:
        """Show nothing: the run itself prints the line here, above what it is drawing."""

    def redraw(self) -> None:
        """Show the question again; what was typed so far stays typed."""
        self._pad.redraw()
        self._print()

    def _forget_typed(self) -> None:
        """Drop what was typed before the question that now comes up."""
        self._typed = b""
        with suppress(OSError, termios.error):  # gone: the next read tells
            if self._is_in_front():
                termios.tcflush(self._file, termios.TCIFLUSH)

    def _is_in_front(self) -> bool:
        """Say whether it is this program that is typed to; if not, a read or a flush stops it."""
        return os.tcgetpgrp(self._file) == os.getpgrp()

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._file).columns or 80  # 0: nobody has told it
        except OSError:
            return 80

    def _readable(self) -> None:
        """Take what was typed, if this program is the one that is typed to."""
        try:
            if not self._is_in_front():
                self._look_again()
                return
            got = os.read(self._file, MAX_LINE_BYTES)
            if not got:
                termios.tcgetattr(self._file)  # Ctrl-D: nothing typed; else it is gone
        except BlockingIOError:
            return
        except (OSError, termios.error) as error:
            logger.warning("terminal=%s gone=%s", self._device, error)
            self._give_up()
            return
        *lines, self._typed = (self._typed + got)[-MAX_LINE_BYTES:].split(b"\n")
        for line in lines:
            self._take(line.decode("utf-8", "replace"))

    def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._file)
        loop.call_later(LOOK_AGAIN_S, self._read_on)

    def _read_on(self) -> None:
        if self._file >= 0:
            asyncio.get_running_loop().add_reader(self._file, self._readable)

    def _take(self, line: str) -> None:
        """Take one typed line: an answer, or part of one."""
        offered = self._pad.typed(line)
        if offered is not None and self._counter is not None:
            prompt, key, words = offered
            answer = Answer(key, words, login(), terminal_name(), self._clock.wall_ns())
            try:
                first = self._counter.offer(prompt.id, answer)
            except HarnessError as error:
                self._pad.tell(str(error))
            else:
                if first is not None:
                    self._pad.too_late(prompt, first)
        self._print()

    def _print(self) -> None:
        text = "".join(f"{line}\n" for line in self._pad.lines())
        self._unwritten += text.encode("utf-8", "replace")
        self._write()

    def _write(self) -> None:
        """Write what the terminal takes; the rest when it takes more (Ctrl-S holds it up)."""
        if self._file < 0:
            self._unwritten = b""
            return
        loop = asyncio.get_running_loop()
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]
        except BlockingIOError:
            loop.add_writer(self._file, self._write)
        except OSError as error:
            logger.warning("terminal=%s gone=%s", self._device, error)
            self._give_up()
        else:
            loop.remove_writer(self._file)

    def _give_up(self) -> None:
        """Close the device; the other channels go on."""
        if self._file >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._file)
            loop.remove_writer(self._file)
            os.close(self._file)
            self._file = -1
