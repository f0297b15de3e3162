"""Number formats: archetypes, NPCs and graphs are float32, whatever a program lets torch draw in by default."""

from __future__ import annotations

import torch


def check_default(doing: str) -> None:
    """Raises ValueError unless torch draws in float32 by default, for what draws or traces by torch's default.

    Archetypes load, act and adapt under any default; nothing here changes it, as it is the whole program's.
    """
    found = torch.get_default_dtype()
    if found != torch.float32:
        raise ValueError(
            f"{doing} under torch's default dtype {found}, expected torch.float32; call "
            "torch.set_default_dtype(torch.float32) before it, and set yours again behind it"
        )
