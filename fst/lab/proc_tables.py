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


def processes() -> list[str]:
    """Return the lines of `ps -ww -eo pid,lstart,args`."""
    stat = Path("/proc/stat").read_text(encoding="ascii").split()
    boot_s, ticks_hz = int(stat[stat.index("btime") + 1]), os.sysconf("SC_CLK_TCK")
    lines = ["    PID                  STARTED COMMAND"]
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            args = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        start_s = boot_s + int(rest.split()[START_FIELD]) // ticks_hz
        started = time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(start_s))
        shown = args.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
        lines.append(f"{folder.name:>7} {started} {shown or f'[{name}]'}")
    return lines


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
