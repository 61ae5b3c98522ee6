"""The families of checkpoints that are known, one file each; in this order an export looks for one that fits."""

from __future__ import annotations

from lm.convert.hf.families import llama
from lm.convert.hf.table import Family

FAMILIES: tuple[Family, ...] = (llama.FAMILY,)
