"""Token shards: written once with a manifest, read by memory map, drawn from in an order with random access.

`write_shards` makes a directory, `Shards.open` reads one; `training_examples`, `evaluation_batches` and `iterate`
turn it into batches.
"""

from lm.data.shards.loader import Batch, Examples, evaluation_batches, iterate, training_examples
from lm.data.shards.read import Shards, TokenSource
from lm.data.shards.write import write_shards, write_token_shards

__all__ = [
    "Batch",
    "Examples",
    "Shards",
    "TokenSource",
    "evaluation_batches",
    "iterate",
    "training_examples",
    "write_shards",
    "write_token_shards",
]
