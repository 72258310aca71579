"""What harness.ssh makes of its arguments, and of ssh's own log."""

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.ssh import Ssh, SshLog, Trouble, rsync_shell

GOOD = """OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026
debug1: Sending command: exit 255
debug1: client_input_channel_req: channel 0 rtype exit-status reply 0
Transferred: sent 3480, received 3280 bytes, in 0.1 seconds
Bytes per second: sent 75879.4, received 72129.0
debug1: Exit status 255
"""
CUT = GOOD.replace("Exit status 255", "Exit status -1").replace("rtype exit-status", "rtype eow")
KILLED = CUT.replace("rtype eow", "rtype exit-signal")


def test_log_tells_the_commands_own_255() -> None:
    """The exit code that came over the wire is told apart from ssh's own."""
    assert SshLog(GOOD).exit_code == 255
    assert SshLog(CUT).exit_code is None
    assert SshLog(KILLED).killed
    assert not SshLog(CUT).killed
    assert SshLog(GOOD).sent_bytes == 3480
    assert SshLog(GOOD).words == ""


def test_words_of_the_peer_cannot_pose_as_an_exit_code() -> None:
    """A debug message or a banner of the server stands behind a prefix of ssh's."""
    assert SshLog("debug1: Remote: Exit status 0\nExit status 0\n").exit_code is None


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("ssh: connect to host db2 port 22: Connection refused\n", Trouble.NOT_REACHED),
        ("Connection timed out during banner exchange\n", Trouble.NOT_REACHED),
        ("Host key verification failed.\n", Trouble.UNTRUSTED),
        ("No ED25519 host key is known for db2 and you have requested\n", Trouble.UNTRUSTED),
        ("ann@db2: Permission denied (publickey).\n", Trouble.UNTRUSTED),
        (CUT, Trouble.LOST),
        ("", Trouble.NOT_REACHED),
    ],
)
def test_log_tells_the_kind_of_trouble(text: str, trouble: Trouble) -> None:
    """Trust is apart from reach: one is for a person, the other for another attempt."""
    assert SshLog(text).trouble is trouble


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=id", "a b", "a;b", "ssh://a", "a\nb", "$(id)", "a" * 400]
)
def test_destination_cannot_be_an_option_or_a_word(text: str) -> None:
    """What ssh or a shell could take for something else is refused before any child starts."""
    with pytest.raises(InputError, match="destination"):
        Ssh(text)


def test_fixed_options_stand_before_all_others() -> None:
    """Ssh takes the first of two values: no setting turns strict host keys off."""
    ssh = Ssh("db2", argv0=("ssh", "-o", "StrictHostKeyChecking=no"), options=("BatchMode=no",))
    words = ssh.words(Path("/log"))

    assert words.index("StrictHostKeyChecking=yes") < words.index("StrictHostKeyChecking=no")
    assert words.index("BatchMode=yes") < words.index("BatchMode=no")


def test_rsync_gets_each_word_whole() -> None:
    """Blanks and quotes survive rsync's own splitting."""
    assert rsync_shell(("a b", "it's")) == "'a b' 'it''s'"
