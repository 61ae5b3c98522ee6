"""Pretraining: loss, optimizer, schedule, one pure step, and the loop around it."""
