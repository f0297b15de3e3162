"""ML-Agents: an existing Unity build, driven by NPCs as if by its trainer."""
