"""The command lines of pgsync and ngpsync: the issue's table of bad input, line by line."""

import pytest

from harness.errors import InputError
from hasync.commands.options import NgpsyncOptions, PgsyncOptions, ngpsync_options, pgsync_options


@pytest.mark.parametrize(
    "words",
    [
        ("db2", "-b", "5", "-t", "60", "-j", "2"),
        ("-b", "5", "db2", "-t", "60", "-j", "2"),
        ("-b5", "-t60", "-j2", "db2"),
        ("--backups", "5", "--timeout=60", "db2", "--jobs", "2"),
        ("-t", "60", "-j", "2", "-b", "5", "--", "db2"),
    ],
)
def test_options_stand_anywhere(words: tuple[str, ...]) -> None:
    """The host is the word that belongs to no option, wherever it stands."""
    assert pgsync_options(words) == PgsyncOptions("db2", timeout_s=60, jobs=2, backups=5)


def test_defaults_are_those_of_the_guide() -> None:
    """3600 seconds, 1 job, 14 backups."""
    options = pgsync_options(["192.0.2.2"])

    assert (options.timeout_s, options.jobs, options.backups) == (3600, 1, 14)
    assert ngpsync_options(["192.0.2.2"]).backups == 14


@pytest.mark.parametrize("host", ["b", "t", "j", "h", "5"])
def test_a_host_may_be_named_like_an_option(host: str) -> None:
    """The original took these for options, or a number for the host."""
    assert pgsync_options(["-b", "5", host]).host == host


BAD = {
    "-b 0": (["db2", "-b", "0"], "no whole number from 1"),
    "-b -1": (["db2", "-b", "-1"], "no whole number from 1"),
    "-b text": (["db2", "-b", "many"], "no whole number"),
    "-b with a blank": (["db2", "-b", " 5"], "no whole number"),
    "-b in other digits": (["db2", "-b", "\N{ARABIC-INDIC DIGIT FIVE}"], "no whole number"),
    "-b with an underscore": (["db2", "-b", "1_0"], "no whole number"),
    "-b 1.5": (["db2", "-b", "1.5"], "no whole number"),
    "-b huge": (["db2", "-b", "9" * 5000], "no whole number"),
    "-b twice": (["db2", "-b", "5", "-b", "6"], "given twice"),
    "-b after the default": (["db2", "-b", "14", "-b", "6"], "given twice"),
    "-b without value": (["db2", "-b"], "expected one argument"),
    "-t without value": (["-t", "-b", "3", "db2"], "expected one argument"),
    "-t negative": (["db2", "-t", "-5"], "no whole number from 0"),
    "-j 0": (["db2", "-j", "0"], "no whole number from 1"),
    "unknown short": (["db2", "-x"], "unrecognized arguments: -x"),
    "unknown long": (["db2", "--backup", "3"], "unrecognized arguments"),
    "no host": ([], "REMOTE_HOST"),
    "only options": (["-b", "5"], "REMOTE_HOST"),
    "two hosts": (["db2", "db3"], "unrecognized arguments: db3"),
    "empty host": ([""], "empty word"),
    "control characters": (["db2\n"], "control characters"),
    "escape sequence": (["\x1b[2Jdb2"], "control characters"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD.keys())
def test_bad_words_are_refused(words: list[str], said: str) -> None:
    """Nothing is guessed: one line that says what is wrong, and where help is."""
    with pytest.raises(InputError) as refused:
        pgsync_options(words)

    text = str(refused.value)
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "words", [["-b", "0", "ms2"], ["-t", "5", "ms2"], ["-j", "2", "ms2"], [], ["-b", "3"]]
)
def test_ngpsync_knows_its_own_options_only(words: list[str]) -> None:
    """The guide gives ngpsync -b and the host; what pgsync has more is unknown to it."""
    with pytest.raises(InputError):
        ngpsync_options(words)


def test_a_list_needs_no_host() -> None:
    """`ngpsync --list` only shows what would go."""
    assert ngpsync_options(["--list"]) == NgpsyncOptions("", list=True)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_names_the_guides_options(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """-h prints the usage of the guide once, with examples, and exits with 0."""
    with pytest.raises(SystemExit) as shown:
        pgsync_options([word])

    printed = capsys.readouterr().out
    assert shown.value.code == 0
    assert printed.count("usage:") == 1
    for part in ("-t TIMEOUT", "-j JOBS", "-b BACKUPS", "REMOTE_HOST", "examples:"):
        assert part in printed
