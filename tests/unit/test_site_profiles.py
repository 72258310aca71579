"""A site file whose SBC is described by a profile in a file beside it."""

from pathlib import Path

import pytest

from enumtest.profiles.profile_file import encode_profile, shipped_profile
from fst.rehearsal import rehearsed
from fst.run_folder import RunFolder
from fst.run_start import profile_texts, site_fields
from fst.sbc_profile import named_beside
from fst.site import SiteFile
from fst.site_reading import read_site_file
from harness.clock import ManualClock
from harness.errors import InputError

LOOPBACK = Path(__file__).parents[2] / "fixtures" / "sites" / "loopback.toml"
OURS = encode_profile(shipped_profile("oracle-hunt")).replace('"oracle-hunt"', '"ours"', 1)


def site(folder: Path, profile: str, *, text: str | None = OURS, more: str = "") -> Path:
    """Return a site file in *folder* that names *profile*, and has *text* beside it."""
    folder.mkdir(exist_ok=True)
    rows = LOOPBACK.read_text("utf-8").replace(
        'apex = "e164.arpa"\n', f'apex = "e164.arpa"\nprofile = "{profile}"\n'
    )
    (folder / "site.toml").write_text(f"{rows}\n{more}", encoding="utf-8")
    if text is not None:
        (folder / "sbc.toml").write_text(text, encoding="utf-8")
    return folder / "site.toml"


def read(path: Path, *settings: str) -> SiteFile:
    """Return the site file at *path*."""
    return read_site_file(path, settings)[0]


def test_profile_beside_the_site_file_is_read(tmp_path: Path) -> None:
    """What stands in the site file beats it; all else is the file's."""
    behaviour = read(site(tmp_path, "sbc.toml")).sites[0].sbcs[0].behaviour

    assert (behaviour.name, behaviour.timeout_ns) == ("ours", 200_000_000)
    assert len(behaviour.hold_down.stages) == 2


def test_profile_can_be_set_for_one_run(tmp_path: Path) -> None:
    """A setting names a file beside the site file too."""
    file = read(site(tmp_path, "ribbon"), "sbc.profile=sbc.toml", "lab.sbc.profile=sbc.toml")

    assert file.sites[0].sbcs[0].behaviour.name == "ours"
    assert file.profile("sbc.toml").name == "ours"
    assert file.profile("libc").name == "libc"


def test_rehearsal_keeps_the_profile(tmp_path: Path) -> None:
    """It is the same SBC, with its times divided."""
    path = site(tmp_path, "sbc.toml")
    path.write_text(path.read_text().replace('mode = "lab"', 'mode = "site"').partition("[lab]")[0])

    assert rehearsed(read(path)).sites[0].sbcs[0].behaviour.name == "ours"


@pytest.mark.parametrize(
    ("profile", "text", "words"),
    [
        ("../sbc.toml", OURS, "sites.0.sbcs.0.profile = '../sbc.toml': not beside the site file"),
        ("/etc/sbc.toml", OURS, "not beside the site file"),
        ("sub/sbc.toml", OURS, "not beside the site file"),
        (".toml", OURS, "not beside the site file"),
        ("sbc.toml", None, "sites.0.sbcs.0.profile = 'sbc.toml': cannot be read"),
        ("sbc.toml", "name = 1", "sbc.toml: name = 1"),
        ("sbc.toml", OURS.replace("11000", "11"), "sbc.toml: retransmission"),
        ("sbc", OURS, "no such profile; there are"),
    ],
)
def test_profile_that_cannot_be_taken_is_refused(
    tmp_path: Path, profile: str, text: str | None, words: str
) -> None:
    """File, field, value: of the site file where the name is wrong, else of the profile."""
    with pytest.raises(InputError) as caught:
        read(site(tmp_path, profile, text=text))

    assert words in str(caught.value)


def test_profile_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A capture given by mistake."""
    path = site(tmp_path, "sbc.toml")
    (tmp_path / "sbc.toml").write_bytes(b"\xd4\xc3\xb2\xa1")

    with pytest.raises(InputError, match="not UTF-8 text"):
        read(path)


@pytest.mark.parametrize(
    "document",
    [{}, {"sites": 1}, {"sites": [1]}, {"sites": [{"sbcs": {}}]}, {"lab": []}, {"lab": {"sbc": 1}},
     {"sites": [{"sbcs": [{"profile": 7}, {"profile": "libc"}]}]}],
)  # fmt: skip
def test_what_is_no_site_file_names_no_file(document: dict[str, object]) -> None:
    """Its shape is refused elsewhere."""
    assert list(named_beside(document)) == []


def test_run_keeps_the_profile_with_its_hash(tmp_path: Path) -> None:
    """Whoever goes on with the run, or reads its verdicts, has what it was judged by."""
    file = read(site(tmp_path / "site", "sbc.toml"))
    run = RunFolder.begin(tmp_path, ManualClock(), b"", profile_texts(file))
    run.close()
    kept, again = run.path / "profiles", site(tmp_path / "moved", "sbc.toml", text=None)
    told = site_fields(file, "site.toml", "0", ".")

    assert list(told["profiles"]) == ["sbc.toml"]
    assert read_site_file(again, profiles=kept)[0].beside == file.beside


def test_run_of_shipped_profiles_keeps_none() -> None:
    """They are the package's, whose version stands in the journal."""
    file = read(LOOPBACK)

    assert (profile_texts(file), "profiles" in site_fields(file, "x", "0", ".")) == ({}, False)
