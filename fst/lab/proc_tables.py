"""The edge that prints what `ps` and `ss` print, from /proc, on machines that lack them.

A lab must run after one line of apt that brings neither procps nor iproute2. Started by path, as a
program of the standard library alone: `python -I -S proc_tables.py ps | ss ADDRESS`.
"""

import os
import socket
import struct
import sys
import time
from pathlib import Path

STATES = (  # include/net/tcp_states.h, in its order from 1
    *("ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN"),
    *("CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"),
)
HIDDEN = ("LISTEN", "UNCONN")  # `ss` shows them with -l or -a only
START_FIELD = 19  # of /proc/PID/stat, counted from the state; proc(5): starttime
USAGE = 2
# procps 4.0.2 with LC_ALL=C: a row is one line of ASCII, whatever a process has in its arguments.
ODD = bytes(range(1, 32)) + b"\x7f", bytes(range(128, 256))  # shown as "." and as "?"
SHOWN = bytes.maketrans(b"".join(ODD), b"." * len(ODD[0]) + b"?" * len(ODD[1]))


def processes() -> list[str]:
    """Return the lines of `ps -ww -eo pid,lstart,args`."""
    stat = Path("/proc/stat").read_text(encoding="ascii").split()
    boot_s, ticks_hz = int(stat[stat.index("btime") + 1]), os.sysconf("SC_CLK_TCK")
    lines = ["    PID                  STARTED COMMAND"]
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            stat_line = (folder / "stat").read_bytes()
            args = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        name, _, rest = stat_line.partition(b"(")[2].rpartition(b")")
        facts = rest.split()
        start_s = boot_s + int(facts[START_FIELD]) // ticks_hz
        started = time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(start_s))
        lines.append(f"{folder.name:>7} {started} {_command(name, facts[0], args)}")
    return lines


def _command(name: bytes, state: bytes, args: bytes) -> str:
    """Return the last column: the arguments on one line, or the name of what has none."""
    words = args.rstrip(b"\0").replace(b"\0", b" ").replace(b"\n", b" ")
    if not words:
        words = b"[" + name + b"]" + (b" <defunct>" if state == b"Z" else b"")
    return words.translate(SHOWN).decode("ascii")


def sockets(address: str) -> list[str]:
    """Return the lines of `ss -tn src ADDRESS`."""
    lines = ["State  Recv-Q Send-Q  Local Address:Port  Peer Address:Port Process"]
    for row in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = row.split()
        local, remote = _end(fields[1]), _end(fields[2])
        state = STATES[int(fields[3], 16) - 1]
        if state not in HIDDEN and local.rpartition(":")[0] == address:
            sent, received = (int(part, 16) for part in fields[4].split(":"))
            lines.append(f"{state:<6} {received:<6} {sent:<6} {local} {remote}")
    return lines


def _end(text: str) -> str:
    """Return address:port of an entry, whose address is in the machine's own byte order."""
    host, _, port = text.partition(":")
    return f"{socket.inet_ntoa(struct.pack('=I', int(host, 16)))}:{int(port, 16)}"


def main(argv: list[str]) -> int:
    """Print one table; return an exit code."""
    match argv:
        case ["ps"]:
            lines = processes()
        case ["ss", address]:
            lines = sockets(address)
        case _:
            sys.stderr.write("proc_tables: ps | ss ADDRESS\n")
            return USAGE
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
