"""Text from a trained model: sampling rules and cached decoding."""
