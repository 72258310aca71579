"""The names beside NAME, and the notes on them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from hasync.database.companions import Companions, Marker, Place, Preserved, Replaced
from hasync.database.databases import Databases, Known
from hasync.database.properties import DatabaseRole, Grant, Membership, Properties, Setting
from hasync.database.provision import create, missing_roles, properties, roles_of

NAMES = Companions("ngp")
ID = "1a2b3c4d" + "0" * 24
PLAIN = Properties("app", "UTF8", "C", "C", "libc", "", "", "pg_default", -1, "", (), ())
ROLE = DatabaseRole("app", *(False,) * 7, -1, "", "", (), ())


def known(name: str, oid: int, replaced: Replaced | None = None, *, limit: int = -1) -> Known:
    return Known(oid, name, NAMES.place(name, oid), True, limit, None, replaced, None)


@pytest.mark.parametrize(
    ("name", "oid", "place"),
    [
        ("ngp", 5, Place.LIVE),
        ("ngp__new_1a2b3c4d", 5, Place.NEW),
        ("ngp__prev_5", 5, Place.PREVIOUS),
        ("ngp__tail_5", 5, Place.TAIL),
        ("ngp__prev_6", 5, Place.FOREIGN),
        ("ngp__prev_05", 5, Place.FOREIGN),
        ("ngp__prev_5 ", 5, Place.FOREIGN),
        ("ngp__new_1A2B3C4D", 5, Place.FOREIGN),
        ("ngp__new_1a2b3c4d5", 5, Place.FOREIGN),
        ("xngp__new_1a2b3c4d", 5, Place.FOREIGN),
        ("ngp_old", 5, Place.FOREIGN),
    ],
)
def test_only_the_exact_name_with_its_own_oid_is_a_companion(
    name: str, oid: int, place: Place
) -> None:
    """A database that a person has made or copied under a like name is a stranger."""
    assert NAMES.place(name, oid) is place


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 47, "é" * 24, "ngp__prev_5"])
def test_a_name_whose_companions_would_not_fit_is_refused(name: str) -> None:
    """PostgreSQL would cut the longer name in silence."""
    with pytest.raises(InputError, match=r"database\.name"):
        Companions(name)


@given(st.text(max_size=200))
def test_no_note_is_anything_but_a_value_or_none(text: str) -> None:
    """Whatever somebody has set, it is a note of ours or counts as absent."""
    for kind in (Marker, Replaced, Preserved):
        found = kind.parse(text)
        assert found is None or kind.parse(found.encode()) == found


def test_notes_say_the_same_again() -> None:
    """What is encoded is parsed as it was; an unverified marker is none."""
    marker = Marker(ID, 41, 3, "east", 1 << 40)
    assert Marker.parse(marker.encode()) == marker
    assert Marker.parse(marker.encode().replace("true", "false")) is None
    assert Replaced.parse(Replaced(7, rolled_back=True).encode()) == Replaced(7, rolled_back=True)
    assert Preserved.parse(Preserved(ID, 7).encode()) == Preserved(ID, 7)


def test_the_database_replaced_last_is_the_one_to_go_back_to() -> None:
    """Neither OID nor set decide, but the transaction; an invalid one is passed over."""
    found = Databases(
        (
            known("ngp", 1),
            known("ngp__prev_9", 9, Replaced(100)),
            known("ngp__prev_2", 2, Replaced(300)),
            known("ngp__tail_3", 3, Replaced(400)),
            known("ngp__prev_4", 4, Replaced(500), limit=-2),
            known("ngp__prev_8", 8),
        )
    )
    assert [one.oid for one in found.of(Place.PREVIOUS)] == [4, 2, 9, 8]
    assert found.replaced_last is not None
    assert found.replaced_last.oid == 3
    assert (found.by_oid(2), found.by_oid(7)) == (found.all[2], None)


def test_a_new_database_is_closed_to_clients_and_made_from_template0() -> None:
    """What is in template1 does not leak in, and nobody comes in before the swap."""
    sql = create("n", PLAIN, 150000)
    assert sql.startswith('create database "n" template template0 connection limit 0')
    assert "locale_provider libc" in sql
    assert "locale_provider" not in create("n", PLAIN, 140000)


def test_properties_are_quoted_and_our_own_notes_refused() -> None:
    """A hostile manifest can set what ALTER DATABASE can, and nothing of ours."""
    grants = (Grant("", "CONNECT", grantable=False), Grant("a", "CREATE", grantable=True))
    wanted = Properties(
        'o"', "UTF8", "C", "C", "libc", "", "", "pg_default", -1, "it's",
        grants, (Setting("", "work_mem", "1'"), Setting("r", "search_path", "a, b")),
    )  # fmt: skip
    assert properties("n", wanted) == (
        'alter database "n" owner to "o"""',
        'revoke all on database "n" from public, "o"""',
        'grant connect on database "n" to public',
        'grant create on database "n" to "a" with grant option',
        """alter database "n" set "work_mem" TO '1'''""",
        """alter role "r" in database "n" set "search_path" TO 'a', 'b'""",
        """comment on database "n" is 'it''s'""",
    )
    assert roles_of(wanted) == {'o"', "a", "r"}
    for name in ("hasync.marker", "HASYNC.x"):
        with pytest.raises(InputError, match="ours alone"):
            properties("n", Properties(*_with(PLAIN, settings=(Setting("", name, "1"),))))
    bad = (Grant("", "ALL; drop", grantable=False),)
    with pytest.raises(InputError, match="no privilege"):
        properties("n", Properties(*_with(PLAIN, grants=bad)))


def _with(plain: Properties, **more: object) -> list[object]:
    return [more.get(name, getattr(plain, name)) for name in Properties.__slots__]


def test_only_missing_roles_are_made_and_none_is_changed() -> None:
    """Memberships come after all roles are there, whatever their order."""
    member = DatabaseRole(
        "member", *(False,) * 7, -1, "", "", (Membership("app", admin=True),), ()
    )  # fmt: skip
    words = missing_roles((member, ROLE), frozenset({"other"}))
    assert [word.split(" ")[:3] for word in words] == [
        ["create", "role", '"member"'],
        ["create", "role", '"app"'],
        ["grant", '"app"', "to"],
    ]
    assert missing_roles((member, ROLE), frozenset({"app", "member"})) == ()
