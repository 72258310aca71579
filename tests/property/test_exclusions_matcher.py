"""The exclusions against a second matcher, written from their description alone."""

import re

from hypothesis import given
from hypothesis import strategies as st

from hasync.files.exclusions import excluded, rules

PARTS = st.sampled_from(
    (
        *(
            "ngp",
            "m2",
            "log",
            "login",
            "config",
            "network",
            "network.bak",
            "a.log",
            ".log",
            "x.pyc",
        ),
        *(
            "openldap",
            "var",
            "var2",
            "standalone",
            "data",
            "data2",
            "jboss-as-7.2.0.Final",
            "é",
            " ",
        ),
    )
)
PATHS = st.lists(PARTS, min_size=1, max_size=6).map("/".join)
NAMES = st.sampled_from(["log", "config/network", "a.log", "openldap/var", "data", "é"])
TEXTS = st.one_of(
    NAMES.map("ngp/{}".format),
    NAMES.map("m2/{}".format),
    st.sampled_from([".log", ".pyc", "g", "network"]).map("ngp/**/*{}".format),
)


def by_pattern(text: str, path: str, *, regular: bool) -> bool:
    """Say whether a rule takes a path, by a regular expression over the whole path."""
    root, _, suffix = text.partition("/**/*")
    if suffix:
        return regular and bool(
            re.fullmatch(f"{re.escape(root)}/.*{re.escape(suffix)}", path, re.DOTALL)
        )
    return bool(re.fullmatch(f"{re.escape(text)}(/.*)?", path, re.DOTALL))


@given(PATHS, st.booleans(), st.lists(TEXTS, min_size=1, max_size=4))
def test_both_matchers_agree(path: str, regular: bool, texts: list[str]) -> None:
    """The first rule that a regular expression finds is the one that is named."""
    wanted = next((text for text in texts if by_pattern(text, path, regular=regular)), None)

    found = excluded(path, regular=regular, by=rules(texts))

    assert (found.text if found else None) == wanted


@given(PATHS, st.booleans())
def test_the_guides_rules_agree_too(path: str, regular: bool) -> None:
    """The guide's list has the same meaning in both."""
    texts = [rule.text for rule in rules()]
    wanted = next((text for text in texts if by_pattern(text, path, regular=regular)), None)

    found = excluded(path, regular=regular, by=rules())

    assert (found.text if found else None) == wanted
