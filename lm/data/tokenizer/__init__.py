"""Tokenizers of several kinds behind one interface: `train`, `load`, and the `Tokenizer` they return."""

from lm.data.tokenizer.base import Tokenizer
from lm.data.tokenizer.train import bytes_per_token, defaults, kinds, load, train

__all__ = ["Tokenizer", "bytes_per_token", "defaults", "kinds", "load", "train"]
