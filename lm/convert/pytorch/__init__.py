"""Any architecture as a stand-alone PyTorch module, both ways: `write(cfg, params, DIR)`, and `read(DIR)`."""

from lm.convert.pytorch.export import FAMILY, read, read_config, write

__all__ = ["FAMILY", "read", "read_config", "write"]
