"""Frames of 200 and 1000 different NPCs, and adapting meanwhile, beside servers that do less. Takes some minutes.

usage: python benchmarks/serving.py --json FILE [--repeats N]

The same as `npcmeta bench serving`, which says what is measured; a picture is written beside the file.
"""

from __future__ import annotations

import argparse
import sys

from npcmeta_server.cli import main as npcmeta


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    return npcmeta(["bench", "serving", "--json", given.json, "--repeats", str(given.repeats)])


if __name__ == "__main__":
    sys.exit(main())
