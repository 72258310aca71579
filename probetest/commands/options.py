"""Options that several commands share: one help text, one range and one default each."""

from pathlib import Path
from typing import Annotated, Literal

import typer

MS = 1_000_000  # nanoseconds
WINDOW_MS = 10.0

DestName = Literal["ruri", "to"]
GroupName = Literal["minute", "hour", "day"]

Site = Annotated[Path | None, typer.Option(help="Site file: dial plan, own numbers.")]
Plan = Annotated[Path | None, typer.Option(help="Dial plan (TOML).")]
Inside = Annotated[list[str] | None, typer.Option(metavar="NET", help="Own network.")]
Trusted = Annotated[
    list[str] | None,
    typer.Option(metavar="NET", help="Whose asserted identities count; default: everybody's."),
]
Dest = Annotated[
    DestName, typer.Option(help="Who was dialled: the Request-URI, or To (access line).")
]
Group = Annotated[GroupName, typer.Option(help="Length of a bucket.")]
ShowRestricted = Annotated[bool, typer.Option(help="Name callers who asked not to be.")]
JoinHeader = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Header that the legs of a call share, such as X-CID."),
]
JoinBySdp = Annotated[bool, typer.Option(help="Legs with the same SDP origin are of one call.")]
WindowMs = Annotated[
    float, typer.Option(min=0, max=400, help="The tap's copies lie at most this far apart.")
]
BlockMib = Annotated[
    int, typer.Option(min=1, max=1024, help="Read so much at a time; memory is about 8 times.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
