"""Recorded demonstrations."""
