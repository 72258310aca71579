"""The exclusions: the guide's list, with exactly one meaning."""

import pytest

from harness.errors import InputError
from hasync.files.exclusions import excluded, kept_by_host, parse, rules

JBOSS = "ngp/jboss-as-7.2.0.Final/standalone"

KEPT = (  # hazards H46 to H49: what the scripts before lost, by prefix and by suffix
    "ngp/login.conf",
    "ngp/logback.xml",
    "ngp/logic/rules.drl",
    "ngp/config/network.bak",
    "ngp/config/networking.properties",
    f"{JBOSS}/database.props",
    "ngp/openldap/var2",
    "ngp/bin/log",
    "ngp/bin/log/rotate.conf",
    "ngp/changelog.log.1",
    "ngp/jboss-as-7.2.0.Final/standalone",
    "m2/repository/com/vendor/ngp/rules/r.jar",
    "m2/log",
    "m2/build.log",
)
LEFT_OUT = {
    "ngp/log": "ngp/log",
    "ngp/log/server.txt": "ngp/log",
    "ngp/changelog.log": "ngp/**/*.log",
    "ngp/deep/down/.log": "ngp/**/*.log",
    "ngp/bin/x.pyc": "ngp/**/*.pyc",
    "ngp/bin/x.pyo": "ngp/**/*.pyo",
    "ngp/.gitignore": "ngp/**/*.gitignore",
    "ngp/config/network": "ngp/config/network",
    "ngp/config/network/jboss_mediation_ip": "ngp/config/network",
    "ngp/openldap/var/data.mdb": "ngp/openldap/var",
    f"{JBOSS}/data/content/1a/2b": f"{JBOSS}/data",
    f"{JBOSS}/tmp": f"{JBOSS}/tmp",  # noqa: S108 - the guide's own path
    f"{JBOSS}/log/boot": f"{JBOSS}/log",
}


@pytest.mark.parametrize("path", KEPT)
def test_a_name_that_only_begins_like_a_rule_is_kept(path: str) -> None:
    """What a rule does not name, component by component, goes into the set."""
    assert excluded(path, regular=True, by=rules()) is None


@pytest.mark.parametrize(("path", "text"), LEFT_OUT.items())
def test_what_the_guide_excludes_stays_out(path: str, text: str) -> None:
    """Each path of the guide's list stays out, and the rule that did it is named."""
    rule = excluded(path, regular=True, by=rules())

    assert rule is not None
    assert rule.text == text


def test_a_folder_or_link_called_like_a_log_is_kept() -> None:
    """A suffix rule takes regular files alone."""
    assert excluded("ngp/audit.log", regular=False, by=rules()) is None
    assert excluded("ngp/audit.log/today.txt", regular=True, by=rules()) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "ngp", "/opt/ngp/log", "ngp//log", "ngp/../etc", "ngp/./log", "ngp/log/"),
        *("*.log", "ngp/*.log", "ngp/**", "ngp/**/*", "**/*.log", "ngp/**/log", "ngp/a/**/*.log"),
        *("ngp/lo\ng", "ngp/[ab]", "ngp/a?", "ngp/**/*.l*g", "ngp/**/*a/b"),
    ],
)
def test_a_text_that_could_mean_two_things_is_refused(text: str) -> None:
    """Only the two forms of a rule are taken."""
    with pytest.raises(InputError):
        parse(text)


def test_a_rule_for_an_unknown_root_is_refused() -> None:
    """The guide's own words without the root are refused, with the way to write them."""
    with pytest.raises(InputError, match="begin with one of ngp, m2"):
        rules(["config/network"])


def test_own_rules_take_the_place_of_the_guides() -> None:
    """Configured rules are all there is; without any the guide's hold."""
    assert [rule.text for rule in rules(["m2/cache"])] == ["m2/cache"]
    assert rules((), ["other"]) == ()


def test_a_host_keeps_what_path_rules_name() -> None:
    """An install carries over the folders of path rules, not files by suffix."""
    assert kept_by_host(rules(["ngp/log", "ngp/**/*.log"])) == ("ngp/log",)
