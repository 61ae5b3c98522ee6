"""Raw crawl to clean, deduplicated, documented training text."""
