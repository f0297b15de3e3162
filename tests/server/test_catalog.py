"""The catalog: what can be served is, what cannot is told, and nothing of it stops the server."""

from pathlib import Path

import pytest

from npcmeta.archetype import MAX_FILE_BYTES
from npcmeta_export.parity import ParityError
from npcmeta_export.runtime import load_session
from npcmeta_server import catalog
from tests.server.conftest import save


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("archetypes")
    save("painter", folder)
    return (folder / "painter.safetensors").read_bytes()


def test_a_folder_and_its_sub_folders_are_offered_without_baselines_and_broken_files(
    painter: bytes, tmp_path: Path
) -> None:
    (tmp_path / "runs" / "deep").mkdir(parents=True)
    (tmp_path / "a-folder.safetensors").mkdir()
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    (tmp_path / "cut.safetensors").write_bytes(painter[: len(painter) // 2])
    (tmp_path / "empty.safetensors").touch()
    for path in ("runs/painter.safetensors", "runs/baseline.safetensors", "runs/deep/x.safetensors", "notes.txt"):
        (tmp_path / path).write_bytes(painter)
    found = catalog.load(tmp_path)
    assert list(found.hosted) == ["painter"]
    assert sorted(Path(problem.partition(":")[0]).stem for problem in found.problems) == [
        "a-folder", "cut", "empty", "gone",
    ]  # fmt: skip
    hosted = found.hosted["painter"]
    assert (hosted.data, hosted.state_bytes) == (painter, 4 * sum(v.numel() for v in hosted.first_state.values()))
    state_inputs = {entry.name for entry in load_session(hosted.model).get_inputs()} - {"observation", "noise"}
    assert state_inputs == {f"state.{key}" for key in hosted.first_state}


def test_a_file_too_large_to_be_an_archetype_is_a_problem_before_it_is_read(painter: bytes, tmp_path: Path) -> None:
    (tmp_path / "painter.safetensors").write_bytes(painter)
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a hole: it takes no room on the disk
    [problem] = catalog.load(tmp_path).problems
    assert "expected at most" in problem


def test_an_archetype_that_onnxruntime_decides_otherwise_is_a_problem_not_the_end(
    painter: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "painter.safetensors").write_bytes(painter)

    def differ(archetype: object) -> None:
        raise ParityError("actions differ by 0.3")

    monkeypatch.setattr(catalog, "policy_model", differ)
    found = catalog.load(tmp_path)
    assert found.hosted == {}
    assert "painter.safetensors: actions differ" in found.problems[1]


def test_a_name_that_two_have_and_folders_without_archetypes_are_refused(painter: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        catalog.load(tmp_path / "nowhere")
    assert "holds no archetype that can be served" in catalog.load(tmp_path).problems[0]
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").write_bytes(painter)
    both = r'two.safetensors and .*one.safetensors are both called "painter".*archetype upload.*another --name'
    with pytest.raises(ValueError, match=both):
        catalog.load(tmp_path)
