"""Adapting: the inner loop in a process of its own, so that it cannot stall a frame."""
