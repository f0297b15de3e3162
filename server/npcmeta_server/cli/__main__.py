"""`python -m npcmeta_server.cli`: the same as the console script."""

import sys

from npcmeta_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
