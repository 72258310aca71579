"""Any INVITE has parties, the same each time, whatever order its headers stand in."""

import tomllib
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from harness.dialled import number_parts, parameters, pieces, taken_apart
from harness.dialplan import DialPlan
from harness.party import PartyKind
from harness.premises import DialledBy, Premises, network
from probetest.calls.parties import PartyReader
from probetest.calls.party_headers import Asked

FOLDER = Path(__file__).parents[2] / "fixtures" / "dialplans"
PLANS = [
    DialPlan.from_table(tomllib.loads(path.read_text()), file=path.name)
    for path in sorted(FOLDER.glob("*.toml"))
]
TRUSTED = (network("192.0.2.0/24"),)

anything = st.text(st.characters(codec=None), max_size=60)  # lone surrogates too
almost = st.text(st.sampled_from('0123456789+*#-.() ;:@%<>"\\=,abFx\u0663\ud800\x00'), max_size=40)
numbers = st.sampled_from(["+16505550112", "12125550142", "*67911", "anonymous", "1002", "desk"])
tails = st.sampled_from(
    ["", ";party=calling;screen=yes", ";privacy=full", ";index=1", ";index=1.1", ";party=called"]
)
addresses = st.builds(
    "{}<sip:{}@192.0.2.1>{}".format, st.sampled_from(["", '"A, <b>" ']), numbers, tails
)
written = st.one_of(anything, almost, addresses)
caller_names = ("P-Asserted-Identity", "Remote-Party-ID", "P-Preferred-Identity", "Privacy")
called_names = ("P-Called-Party-ID", "Diversion", "History-Info")


def lines(names: tuple[str, ...]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    """Return some header lines of those names."""
    pairs = st.tuples(st.sampled_from(names), st.one_of(written, st.just("id")))
    return st.lists(pairs, max_size=5).map(tuple)


asked = st.builds(Asked, written, written, written, lines(caller_names), lines(called_names))
sites = st.builds(
    Premises,
    st.sampled_from(PLANS),
    trusted=st.sampled_from([(), TRUSTED]),
    dialled=st.sampled_from(DialledBy),
)


@given(asked, sites, st.booleans())
def test_any_headers_have_parties(said: Asked, site: Premises, shown: bool) -> None:
    """Nothing raises; every party is printable, and asked again it is the same."""
    reader = PartyReader(site, show_restricted=shown)
    found = reader.decide_asked(said, "192.0.2.10")

    assert found == PartyReader(site, show_restricted=shown).decide_asked(said, "192.0.2.10")
    assert found is reader.decide_asked(said, "192.0.2.10")
    for one in (found.source, found.destination, *found.called.diversions):
        assert one.text.isprintable()
        assert one.kind in PartyKind
        assert one.header
        assert one.plan_rule
    for other in found.rejected:
        assert other.why


@given(asked, sites, st.randoms())
def test_the_order_of_different_headers_means_nothing(
    said: Asked, site: Premises, random: Random
) -> None:
    """Lines of one name keep their order, RFC 3261 section 7.3.1; those of others may move."""

    def moved(given: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        names = list(dict.fromkeys(name for name, _ in given))
        random.shuffle(names)
        return tuple(line for name in names for line in given if line[0] == name)

    other = said._replace(
        caller_lines=moved(said.caller_lines), called_lines=moved(said.called_lines)
    )
    reader = PartyReader(site)

    assert reader.decide_asked(said) == reader.decide_asked(other)


@given(asked, sites)
def test_who_hides_is_named_only_on_demand(said: Asked, site: Premises) -> None:
    """With privacy asked for the source is one word; shown, it is what it would have been."""
    hidden = PartyReader(site).decide_asked(said)
    if hidden.calling.hidden:
        assert hidden.source.text == "restricted"
        assert hidden.source.kind is PartyKind.RESTRICTED


@given(asked, sites)
def test_a_candidate_decides_or_is_rejected(said: Asked, site: Premises) -> None:
    """Nothing that was named is lost: as many decisions and rejections as there were values."""
    found = PartyReader(site).decide_asked(said)
    callers = sum(
        len([value for value in pieces(text, ",") if value]) if "," in text else bool(text.strip())
        for name, text in said.caller_lines
        if name != "Privacy"
    )

    assert len(found.calling.rejected) == callers  # and From, less the one that decided


@given(st.one_of(anything, almost, addresses))
def test_any_text_is_taken_apart(text: str) -> None:
    """No text raises, and what is between separators is all of the text."""
    apart = taken_apart(text)

    assert apart.scheme == apart.scheme.lower()
    assert all(name == name.strip().lower() and name for name, _ in apart.number)
    assert number_parts(text)[1] == parameters(text[text.find(";") :] if ";" in text else "")


plain = st.builds(
    "{}:{}@{}{}{}".format,
    st.sampled_from(["sip", "sips", "tel", "SIP"]),
    st.text(st.sampled_from("0123456789+*#-.abX;%:"), max_size=12),
    st.sampled_from(["192.0.2.1", "gw.example", "Gw.Example", "[2001:db8::1]", ""]),
    st.sampled_from(["", ":5060", ":x", ":123456"]),
    st.sampled_from(["", ";user=phone", ";user=phone;lr", ";lr", "?a=b", ">"]),
)


@given(plain)
def test_the_quick_way_is_the_long_way(uri: str) -> None:
    """A display name with an escape is never read the quick way, and changes no part."""
    assert taken_apart(f"<{uri}>") == taken_apart(f'"\\"" <{uri}>')
    assert taken_apart(f"A. Desk <{uri}>") == taken_apart(f'"\\"" <{uri}>')
    if ">" not in uri:
        bare, long = taken_apart(uri), taken_apart(f"{uri};x=y")
        if ";" not in uri and "?" not in uri:
            assert (bare.user, bare.host, bare.scheme) == (long.user, long.host, long.scheme)
