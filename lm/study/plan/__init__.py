"""Says what training would take on hardware that is not here: memory, work, time and cost, on paper and compiled."""
