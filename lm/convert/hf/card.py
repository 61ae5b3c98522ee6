"""The model card: what a model is, in the README of its directory."""

from __future__ import annotations

from collections.abc import Mapping

from lm.convert.hf.table import Family
from lm.model import cost
from lm.model.config import ModelConfig

_TEXT = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- {model_type}
---
# {name}

A decoder-only language model, written in the `{architecture}` format.

{table}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}"{options})
tokenizer = AutoTokenizer.from_pretrained("{name}")
```
"""


def text(
    name: str, cfg: ModelConfig, family: Family, dtype: str, facts: Mapping[str, str], *, own_code: bool = False
) -> str:
    """Returns the card as Markdown; `facts` are further rows of its table, by label.

    `own_code` says that the model's code lies beside its weights, so that loading it takes the reader's consent.
    """
    rows = {
        "Parameters": f"{cost.n_params(cfg):,}",
        "Layers": str(cfg.n_layers),
        "Width": str(cfg.d_model),
        "Heads": f"{cfg.n_heads} of width {cfg.head_width}, {cfg.n_kv_heads} of keys and values",
        "Context": f"{cfg.max_seq_len:,} tokens",
        "Vocabulary": f"{cfg.vocab_size:,} tokens",
        "Weights": dtype,
        **facts,
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {label} | {value} |" for label, value in rows.items())])
    options = ", trust_remote_code=True" if own_code else ""
    return _TEXT.format(
        name=name, model_type=family.model_type, architecture=family.architecture, table=table, options=options
    )
