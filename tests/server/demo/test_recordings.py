"""The demo's demonstrations as files: what was streamed to the server is what the other commands read."""

from pathlib import Path

import numpy as np

from npcmeta.recordings.folder import read_folder
from npcmeta.tasks.arena.family import SPEC
from npcmeta_server.cli import main
from npcmeta_server.demo import cast as casting
from npcmeta_server.demo.recordings import write_recordings


def test_every_character_has_a_folder_of_what_was_shown(tmp_path: Path) -> None:
    cast = casting.gather("arena", 0)
    folder = write_recordings(cast, SPEC, tmp_path / "recordings")
    found = read_folder(folder)
    assert found.spec == SPEC
    assert [member.id for member in found.members] == sorted(cast.names)
    first = found.members[sorted(cast.names).index(cast.names[0])].recording
    np.testing.assert_array_equal(first.observations, cast.task.support.observation[0].numpy())
    np.testing.assert_array_equal(first.discrete_actions, cast.task.support.action.discrete[0].numpy())
    assert np.flatnonzero(first.episode_starts).tolist() == list(range(0, 500, 50))
    assert main(["data", "inspect", str(folder)]) == 0
