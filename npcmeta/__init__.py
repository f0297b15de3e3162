"""npcmeta: few-shot policies for game characters. Start at `npcmeta.types`."""

__version__ = "0.1.0"
