"""Checkpoints in Hugging Face's format, both ways."""
