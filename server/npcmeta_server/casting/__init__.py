"""Casting: who is in a stream, and how its frames are read."""
