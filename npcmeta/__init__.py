"""npcmeta: few-shot policies for game characters. Start at `npcmeta.types`."""
