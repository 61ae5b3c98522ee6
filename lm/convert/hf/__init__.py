"""Checkpoints in Hugging Face's format, both ways: `read(DIR)`, and `write(cfg, params, DIR)`."""

from lm.convert.hf.reading import Imported, read, read_config
from lm.convert.hf.writing import Exported, write

__all__ = ["Exported", "Imported", "read", "read_config", "write"]
