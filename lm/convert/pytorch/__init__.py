"""Any architecture as a stand-alone PyTorch module, and back."""
