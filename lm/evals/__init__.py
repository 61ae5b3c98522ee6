"""Measuring models: graders of answers, questions put to a model, perplexity on held-out text."""
