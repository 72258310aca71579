"""A gap is put to a person: what is asked, what each key means, what a withdrawn question does."""

from concurrent.futures import Future

from fst.hold import Decision, Gap
from fst.hold_prompts import asking, prompt_of
from fst.prompt import Answer, Kind, Prompt

NS = 1_000_000_000
GAPS = [
    Gap("gap-1", "site1/enum1", 10 * NS, 250 * NS, "no sample was taken"),
    Gap("gap-2", "site2/db", 11 * NS, 250 * NS, "no sample was taken"),
]


class Desk:
    """Keeps the question, and the future that answers it."""

    def __init__(self) -> None:
        self.asked: list[Prompt] = []
        self.answer: Future[Answer] = Future()

    def ask(self, prompt: Prompt) -> "Future[Answer]":
        self.asked.append(prompt)
        return self.answer

    def close_prompt(self, prompt_id: str, answer: Answer) -> None:
        """Nothing closes a gap but a person."""

    def note(self, prompt_id: str, line: str) -> None:
        """Show nothing."""

    def tell(self, line: str) -> None:
        """Tell nobody."""


def said(key: str) -> Answer:
    return Answer(key, "the lid was closed", "Lab engineer", "terminal", 0)


def test_question_names_every_host_and_what_each_choice_costs() -> None:
    """One question for all hosts that were lost together."""
    prompt = prompt_of(GAPS, "prompt-7")

    assert (prompt.id, prompt.kind, prompt.site) == ("prompt-7", Kind.DECISION, "site1, site2")
    assert "site1/enum1: 240.0 s, no sample was taken" in prompt.does
    assert "site2/db: 239.0 s" in prompt.does
    assert [choice.key for choice in prompt.keys] == ["c", "s"]
    assert "OTHER" in prompt.expects
    assert prompt_of(GAPS[:1], "prompt-8").target == "site1/enum1"


def test_answer_becomes_the_decision_with_who_and_where() -> None:
    """C counts, s starts anew."""
    for key, decision in (("c", Decision.COUNT), ("s", Decision.RESTART)):
        desk = Desk()
        settled = asking(desk, lambda: "prompt-1")(GAPS)
        assert not settled.done()

        desk.answer.set_result(said(key))

        found = settled.result(0)
        assert (found.decision, found.who, found.where) == (decision, "Lab engineer", "terminal")


def test_run_that_ends_withdraws_the_question() -> None:
    """Cancelling what waits for the answer takes the question back."""
    desk = Desk()
    settled = asking(desk, lambda: "prompt-1")(GAPS)

    assert settled.cancel()

    assert desk.answer.cancelled()


def test_question_that_was_taken_back_decides_nothing() -> None:
    """The desk was closed: the gap stays undecided."""
    desk = Desk()
    settled = asking(desk, lambda: "prompt-1")(GAPS)

    desk.answer.cancel()

    assert settled.cancelled()
