"""Signatures made by ssh-keygen by hand, and ours read by it."""

import subprocess
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.signature import SignatureError, sign, signers, verify
from tests.set_bench import make_keys

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK4vW89Uusv+YRyvpGJVYOL9Eht2cvC+768GHiIGn7DI"
DATA = b"A set of calls from +1 212 555 0123\n"
SIGNATURE = b"""\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgri9bz1S6y/5hHK+kYlVg4v0SG3
Zy8L7vrwYeIgafsMgAAAAKaGFzeW5jLXNldAAAAAAAAAAGc2hhNTEyAAAAUwAAAAtzc2gt
ZWQyNTUxOQAAAEB40EO3WC4gJ87A4Cwj0JrjEUO4B/0WL8PQiRel4tQPXHyoQ3ca3MjeA7
Cqv6FqTYu8jNadQiW3exT9CgSGhIoK
-----END SSH SIGNATURE-----
"""


def allow(folder: Path, line: str) -> Path:
    path = folder / "allowed"
    path.write_text(f"{line} {PUBLIC}\n", encoding="ascii")
    return path


def test_signature_made_elsewhere_is_verified(tmp_path: Path) -> None:
    """A signature from the command line of OpenSSH 9.2 is one for us."""
    allowed = allow(tmp_path, 'site-a,site-b namespaces="hasync-set"')

    verify(DATA, SIGNATURE, allowed, "site-a", "hasync-set")
    assert signers(DATA, SIGNATURE, allowed, "hasync-set") == ("site-a", "site-b")


@pytest.mark.parametrize("at", range(0, len(DATA), 5))
def test_one_bit_of_the_data_is_enough(tmp_path: Path, at: int) -> None:
    """Data in which one bit was changed is refused."""
    changed = bytearray(DATA)
    changed[at] ^= 1

    with pytest.raises(SignatureError):
        verify(bytes(changed), SIGNATURE, allow(tmp_path, "site-a"), "site-a", "hasync-set")


@pytest.mark.parametrize(
    ("line", "identity", "namespace"),
    [
        ("site-a", "site-b", "hasync-set"),
        ("site-a", "site-a", "fst-bundle"),
        ('site-a namespaces="fst-bundle"', "site-a", "hasync-set"),
        ('site-a valid-before="20200101"', "site-a", "hasync-set"),
    ],
)
def test_signature_is_for_one_name_and_purpose(
    tmp_path: Path, line: str, identity: str, namespace: str
) -> None:
    """Another identity, another namespace, or a key that is over: refused by both ways."""
    allowed = allow(tmp_path, line)

    with pytest.raises(SignatureError):
        verify(DATA, SIGNATURE, allowed, identity, namespace)
    if identity == "site-a":
        with pytest.raises(SignatureError):
            signers(DATA, SIGNATURE, allowed, namespace)


@pytest.mark.parametrize(
    "signature", [b"", b"\0", b"x" * 70_000, SIGNATURE[:200], SIGNATURE.replace(b"U1NI", b"AAAA")]
)
def test_text_that_is_no_signature_is_refused(tmp_path: Path, signature: bytes) -> None:
    """Anything in place of a signature is a refusal, never a trouble of ours."""
    allowed = allow(tmp_path, "site-a")

    with pytest.raises(SignatureError):
        verify(DATA, signature, allowed, "site-a", "hasync-set")
    with pytest.raises(SignatureError):
        signers(DATA, signature, allowed, "hasync-set")


@pytest.mark.parametrize("at", range(len(SIGNATURE)))
def test_no_bit_of_a_signature_is_free(tmp_path: Path, at: int) -> None:
    """A signature of which one bit was changed, or the end is missing, is refused."""
    changed = bytearray(SIGNATURE)
    changed[at] ^= 1
    allowed = allow(tmp_path, "site-a")

    with pytest.raises(SignatureError):
        verify(DATA, bytes(changed), allowed, "site-a", "hasync-set")
    with pytest.raises(SignatureError):
        verify(DATA, SIGNATURE[:at], allowed, "site-a", "hasync-set")


def test_missing_signers_are_not_a_bad_signature(tmp_path: Path) -> None:
    """Without the file nothing is known of the signature, and no set may be called corrupt."""
    with pytest.raises(InputError) as caught:
        signers(DATA, SIGNATURE, tmp_path / "none", "hasync-set")

    assert not isinstance(caught.value, SignatureError)
    assert str(tmp_path / "none") in str(caught.value)


@pytest.mark.parametrize("line", ["site-a ssh-ed25519 AAAA...", "site-a", 'site-a namespaces="x"'])
def test_line_that_cannot_be_read_is_not_a_bad_signature(tmp_path: Path, line: str) -> None:
    """It may be the signer's: a good set is not refused because of a typing error here."""
    path = tmp_path / "allowed"
    path.write_text(f"\n# site-b left\n{line}\nsite-c {PUBLIC[:-4]}AAAA\n", encoding="ascii")
    with pytest.raises(InputError, match="line 3 = ") as caught:
        signers(DATA, SIGNATURE, path, "hasync-set")

    assert not isinstance(caught.value, SignatureError)


def test_empty_line_is_none_that_cannot_be_read(tmp_path: Path) -> None:
    """ssh-keygen complains of it; who is not there is not there all the same."""
    path = tmp_path / "allowed"
    path.write_text(f"\n\nsite-c {PUBLIC[:-4]}AAAA\n", encoding="ascii")

    with pytest.raises(SignatureError):
        signers(DATA, SIGNATURE, path, "hasync-set")


@pytest.mark.parametrize("identity", ["", "-Y", "*", "a b", "a,b", "a\n"])
def test_identity_is_a_plain_name(tmp_path: Path, identity: str) -> None:
    """A pattern, a list or an option is no identity."""
    with pytest.raises(InputError, match="plain name"):
        verify(DATA, SIGNATURE, allow(tmp_path, "site-a"), identity, "hasync-set")


def test_our_signature_is_verified_by_ssh_keygen(tmp_path: Path) -> None:
    """The real ssh-keygen accepts what we signed."""
    make_keys(tmp_path, "east")
    (tmp_path / "sig").write_bytes(sign(DATA, tmp_path / "east", "hasync-set"))
    argv = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "east"]

    subprocess.run(
        [*argv, "-n", "hasync-set", "-s", "sig"],
        input=DATA,
        cwd=tmp_path,
        check=True,
        timeout=30,
        capture_output=True,
    )


def test_key_with_passphrase_is_refused_at_once(tmp_path: Path) -> None:
    """No prompt: a key that cannot be used without a person is an error that names it."""
    key = tmp_path / "locked"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret words", "-f", str(key)]
    subprocess.run(argv, check=True, timeout=30)

    with pytest.raises(InputError, match="cannot sign") as caught:
        sign(DATA, key, "hasync-set")
    assert caught.value.file == str(key)
    with pytest.raises(InputError, match="no such signing key"):
        sign(DATA, tmp_path / "none", "hasync-set")
