"""Moving NPCs to another revision of their archetype, in the background."""
