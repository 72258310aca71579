"""The fingerprint of a schema: equal for equal schemas, whoever wrote the text."""

from hasync.database.schema import fingerprint, sequence_values

HEAD = """--
-- PostgreSQL database dump
--

\\restrict {word}

-- Dumped from database version 15.{minor}

SET statement_timeout = 0;
SET standard_conforming_strings = {strings};

"""
END = """--
-- PostgreSQL database dump complete
--

\\unrestrict {word}

"""
ONE = """--
-- Name: one; Type: TABLE; Schema: public; Owner: app
--

CREATE TABLE public.one (
    v character varying(5),
    CONSTRAINT it CHECK (((v)::text = ANY ((ARRAY['a'::character varying, w])::text[])))
);


"""
ONE_READ_BACK = ONE.replace(
    "((ARRAY['a'::character varying, w])::text[])",
    "(ARRAY[('a'::character varying)::text, (w)::text])",
)
TWO = """--
-- Name: two; Type: VIEW; Schema: public; Owner: app
--

CREATE VIEW public.two AS
 SELECT 1
  WHERE (((a > 0) OR (b = '(x)'::text)) OR c);


"""
BETWEEN = "SET default_table_access_method = heap;\n\n"
REFRESH = """--
-- Name: mv; Type: MATERIALIZED VIEW DATA; Schema: public; Owner: app
--

REFRESH MATERIALIZED VIEW public.mv;


"""


def text(*parts: str, word: str = "abc", minor: int = 18, strings: str = "on") -> str:
    """Return the text of a dump of *parts*."""
    head = HEAD.format(word=word, minor=minor, strings=strings)
    return head + "".join(parts) + END.format(word=word)


SAME = fingerprint(text(BETWEEN, ONE, TWO))


def test_who_wrote_it_does_not_matter() -> None:
    """The head, the restricting word, minor versions and the order of objects are no schema."""
    assert fingerprint(text(TWO, BETWEEN, ONE, word="x", minor=4, strings="off")) == SAME


def test_content_of_an_archive_does_not_matter() -> None:
    """pg_restore -s tells of materialized views that it fills; that is in other facts."""
    assert fingerprint(text(BETWEEN, ONE, REFRESH, TWO)) == SAME
    assert fingerprint(text(BETWEEN, ONE, TWO, REFRESH)) == SAME


def test_expressions_read_back_are_the_same() -> None:
    """PostgreSQL moves a cast of an array to its items, and flattens an OR within an OR."""
    flat = TWO.replace(
        "(((a > 0) OR (b = '(x)'::text)) OR c)", "((a > 0) OR (b = '(x)'::text) OR c)"
    )

    assert fingerprint(text(BETWEEN, ONE_READ_BACK, flat)) == SAME


def test_every_real_change_matters() -> None:
    """A type, a name, an owner, a constant with brackets or blanks, an access method."""
    changed = [
        text(BETWEEN, ONE.replace("(5)", "(6)"), TWO),
        text(BETWEEN, ONE.replace("public.one", "public.uno"), TWO),
        text(BETWEEN, ONE.replace("Owner: app", "Owner: root"), TWO),
        text(BETWEEN, ONE, TWO.replace("'(x)'", "'x'")),
        text(BETWEEN, ONE, TWO.replace("'(x)'", "'(x) '")),
        text(BETWEEN, ONE, TWO.replace(" OR c", " AND c")),
        text(BETWEEN.replace("heap", "other"), ONE, TWO),
        text(BETWEEN, ONE),
        text(BETWEEN, ONE, TWO, TWO),
        text(),
    ]

    assert len({SAME, *map(fingerprint, changed)}) == len(changed) + 1


def test_broken_text_has_a_fingerprint_too() -> None:
    """An array that does not end is text like any other; it does not make us wait."""
    assert fingerprint(ONE.replace("])::text[]", "")) != fingerprint(ONE)
    assert len(fingerprint("(ARRAY[" * 20000)) == 64


def test_sequence_values_are_read_from_setval() -> None:
    """Names are read with their quotes; a value that was not handed out is told apart."""
    lines = (
        "SELECT pg_catalog.setval('public.\"S;q\"', 7, true);\n"
        'SELECT pg_catalog.setval(\'"it\'\'s ""x"""."a\nb"\', -9, false);\n'
        "-- SELECT pg_catalog.setval('public.no', 1, true);\n"
    )

    assert sequence_values(lines) == {
        'public."S;q"': (7, True),
        '"it\'s ""x"""."a\nb"': (-9, False),
    }
