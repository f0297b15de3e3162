"""The npcmeta server and command line; the top of the arrows."""
