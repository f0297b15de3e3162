"""Tasks of the Omniglot family: who is in them, how often, and that nobody is in two places."""

import pytest
import torch
from torch import Generator, Tensor

from npcmeta.tasks import omniglot
from npcmeta.tasks.omniglot import OmniglotFamily
from npcmeta.tasks.omniglot.distortion import Distortion, distort
from npcmeta.tasks.omniglot.drawings import Drawings, DrawingsError, read_drawings
from npcmeta.types import Task
from tests.npcmeta.tasks import omniglot_files as files


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Drawings:
    return read_drawings(files.tiny_omniglot(tmp_path_factory.mktemp("omniglot")))


def numbered(alphabets: dict[str, int], people: int = 6) -> Drawings:
    """Pictures that say which they are: the first pixel is the character, the second who drew it."""
    places = tuple(("set", name, f"{i}") for name, size in alphabets.items() for i in range(size))
    pictures = torch.zeros(len(places), people, 28, 28, dtype=torch.uint8)
    pictures[..., 0, 0] = torch.arange(len(places)).unsqueeze(-1)
    pictures[..., 0, 1] = torch.arange(people)
    return Drawings(places, pictures)


def named(observation: Tensor) -> Tensor:
    """Character and person of pictures made by `numbered`, [.., 2]."""
    return (255 * observation[..., :2]).round().to(torch.int64)


def draw(family: OmniglotFamily, *, shots: int, query_shots: int = 3, num_tasks: int = 20) -> Task:
    return family.sample(Generator().manual_seed(0), num_tasks, shots=shots, query_shots=query_shots)


@pytest.mark.parametrize(("ways", "shots"), [(2, 1), (5, 1), (5, 3), (7, 0)])
def test_every_way_has_its_shots_and_nobody_drew_both_support_and_query(ways: int, shots: int) -> None:
    task = draw(OmniglotFamily(numbered({"Latin": 5, "Greek": 4}), ways=ways, choices=8), shots=shots)
    assert task.support.observation.shape == (20, ways * shots, 784)
    assert task.query.observation.shape == (20, ways * 3, 784)
    for row in range(20):
        characters = {}
        seen = set()
        for part, count in ((task.support, shots), (task.query, 3)):
            choices = part.action.discrete[row, :, 0]
            assert torch.bincount(choices, minlength=8).tolist() == [count] * ways + [0] * (8 - ways)
            for choice, (character, person) in zip(
                choices.tolist(), named(part.observation[row]).tolist(), strict=True
            ):
                assert characters.setdefault(choice, character) == character
                assert (character, person) not in seen
                seen.add((character, person))
        assert len(set(characters.values())) == ways


def test_choices_beyond_the_ways_are_masked() -> None:
    family = OmniglotFamily(numbered({"Latin": 5}), ways=3, choices=8)
    task = draw(family, shots=2)
    assert family.spec.action.branch_sizes == (8,)
    assert task.support.action_mask.shape == (20, 6, 8)
    assert task.query.action_mask.unique(dim=1).tolist() == [[[True] * 3 + [False] * 5]] * 20


@pytest.mark.parametrize("within", [0.0, 0.5, 1.0])
def test_the_share_of_tasks_within_an_alphabet(within: float) -> None:
    family = OmniglotFamily(numbered({"Latin": 10, "Greek": 10, "Runes": 3}), ways=5, within=within)
    characters = named(draw(family, shots=1, num_tasks=400).support.observation)[..., 0]
    alphabet = characters.div(10, rounding_mode="floor")
    alone = (alphabet == alphabet[:, :1]).all(-1)
    assert float(alone.float().mean()) == pytest.approx(within, abs=0.08)
    if within == 1.0:
        assert set(alphabet.flatten().tolist()) == {0, 1}  # Runes are too few for five ways


def test_order_and_choices_are_anew_in_every_task() -> None:
    task = draw(OmniglotFamily(numbered({"Latin": 5}), ways=5), shots=1, num_tasks=200)
    for place in range(5):
        assert torch.bincount(task.support.action.discrete[:, place, 0], minlength=5).min() > 20
        first = named(task.support.observation)[..., 0][task.support.action.discrete[..., 0] == place]
        assert torch.bincount(first, minlength=5).min() > 20


