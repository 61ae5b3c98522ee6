"""From text to batches: readers, tokenizers, shards, the loader, and the generated world."""
