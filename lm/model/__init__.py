"""The decoder: one pure function of (params, tokens), many architectures as values of `ModelConfig`."""
