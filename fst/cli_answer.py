"""`fst answer RUN`: the questions of a run that is going on, answered from another terminal.

It asks in its own terminal until the run ends; or, with --key, gives one answer and ends. Exit 0:
done; 2: what was given is wrong; 3: nobody asks, or somebody was first.
"""

import os
import selectors
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from fst.answer_client import AnswerClient, One
from fst.prompt_socket import open_folder, short_path
from fst.prompt_terminal import terminal_name
from fst.prompt_wire import NAME
from harness.command_line import EXIT_OTHER, EXIT_USAGE
from harness.errors import InputError, ToolError

READ_BYTES = 65_536


def answer(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")],
    *,
    key: Annotated[str, typer.Option(help="Give this one answer, and end; keys as asked.")] = "",
    words: Annotated[
        str, typer.Option(help="Words of that answer; FAIL and OTHER need them.")
    ] = "",
    prompt: Annotated[str, typer.Option(metavar="ID", help="Which question, if several.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Who answers, if not the login.")] = "",
) -> None:
    """Answer the questions of a run that is going on; the first answer anywhere counts."""
    if not key and (words or prompt):
        raise InputError(
            "only with --key", field="--words/--prompt", fix="say --key too: p, f, o, d, n or r"
        )
    client = AnswerClient(by, terminal_name())
    with _connected(run) as connection:
        if key:
            _give(client, connection, One(key, words, prompt))
        else:
            _talk(client, connection)


@contextmanager
def _connected(run: Path) -> Iterator[socket.socket]:
    """Yield a connection to the run's desk.

    Raises:
        InputError: no such folder.
        ToolError: nobody asks anything there.
    """
    if not run.is_dir():
        raise InputError("no such run", file=str(run), fix="name its folder (evidence/<run>)")
    folder = open_folder(run)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(short_path(folder))
            except OSError as error:
                why = f"{run / NAME}: {error.strerror}; is it a guided run, and still going on?"
                raise ToolError(why) from error
            yield connection
    finally:
        os.close(folder)


def _give(client: AnswerClient, connection: socket.socket, one: One) -> None:
    """Give one answer, and tell what became of it."""
    with connection.makefile("rb") as lines:
        for line in lines:
            client.received(line)
            reply = client.one_shot(one)
            if reply:
                connection.sendall(reply)
            if client.result is not None:
                break
    counted, text = client.result or (False, "the run has ended")
    typer.echo(text, err=not counted)
    if not counted:
        raise typer.Exit(EXIT_USAGE if client.is_misused else EXIT_OTHER)


def _talk(client: AnswerClient, connection: socket.socket) -> None:
    """Show what is asked and take lines from stdin, until the run or the input ends."""
    typed = got = b""
    with selectors.DefaultSelector() as ready:
        ready.register(connection, selectors.EVENT_READ)
        ready.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            for found, _ in ready.select():
                if found.fileobj is connection:
                    data = connection.recv(READ_BYTES)
                    *lines, got = (got + data).split(b"\n")
                    for line in lines:
                        client.received(line)
                else:
                    data = os.read(sys.stdin.fileno(), READ_BYTES)
                    *lines, typed = (typed + data).split(b"\n")
                    for line in lines:
                        connection.sendall(client.typed(line.decode("utf-8", "replace")))
                for text in client.lines():
                    typer.echo(text)
                if not data:
                    if found.fileobj is connection:
                        typer.echo("the run has ended")
                    return
