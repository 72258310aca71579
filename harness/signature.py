"""The edge to OpenSSH signatures (`ssh-keygen -Y`): the keys are there already, no library needed.

A signature says which identities of an `allowed_signers` file could have made it; nothing in the
signed bytes has to be read for that. The namespace keeps a signature made for one purpose from
being used for another.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.child import run
from harness.command import NOT_FOUND, CommandOutput
from harness.errors import InputError, ToolError

PROGRAM = "ssh-keygen"
LIMIT_S = 30.0  # for one call: it computes one hash and one signature
MAX_SIGNATURE_BYTES = 1 << 16  # the largest, RSA 16384 in a certificate, has a tenth of that
_ARMOUR = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n"
)
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}")  # no pattern, no option, no list


class SignatureError(InputError):
    """A signature that does not prove what it should: refused, whatever else looks right."""


def sign(data: bytes, key: Path, namespace: str) -> bytes:
    """Return the armoured signature of *data* by the private *key* (a file without passphrase).

    Raises:
        InputError: no such key, or one that OpenSSH will not use (rights, passphrase).
        ToolError: ssh-keygen is not there, or did not end.
    """
    if not key.is_file():
        fix = f"{PROGRAM} -t ed25519 -N '' -f {key}"
        raise InputError("no such signing key", file=str(key), fix=fix)
    said = _keygen("sign", "-f", str(key), "-n", _word(namespace, "namespace"), stdin=data)
    if said.exit_code != 0:
        raise InputError(f"cannot sign ({said.complaint})", file=str(key))
    return said.stdout


def verify(
    data: bytes, signature: bytes, allowed_signers: Path, identity: str, namespace: str
) -> None:
    """Return if *signature* is *identity*'s of exactly *data*; else raise.

    Raises:
        SignatureError: it is not.
        InputError: no such file of allowed signers, or no such name.
        ToolError: ssh-keygen is not there, or did not end.
    """
    _need(allowed_signers)
    words = ("-I", _word(identity, "identity"), "-n", _word(namespace, "namespace"))
    with _as_file(signature) as path:
        said = _keygen("verify", "-f", str(allowed_signers), *words, "-s", path, stdin=data)
    if said.exit_code != 0:
        raise SignatureError(
            f"signature refused ({said.complaint})",
            field="signer",
            value=identity,
            fix=f"trust its key in {allowed_signers} only if you know whose it is",
        )


def signers(
    data: bytes, signature: bytes, allowed_signers: Path, namespace: str
) -> tuple[str, ...]:
    """Return the identities whose signature of *data* this is: at least one.

    Raises:
        SignatureError: nobody's whom *allowed_signers* names.
        InputError: no such file of allowed signers, or a line of it that names nobody: whose the
            signature is cannot be said then.
        ToolError: ssh-keygen is not there, or did not end.
    """
    _need(allowed_signers)
    with _as_file(signature) as path:
        said = _keygen("find-principals", "-f", str(allowed_signers), "-s", path)
    names = [word for line in said.text.splitlines() for word in line.split(",")]
    names = [name for name in names if _WORD.fullmatch(name)]
    if said.exit_code != 0 or not names:
        _must_be_read(allowed_signers, said)
        raise SignatureError(
            f"signature refused ({said.complaint})", fix=f"see who is trusted in {allowed_signers}"
        )
    proved, refused = [], None
    for name in dict.fromkeys(names):
        try:
            verify(data, signature, allowed_signers, name, namespace)
        except SignatureError as error:
            refused = error
        else:
            proved.append(name)
    if refused is not None and not proved:
        raise refused
    return tuple(proved)


def _keygen(verb: str, *words: str, stdin: bytes = b"") -> CommandOutput:
    said = run((PROGRAM, "-Y", verb, *words), limit_s=LIMIT_S, stdin=stdin)
    if said.exit_code == NOT_FOUND:
        raise ToolError(f"{PROGRAM} is not there; apt-get install openssh-client")
    if not said.whole:
        raise ToolError(said.complaint)
    return said


def _need(allowed_signers: Path) -> None:
    """Tell a missing file of allowed signers from a signature that nobody made."""
    if not allowed_signers.is_file() or not os.access(allowed_signers, os.R_OK):
        raise InputError(
            "allowed signers cannot be read",
            file=str(allowed_signers),
            fix='one line each: SITE namespaces="..." ssh-ed25519 AAAA...',
        )


def _must_be_read(allowed_signers: Path, said: CommandOutput) -> None:
    """Tell a line that ssh-keygen cannot read from a signer who is not there.

    It has a "missing key" in empty lines too, and goes on: those are right. An expired key is told
    in the same way, and is the signer's.
    """
    lines = allowed_signers.read_bytes().decode("utf-8", "replace").split("\n")
    words = said.stderr.decode("utf-8", "backslashreplace")
    unread = rf"^{re.escape(str(allowed_signers))}:(\d+): (?:invalid|missing) key"
    for number in re.findall(unread, words, re.MULTILINE):
        text = lines[int(number) - 1].strip() if int(number) <= len(lines) else ""
        if text:
            raise InputError(
                "a line that ssh-keygen cannot read, so it may be the signer's",
                file=str(allowed_signers),
                field=f"line {number}",
                value=text[:80],
                fix='SITE namespaces="..." ssh-ed25519 AAAA..., with the whole public key',
            )


def _word(text: str, field: str) -> str:
    if not _WORD.fullmatch(text):
        raise InputError("not a plain name (letters, digits, _ . @ -)", field=field, value=text)
    return text


def _must_be_whole(signature: bytes) -> None:
    """Refuse what is not exactly one armoured signature.

    ssh-keygen overlooks a lost last newline and stray bits of the base64: a file of which one bit
    was changed shall never count as the one that was written.
    """
    found = _ARMOUR.fullmatch(signature) if len(signature) <= MAX_SIGNATURE_BYTES else None
    if found is None:
        raise SignatureError("signature refused (not one armoured OpenSSH signature)")
    lines = found[1].split(b"\n")
    text = b"".join(lines)
    even = {len(line) for line in lines[:-1]} | {len(lines[0])} == {len(lines[0])}
    try:
        right = base64.b64encode(base64.b64decode(text, validate=True)) == text
    except binascii.Error:
        right = False
    if not right or not even or not 0 < len(lines[-1]) <= len(lines[0]):
        raise SignatureError("signature refused (its base64 is damaged)")


@contextmanager
def _as_file(signature: bytes) -> Iterator[str]:
    """Give a path of *signature* in memory: it needs no disk, which may be full or gone."""
    _must_be_whole(signature)
    try:
        number = os.memfd_create("signature")
    except OSError as error:
        raise ToolError(f"no memory for a signature: {error.strerror}") from error
    try:
        try:
            os.write(number, signature)  # whole: it is no longer than a pipe's buffer
        except OSError as error:
            raise ToolError(f"no memory for a signature: {error.strerror}") from error
        yield f"/proc/{os.getpid()}/fd/{number}"
    finally:
        os.close(number)