def test_tasks_are_fixed_by_the_generator() -> None:
    family = OmniglotFamily(numbered({"Latin": 5}), ways=3, distortion=Distortion())
    one, again = (draw(family, shots=1) for _ in range(2))
    other = family.sample(Generator().manual_seed(1), 20, shots=1, query_shots=3)
    assert torch.equal(one.support.observation, again.support.observation)
    assert not torch.equal(one.support.observation, other.support.observation)


def test_evaluation_asks_the_same_at_every_number_of_shots() -> None:
    family = OmniglotFamily(numbered({"Latin": 9}, people=11), ways=3)
    none, one, five = (family.evaluation(shots) for shots in (0, 1, 5))
    assert none.ids == one.ids == five.ids
    assert len(set(one.ids)) == len(one.ids) == omniglot.EVALUATION_TASKS
    for row in range(20):
        asked = [sorted(named(each.task.query.observation[row]).tolist()) for each in (none, one, five)]
        assert asked[0] == asked[1] == asked[2]
        shown = [{tuple(pair) for pair in named(each.task.support.observation[row]).tolist()} for each in (one, five)]
        assert shown[0] < shown[1]
    assert family.evaluation(6).ids == ()
    assert family.evaluation(6).task.query.observation.shape[0] == 0


@pytest.mark.parametrize(("ways", "choices", "within"), [(10, 10, 0.0), (6, 8, 0.5), (5, 4, 0.0), (1, 5, 0.0)])
def test_ways_that_cannot_be(ways: int, choices: int, within: float) -> None:
    with pytest.raises(ValueError, match=f"^{ways} ways: expected 2 to "):
        OmniglotFamily(numbered({"Latin": 5, "Greek": 4}), ways=ways, choices=choices, within=within)


def test_more_drawings_than_people() -> None:
    with pytest.raises(ValueError, match="8 drawings of each character, shots and query shots together; there are 6"):
        draw(OmniglotFamily(numbered({"Latin": 5}), ways=3), shots=5)


def test_nothing_of_the_test_is_in_training(drawings: Drawings) -> None:
    known, apart = omniglot.training_drawings(drawings, held_out="Greek")
    test = omniglot.test_drawings(drawings)
    assert {place[0] for place in (*known.places, *apart.places)} == {files.TRAIN}
    assert {place[1].partition(",")[0] for place in known.places} == {"Latin"}
    assert {place[1] for place in apart.places} == {"Greek"}
    assert {place[:2] for place in test.places} == {(files.TEST, "Tagalog"), (files.TEST, "Sanskrit")}
    assert (len(known.places), len(apart.places), len(test.places)) == (20, 4, 9)
    everything, nothing = omniglot.training_drawings(drawings)
    assert (len(everything.places), len(nothing.places)) == (36, 0)


def test_an_alphabet_that_is_not_there_says_which_are(drawings: Drawings) -> None:
    with pytest.raises(DrawingsError, match=r"no alphabet Klingon .* it has Greek, Latin"):
        omniglot.training_drawings(drawings, held_out="Klingon")


def test_no_distortion_is_none(drawings: Drawings) -> None:
    pictures = drawings.pictures[:, 0].float() / 255
    still = distort(pictures, Distortion(0.0, 0.0, 0.0, 0.0, 0.0, 0.0), Generator().manual_seed(0))
    torch.testing.assert_close(still, pictures, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("what", Distortion._fields)
def test_each_distortion_changes_every_picture_a_little(drawings: Drawings, what: str) -> None:
    pictures = drawings.pictures[:, 0].float() / 255
    amount = Distortion(*(value if name == what else 0.0 for name, value in Distortion()._asdict().items()))
    found = distort(pictures, amount, Generator().manual_seed(0))
    assert found.shape == pictures.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    change = (found - pictures).abs().mean((1, 2))
    assert float(change.min()) > 0
    assert float(change.mean()) < 0.5 * float(pictures.mean() * 2)
