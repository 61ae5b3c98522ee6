"""From the `data` section to sources: what a mixture must give."""

from __future__ import annotations

from typing import Any

import pytest

from lm.common.errors import UserError
from lm.data import prepare


def section(mixture: dict[str, Any], path: str = "") -> Any:
    data = prepare.defaults()
    data.path, data.mixture = path, mixture
    return data


def test_sources_by_name() -> None:
    assert prepare.paths(section({}, "a.txt")) == {prepare.ONE_SOURCE: "a.txt"}
    mixture = {"wiki": {"path": "w", "weight": 1}, "books": {"path": "b", "weight": 0.0}}
    assert prepare.paths(section(mixture)) == {"wiki": "w", "books": "b"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"weight": 1}, "data.mixture.wiki: has weight; give path and weight, no more"),
        ({"path": "w", "weight": 1, "size": 2}, "data.mixture.wiki: has path, size, weight; give path and weight"),
        ({}, "data.mixture.wiki: has nothing; give path and weight"),
        (0.5, "data.mixture.wiki=0.5: give data.mixture.wiki.path and .weight"),
        ("w", "data.mixture.wiki='w': give data.mixture.wiki.path and .weight"),
        ({"path": 2024, "weight": 1}, "data.mixture.wiki.path=2024: not a path; a folder of that name is ./NAME"),
        ({"path": "w", "weight": "much"}, "data.mixture.wiki.weight='much': give a number, 0 or more"),
        ({"path": "w", "weight": -1}, "data.mixture.wiki.weight=-1: give a number, 0 or more"),
        ({"path": "w", "weight": float("nan")}, "data.mixture.wiki.weight=nan: give a number, 0 or more"),
        ({"path": "w", "weight": float("inf")}, "data.mixture.wiki.weight=inf: give a number, 0 or more"),
    ],
)
def test_a_source_needs_a_path_and_a_weight(source: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare.paths(section({"wiki": source}))
    assert str(caught.value).startswith(message)


def test_weights_are_given_to_every_source_or_to_none() -> None:
    assert prepare.paths(section({"wiki": {"path": "w"}, "books": {"path": "b"}})) == {"wiki": "w", "books": "b"}
    for first, second in ({"path": "b"}, {"path": "w", "weight": 1}), ({"path": "b", "weight": 1}, {"path": "w"}):
        with pytest.raises(UserError, match=r"data\.mixture\.wiki: give every source a weight, or none"):
            prepare.paths(section({"books": first, "wiki": second}))


def test_a_path_or_a_mixture() -> None:
    with pytest.raises(UserError, match="not both"):
        prepare.paths(section({"wiki": {"path": "w", "weight": 1}}, "a.txt"))
    with pytest.raises(UserError, match=r"give data\.path or data\.mixture"):
        prepare.paths(section({}))
