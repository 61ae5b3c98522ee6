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

A decoder-only language model for transformers, of the class `{architecture}`.{source}

{table}

With this directory at `{name}`:

```python
{code}
```
"""
_OWN_SOURCE = """
Its code is `modeling_lm.py`, beside the weights; `trust_remote_code=True` runs that file."""
_MODEL = """from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("{name}"{options})"""
_MODEL_AND_TOKENIZER = """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}"{options})
tokenizer = AutoTokenizer.from_pretrained("{name}"{options})
prompt = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=50)[0]))"""


def text(
    name: str,
    cfg: ModelConfig,
    family: Family,
    dtype: str,
    facts: Mapping[str, str],
    *,
    tokenizer: bool,
    own_code: bool = False,
) -> str:
    """Returns the card as Markdown; `facts` are further rows of its table, by label.

    `tokenizer` says that there is one beside the weights; `own_code` that the model's code is, so that loading it takes
    the reader's consent.
    """
    heads = f"{cfg.n_heads} of queries, {cfg.n_kv_heads} of keys and values, {cfg.head_width} wide"
    rows = {
        "Parameters": f"{cost.n_params(cfg):,}",
        "Layers": str(cfg.n_layers),
        "Model width": str(cfg.d_model),
        **({"Attention heads": heads} if any(layer.attends for layer in cfg.layers) else {}),
        "Context length": f"{cfg.max_seq_len:,} tokens",
        "Vocabulary": f"{cfg.vocab_size:,} tokens",
        "Weights stored in": dtype,
        **facts,
    }
    code = (_MODEL_AND_TOKENIZER if tokenizer else _MODEL).format(
        name=name, options=", trust_remote_code=True" if own_code else ""
    )
    return _TEXT.format(
        name=name,
        model_type=family.model_type,
        architecture=family.architecture,
        source=_OWN_SOURCE if own_code else "",
        table="\n".join(["| | |", "|---|---|", *(f"| {label} | {value} |" for label, value in rows.items())]),
        code=code,
    )
