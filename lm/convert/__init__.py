"""Weights to and from elsewhere: Hugging Face families by table, and PyTorch for any architecture."""
