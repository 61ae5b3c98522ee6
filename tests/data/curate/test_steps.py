"""Chains of steps by name, and the sections that configure them."""

from __future__ import annotations

import pickle

import pytest

from lm.common.errors import UserError
from lm.data.curate import recipe, steps
from lm.data.curate.document import Document, Dropped, Quarantined
from lm.data.curate.rules import DOMAINS


def test_the_pivot_divides() -> None:
    known = ("a", "b", "c")
    assert steps.split(("a", "dedup", "b"), known) == (("a",), True, ("b",))
    assert steps.split(("a", "b"), known) == (("a", "b"), False, ())
    assert steps.split(("dedup",), known) == ((), True, ())


@pytest.mark.parametrize("names", [("a", "a"), ("dedup", "dedup"), ("x",)])
def test_names_that_make_no_chain(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"config\.steps"):
        steps.split(names, ("a",))


@pytest.mark.parametrize("name", sorted(steps.kinds()))
def test_every_step_is_built_from_its_section_and_sent_to_workers(name: str) -> None:
    section = steps.defaults()[name]
    step = pickle.loads(pickle.dumps(steps.build(name, section)))
    assert step.name == name
    document = Document("a#0", "Some words of a short text, in one line.", "", {}, b"<p>Some words.</p>")
    result = step(document)
    assert isinstance(result, Document) or result.rule.startswith(f"{name}."), result


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_every_domain_has_a_chain_of_known_steps(domain: str) -> None:
    before, pivot, after = steps.split(recipe.chain(domain), recipe.names())
    assert pivot
    assert set(DOMAINS[domain]) <= set(before)
    assert "decontaminate" in after


def test_a_document_that_a_step_fails_on_is_put_aside_with_the_steps_name() -> None:
    from lm.data.curate.phases import apply
    from lm.data.curate.tally import Tally

    class Fails:
        name = "fails"

        def __call__(self, document: Document) -> Document | Dropped:
            raise ValueError(document.text)

    outcome = apply((Fails(),), Document("a.txt#7", "text", ""), Tally())
    assert outcome == Quarantined("a.txt#7", "failed in fails: ValueError", b"text")


def test_a_step_that_cannot_work_at_all_stops_the_job() -> None:
    from lm.data.curate.phases import apply
    from lm.data.curate.tally import Tally

    class Lacks:
        name = "lacks"

        def __call__(self, document: Document) -> Document | Dropped:
            raise UserError("needs a package")

    with pytest.raises(UserError, match="needs a package"):
        apply((Lacks(),), Document("a.txt#7", "text", ""), Tally())
