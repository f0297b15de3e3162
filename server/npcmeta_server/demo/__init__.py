"""What `npcmeta demo` does, as the game that it plays the part of: a client of the server and nothing else."""
