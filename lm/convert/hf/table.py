"""Name maps as tables: one row a tensor, one table a family, read in both directions.

    Entry("model.layers.{i}.self_attn.q_proj.weight", "layers.{i}.mixer.q.kernel")

`{i}` runs over the layers, by their number in the model on both sides; `{e}` over the experts that one tensor of ours
stacks. Nothing else in conversion knows a tensor's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lm.convert import flat
from lm.convert.hf.codecs import Codec, Ours, Shape, linear
from lm.convert.hf.settings import Settings
from lm.model.config import Layer, ModelConfig
from lm.model.roles import role_of

Names = str | tuple[str, ...]
When = Callable[[ModelConfig, Layer | None], bool]


def always(cfg: ModelConfig, layer: Layer | None) -> bool:
    """Says that an entry applies to every model and every layer."""
    return True


@dataclass(frozen=True)
class Entry:
    """One row of a name map.

    Attributes:
        theirs: name (or names, or none) of the tensor in their checkpoint, with `{i}` for the layer's number and `{e}`
            for an expert's.
        ours: flat name or names of ours (`lm.convert.flat`), with `{i}`.
        how: the codec between them.
        when: whether the row applies to this config and, where it has `{i}`, this layer (None where it has not).
    """

    theirs: Names
    ours: Names
    how: Codec = linear
    when: When = always


@dataclass(frozen=True)
class Family:
    """Everything that is known of one kind of checkpoint.

    Attributes:
        model_type: as in `config.json`.
        architecture: the class in `architectures`.
        entries: the name map.
        read_config: their config to ours; reads every key that changes a result, for those left over are refused.
            Raises UserError for a feature that ours does not have.
        write_config: ours to theirs, without `model_type`, `architectures`, dtype and token ids. It need not tell
            whether it can: what comes back through `read_config` is compared.
        ignored: regular expressions, matched against whole names, of their tensors that hold no weights.
        tied: their tensors that may be absent, or present and equal to another, where embeddings are tied.
        prefix: what every name of the trunk begins with; checkpoints of the bare trunk lack it.
        further: by their config, how many layers stored after the last one are not the model's, and so are left out.
    """

    model_type: str
    architecture: str
    entries: tuple[Entry, ...]
    read_config: Callable[[Settings], ModelConfig]
    write_config: Callable[[ModelConfig], dict[str, Any]]
    ignored: tuple[str, ...] = ()
    tied: Mapping[str, str] = field(default_factory=lambda: {"lm_head.weight": "model.embed_tokens.weight"})
    prefix: str = "model."
    further: Callable[[Settings], int] = lambda settings: 0


class Row(NamedTuple):
    """An entry for one layer of one config: their names and shapes, our tensors, and the codec between them."""

    theirs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    ours: tuple[Ours, ...]
    how: Codec
    cfg: ModelConfig

    def read(self, theirs: list[np.ndarray]) -> list[np.ndarray]:
        """Returns our tensors, in the order of `ours`."""
        return self.how.read(theirs, self.ours, self.cfg)

    def write(self, ours: list[np.ndarray]) -> list[np.ndarray]:
        """Returns their tensors, in the order of `theirs`."""
        return self.how.write(ours, self.ours, self.cfg)


def rows(family: Family, cfg: ModelConfig) -> list[Row]:
    """Returns the name map of `cfg`, layer by layer; every tensor of ours is in exactly one row.

    A family whose entries leave one of ours out, or name one that is not there, has a mistake in its table.
    """
    shapes = flat.shapes(cfg)
    found = []
    for number, layer in [(-1, None), *enumerate(cfg.layers)]:
        here = [entry for entry in family.entries if ("{i}" in "".join(entry.ours)) == (layer is not None)]
        found += [_row(entry, cfg, shapes, number) for entry in here if entry.when(cfg, layer)]
    ours = [one.name for row in found for one in row.ours]
    assert sorted(ours) == sorted(shapes), (
        f"{family.model_type}: {sorted({*ours} ^ {*shapes}) or 'a name stands twice'}"
    )
    theirs = [name for row in found for name in row.theirs]
    assert len({*theirs}) == len(theirs), f"{family.model_type}: a name of theirs stands twice"
    return found


def _row(entry: Entry, cfg: ModelConfig, shapes: Mapping[str, Shape], number: int) -> Row:
    names = [name.replace("{i}", str(number)) for name in _tuple(entry.ours)]
    assert all(name in shapes for name in names), f"{entry.theirs}: the model has no {names}"
    ours = tuple(Ours(name, shapes[name], _n_in(name)) for name in names)
    wanted = tuple(entry.how.shapes(ours, cfg))
    theirs = [name.replace("{i}", str(number)) for name in _tuple(entry.theirs)]
    members = ours[0].shape[0]
    expanded = [name.replace("{e}", str(e)) for name in theirs for e in (range(members) if "{e}" in name else range(1))]
    assert len(expanded) == len(wanted), f"{entry.theirs}: {entry.how.name} is of {len(wanted)} tensors"
    return Row(tuple(expanded), wanted, ours, entry.how, cfg)


def _n_in(name: str) -> int:
    return role_of(tuple(name.split("."))).n_in


def _tuple(names: Names) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names
