"""Hierarchical Bayes on learned features: the average policy, and a posterior of how a character differs from it.

The default. Adapting is a closed form (or a few fixed steps down a bound), so it takes a millisecond, and it moves a
character only as far as its examples are evidence: without any, it is the average policy itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from npcmeta import networks
from npcmeta.learners import bayes_context, bayes_matrix, bayes_tuned
from npcmeta.learners.choices import Choice
from npcmeta.types import BehaviorSpec, Learner

SHARES = ((0.5, 0.25), (0.5, 0.1), (0.25, 0.25), (0.1, 0.1), (0.0, 0.0))
"""Of what is said of means and of spreads. More of either made new characters worse with ten examples: Gaussians are
too sure of themselves, and the fit of spreads has no bound to go down."""
LESS, MORE = (0.3, 0.1, 0.01), (3.0,)
"""Of the tempering. Training sees only characters whom the average policy was taught by, so it cannot tell how much new
ones differ; what it learned stays, unless validation characters speak against it. A hundredth: nothing is personal."""
LATER = (3.0, 10.0)
"""Of `prior_examples`: where a handful of examples misleads, and many do not."""
DOUBT_LESS, DOUBT_MORE = 0.0, 2.0
"""Standard errors: to the safe side it goes on a better mean, to the other one only on evidence."""


@dataclass(frozen=True)
class BayesSettings:
    """Settings of hierarchical Bayes."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    context: int = 0
    """0: a character is a matrix, how it differs from the average in learned features; right for a few dozen people.
    Otherwise the size of a context vector that a character is; right for hundreds of training characters."""
    members: int = 2
    """How many networks the policy is the mean of, each with features and a posterior of its own; one if there is a
    context."""
    features: int = 63
    """Features of an observation, in each member, in which a character may differ, if there is no context; with a
    constant one they are a round number."""
    feature_layer: int = 64
    """Units of a layer that the features have to themselves, if there is no context."""
    tuned: int = 0
    """Networks beside it that adapt all of their weights, as `fomaml` does: heavier, and better with many examples."""
    encoder: tuple[int, ...] = (128,)
    """Sizes of the encoder's hidden layers, if there is a context."""
    code: int = 128
    """Size of the code of an example, if there is a context."""
    prior_examples: float = 10.0
    """How many examples the average character counts for: K of them move it by K / (K + prior_examples) of what they
    say, however well they agree. Without a context, training may multiply it by one of `LATER` in the end."""
    inner_steps: int = 4
    """Steps of the inner loop, M."""
    tempering: float = 0.2
    """What an example counts for: play is autocorrelated, so it says less than it seems to. Without a context it is
    only where learning begins, and training may multiply it by one of `LESS` or `MORE` in the end."""
    mean_share: float = 0.25
    """How much of what the examples say of the means of continuous actions is believed, if there is no context;
    training replaces it, and the next one, by the best of `SHARES` on validation tasks. What they say of choices is
    believed."""
    spread_share: float = 0.25
    """The same of their spreads."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    dropout: float = 0.1
    """Share of hidden units left out while training."""
    feature_dropout: float = 0.1
    """Share of the features' inputs left out while training, if there is no context."""
    unadapted_share: float = 0.5
    """Weight of the average policy's loss beside the loss after adapting."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        light = (bayes_context if self.context else bayes_matrix).build(self, spec)
        return bayes_tuned.build(self, light, spec) if self.tuned else light

    def choices(self, spec: BehaviorSpec) -> list[Choice]:
        """Shares of the continuous actions' posterior, if there are such actions; then what an example counts for."""
        if self.context:
            return []
        shares = [{"mean_share": mean, "spread_share": spread} for mean, spread in SHARES]
        less, more = ([{"tempering": self.tempering * factor} for factor in factors] for factors in (LESS, MORE))
        of_shares = [Choice(shares)] if spec.action.continuous_size else []
        later = [{"prior_examples": self.prior_examples * factor} for factor in LATER]
        return [*of_shares, Choice(less, DOUBT_LESS), Choice(more, DOUBT_MORE), Choice(later, DOUBT_LESS)]
