"""What every stage shares: errors, config, manifests, progress, metrics, mesh, checkpoints."""
