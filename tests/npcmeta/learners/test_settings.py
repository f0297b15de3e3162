"""Settings are checked where they are read, so that nothing which training accepts ends in NaN or in a traceback."""

import pytest
from torch import Generator

from npcmeta import learners
from npcmeta.learners import settings as learner_settings
from npcmeta.training import choose_settings
from tests import toys


@pytest.mark.parametrize(
    ("learner", "key", "value", "expected"),
    [
        ("maml", "dropout", 1.0, "0 or a number from 1e-09 to 0.99"),
        ("cnp", "dropout", 2, "0 or a number from 1e-09 to 0.99"),
        ("bayes", "feature_dropout", 1.0, "0 or a number from 1e-09 to 0.99"),
        ("maml", "fixed_std", 1e-60, r"0 or a number from 1e-09 to 1e\+09"),
        ("abml", "prior_std", 0.001, "a number from 0.003 to 0.99"),
        ("abml", "prior_std", 0, "a number from 0.003 to 0.99"),
        ("abml", "prior_std", 1.0, "a number from 0.003 to 0.99"),
    ],
)
def test_a_number_out_of_range_names_setting_value_and_range(
    learner: str, key: str, value: float, expected: str
) -> None:
    with pytest.raises(ValueError, match=f"setting {key} is {value}, expected {expected}"):
        choose_settings("arena", learner, {key: value})


@pytest.mark.parametrize("learner", learners.LEARNERS)
def test_numbers_at_the_ends_of_their_ranges_train(learner: str) -> None:
    kind = toys.kinds(learner)[-1]
    plain = toys.small_settings(learner)
    values, task = learner_settings.to_json(plain), toys.draw_task(kind, 2, 3)
    ends = [*learner_settings.RANGES.items(), ("prior_examples", (0.0, 1e9)), ("unadapted_share", (0.0, 1.0))]
    for key, value in [(key, value) for key, pair in ends if key in values for value in pair]:
        built = learner_settings.from_json(type(plain), values | {key: value}).build(toys.spec(kind))
        meta = {k: v.requires_grad_() for k, v in built.init(Generator().manual_seed(0)).items()}
        loss, _ = built.meta_loss(meta, task, Generator().manual_seed(1))
        loss.backward()
        assert loss.isfinite(), (key, value)
        assert all(v.grad is None or v.grad.isfinite().all() for v in meta.values()), (key, value)
