"""`hasync init`: folders, and an example of the settings to begin with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InputError
from hasync import durable
from hasync.commands import cli_sets, example
from hasync.commands.command import Outcome, config_path
from hasync.commands.verbs import HasyncOptions
from hasync.failure import Exit, Stop
from hasync.sets import base_folder
from hasync.settings_file import parse


def init(options: HasyncOptions) -> Outcome:
    """Make the folders, and write an example of the settings; nothing is overwritten.

    Raises:
        InputError: a name or a folder that cannot be used, or settings that are there already.
        Stop: a folder or the file cannot be made.
    """
    path = config_path(options.config)
    content = example.settings(options.site, options.peer, options.base)
    settings = parse(content, str(path))
    if path.exists():
        fix = "mend it, or name another with --config"
        raise InputError("there are settings already", file=str(path), fix=fix)
    with _permitted(settings.folders.base, path.parent):
        durable.make_folder(path.parent)
        durable.make_folder(settings.folders.base)
        base_folder.prepare(settings.folders)
        durable.write(path, content)
    lines = (f"wrote {path}: read it through, then `hasync doctor`", f"made {options.base}")
    return Outcome(Exit.OK, lines, {"settings": str(path), "base": str(Path(options.base))})


@contextmanager
def _permitted(*folders: Path) -> Iterator[None]:
    """Say what root has to do first where we may not make or write one of *folders*."""
    try:
        yield
    except Stop as stop:
        if not isinstance(stop.__cause__, PermissionError):
            raise
        named = " ".join(str(folder) for folder in folders)
        fix = f"as root, first: install -d -m 700 -o {cli_sets.person()} {named}"
        raise Stop(stop.code, stop.why, fact=stop.fact, fix=fix) from stop
