"""Serving: frames of many different NPCs, and adapting meanwhile, beside floors and alternatives in the same run."""
