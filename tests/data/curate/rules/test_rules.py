"""What holds for every rule set: one definition of a value, whatever asks for it."""

import dataclasses
import math
import pickle
import random

import pytest

from lm.common.errors import UserError
from lm.data.curate.document import Document, Dropped
from lm.data.curate.rules import DOMAINS, RULE_SETS, from_config
from lm.data.curate.rules.base import RuleSet

from .texts import no_limits, prose, varied


def limits_of(step: RuleSet) -> dict[str, float]:
    values = {f"{step.name}.{field.name}": getattr(step, field.name) for field in dataclasses.fields(step)}
    return {rule: limit for rule, limit in values.items() if ".m" in rule and limit is not None}


@pytest.mark.parametrize("name", RULE_SETS)
def test_a_document_is_dropped_by_the_first_limit_its_values_break(name: str) -> None:
    step = from_config(name, {})
    limits = limits_of(step)
    dropped = 0
    for number, text in enumerate(varied(250)):
        values = step.measure(Document(f"f#{number}", text, "f"))
        assert list(values) == list(limits)
        assert all(type(value) in (int, float) and math.isfinite(value) for value in values.values())
        broken = [
            Dropped(rule, value, limits[rule])
            for rule, value in values.items()
            if (value < limits[rule] if ".min_" in rule else value > limits[rule])
        ]
        result = step(Document(f"f#{number}", text, "f"))
        assert result == broken[0] if broken else isinstance(result, Document)
        dropped += bool(broken)
    assert dropped


@pytest.mark.parametrize("name", RULE_SETS)
def test_decisions_depend_on_the_document_alone(name: str) -> None:
    step = from_config(name, {})
    documents = [Document(f"f#{number}", text, "f") for number, text in enumerate(varied(200))]
    expected = [step(document) for document in documents]
    again = pickle.loads(pickle.dumps(step))
    order = list(range(len(documents)))
    random.Random(1).shuffle(order)
    for number in order:
        assert again(Document(f"f#{number}", documents[number].text, "f")) == expected[number]
        assert step(documents[number]) == expected[number]


@pytest.mark.parametrize("name", RULE_SETS)
def test_without_limits_everything_is_kept(name: str) -> None:
    step = from_config(name, no_limits(RULE_SETS[name]))
    assert step.measure(Document("f#0", "text", "f")) == {}
    assert all(isinstance(step(Document("f#0", text, "f")), Document) for text in varied(50))


@pytest.mark.parametrize("name", RULE_SETS)
def test_every_limit_can_be_moved_to_the_value_of_a_document_and_no_further(name: str) -> None:
    document = Document("f#0", prose(random.Random(3), 300), "f")
    none = no_limits(RULE_SETS[name])
    for rule, value in from_config(name, {}).measure(document).items():
        limit, beyond = rule.split(".")[1], math.inf if ".min_" in rule else -math.inf
        assert isinstance(from_config(name, none | {limit: value})(document), Document)
        missed = math.nextafter(value, beyond)
        assert from_config(name, none | {limit: missed})(document) == Dropped(rule, value, missed)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("gopher_qualty", {}, "rules: no rule set 'gopher_qualty'; did you mean gopher_quality?"),
        ("zzz", {}, "rules: no rule set 'zzz'; there are gopher_quality, gopher_repetition, c4, fineweb, "),
        ("code", {"max_line_lenght": 1}, "rules.code: no limit 'max_line_lenght'; did you mean max_line_length?"),
        ("math", {"min_words": "50"}, "math.min_words: '50' must be a number, or None for no limit"),
        ("math", {"min_words": True}, "math.min_words: True must be a number, or None for no limit"),
        ("math", {"min_words": 9, "max_words": 5}, "math.min_words: 9 is above max_words (5); nothing would be kept"),
    ],
)
def test_what_cannot_be_is_said(name: str, overrides: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        from_config(name, overrides)
    assert str(error.value).startswith(message)


def test_domains_name_rule_sets() -> None:
    assert {name for sets in DOMAINS.values() for name in sets} == set(RULE_SETS)


def test_good_prose_passes_the_rules_for_the_web() -> None:
    rng = random.Random(5)
    names = ["".join(rng.choices("bdfklmnrst", k=3)) + rng.choice(("ing", "ola", "er")) for _ in range(400)]
    text = " ".join(
        f"The {rng.choice(names)} of {rng.choice(names)} went to {rng.choice(names)} and {rng.choice(names)} with a "
        f"{rng.choice(names)}."
        for _ in range(40)
    )
    document: Document | Dropped = Document("f#0", text, "f")
    for name in DOMAINS["web"]:
        assert isinstance(document, Document)
        document = from_config(name, {})(document)
    assert isinstance(document, Document), document
