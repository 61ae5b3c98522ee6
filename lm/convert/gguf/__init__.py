"""Models as GGUF, the one-file format of llama.cpp: `write(cfg, params, FILE)`."""

from lm.convert.gguf.writing import TYPES, write

__all__ = ["TYPES", "write"]
