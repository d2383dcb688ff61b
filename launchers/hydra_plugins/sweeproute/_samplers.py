"""Makes the samplers of Optuna that choose the next point of a search, by name."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._errors import SettingsError, nearest_first
from ._options import build, check_options
from ._space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

    from ._dimension import Dimension

_SETTING = "hydra.sweeper.sampler_options"
# Ours to give: what a trial's seed decides, and warnings that are said once elsewhere.
_OURS = ("seed", "warn_asynchronous_seeding", "warn_independent_sampling")


@dataclass(frozen=True)
class _Kind:
    made: str
    needs: tuple[str, ...] = ()
    objectives: bool = True
    choices: bool = True
    slow: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)


# What each takes, read in the source of Optuna 4.9 and 5.0. "Jointly" is what a sampler's own method draws together;
# tpe draws the rest by a model of that parameter alone, the others draw it at random.
#
#         | several objectives     | choices                  | keys with a `when`  | where its state lies
#  random | yes                    | each alone               | each alone          | nowhere: it has none
#  tpe    | yes                    | jointly                  | each alone; with    | nowhere: fitted for each trial
#         |                        |                          | group=true, jointly |
#  cmaes  | no: it raises          | no: at random            | no: at random       | the optimiser: trials' attributes
#  qmc    | yes: it reads no value | jointly (4.9: at random) | no: at random       | place in the sequence: the study's
#  nsga   | yes                    | jointly                  | no: at random       | generations: trials', the study's
#  gp     | yes                    | jointly                  | no: at random       | nowhere: fitted for each trial
#
# What is drawn jointly is told to a sampler from the space. Optuna infers it from the trials so far, and a key that
# happened to exist in all of them would be in it: cmaes gives up for good once such a key has to leave, for the state
# that it kept has another number of dimensions; qmc keeps the keys of the first trial for ever.
_KINDS = {
    "random": _Kind("RandomSampler"),
    # With liars, what still runs is taken for bad, so that slots that ask together are not sent to one place.
    "tpe": _Kind("TPESampler", defaults={"constant_liar": True}),
    "cmaes": _Kind("CmaEsSampler", needs=("cmaes",), objectives=False, choices=False),
    # Without scrambling every search would begin at the lowest corner of its space, whatever its seed.
    "qmc": _Kind("QMCSampler", needs=("scipy",), defaults={"scramble": True}),
    "nsga": _Kind("NSGAIISampler"),
    # Its first ask imports torch, and each fits a model anew: with hundreds of trials that takes seconds.
    "gp": _Kind("GPSampler", needs=("scipy", "torch"), slow=True),
}
SAMPLERS = tuple(_KINDS)


@dataclass(frozen=True)
class Sampler:
    """A sampler of Optuna for one space, made anew for each trial.

    All that one knows lies in the study. Made anew with a seed of the trial's own, it proposes the same for the same
    trials whatever process asks, so that a search that was cut goes on as if it had not been.

    Attributes:
        name: One of SAMPLERS.
        options: Its own, checked.
        made: Optuna's class, with its joint search space where it takes one.
    """

    name: str
    options: Mapping[str, Any]
    made: "type[BaseSampler]"

    def seeded(self, seed: int, lasting: int) -> "BaseSampler":
        """The sampler of one trial.

        Args:
            seed: The trial's, 32 bits.
            lasting: The study's, 32 bits: what has to be the same over all trials.
        """
        # lazy import: a grid needs none of it
        from optuna.samplers import RandomSampler

        ours: dict[str, Any] = {"seed": seed}
        if self.name == "qmc":
            # Its seed scrambles the sequence, of which each trial is the next member.
            ours["seed"] = lasting
        if self.name in ("cmaes", "qmc", "gp"):
            ours |= {"independent_sampler": RandomSampler(seed=seed), "warn_independent_sampling": False}
        return build(_SETTING, self.name, self.made, **{**self.options, **ours})

    @property
    def slow(self) -> bool:
        """Whether a point of it may take seconds."""
        return _KINDS[self.name].slow

    def remarks(self, space: Space) -> list[str]:
        """What a person should know of this sampler in this space, a sentence each."""
        alone = [one.key for one in space.dimensions if one.when or (one.choices and not _takes_choices(self.name))]
        if not alone or self.name in ("random", "tpe"):
            return []
        return [f"{self.name} does not model {_listed(alone)} and draws from there at random; tpe models all."]


def sampler(name: str, options: Mapping[str, Any], space: Space, objectives: int = 1) -> Sampler:
    """Check a sampler against its options, its space and what it is to optimise.

    Args:
        name: One of SAMPLERS.
        options: Its own, by the names of Optuna's constructor.
        space: Where it is to search.
        objectives: How many there are.

    Returns:
        What makes it for each trial.

    Raises:
        SettingsError: It cannot be served; the sentence says what can.
    """
    if name not in _KINDS:
        raise SettingsError(f"hydra.sweeper.sampler is {name!r}. Allowed: {nearest_first(name, ('grid', *SAMPLERS))}.")
    kind = _KINDS[name]
    missing = [package for package in kind.needs if importlib.util.find_spec(package) is None]
    if missing:
        raise SettingsError(
            f"The sampler {name} needs {' and '.join(missing)}, not installed here: pip install {' '.join(missing)}."
        )
    if objectives > 1 and not kind.objectives:
        able = ", ".join(other for other, its in _KINDS.items() if its.objectives)
        raise SettingsError(f"The sampler {name} takes one objective, and there are {objectives}. Of several: {able}.")
    # lazy import: a grid needs none of it
    import optuna

    made = getattr(optuna.samplers, kind.made)
    check_options(_SETTING, name, made, options, _OURS)
    settled = {**kind.defaults, **options}
    joint = _joint(name, space)
    if name == "cmaes" and not joint:
        raise SettingsError(
            f"The sampler cmaes searches numbers that every point has, and {space.name or 'this space'} has none. "
            "Choose tpe."
        )
    if name != "random" and not (name == "tpe" and _infers(made, settled, objectives)):
        made = _over(made, joint)
    if name == "tpe":
        # lazy import: it imports Optuna
        from . import _kept_memory
        from ._quick_tpe import quicker

        _kept_memory.keep()
        made = quicker(made)
    checked = Sampler(name, settled, made)
    checked.seeded(0, 0)
    return checked


def distributions(space: Space) -> "dict[str, BaseDistribution]":
    """Optuna's distribution of each dimension, by key.

    Dimensions with the same values have the same one, however they were written: Optuna refuses a study's parameter
    whose choices changed.
    """
    return {one.key: _distribution(one) for one in space.dimensions}


def suggest(trial: "Trial", key: str, drawn_from: "BaseDistribution") -> Any:
    """Have a trial's sampler draw one parameter.

    Args:
        trial: The trial.
        key: The parameter.
        drawn_from: Its distribution.

    Returns:
        The value, as the sampler gives it.
    """
    # lazy import: a grid needs none of it
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(drawn_from, FloatDistribution):
        return trial.suggest_float(key, drawn_from.low, drawn_from.high, step=drawn_from.step, log=drawn_from.log)
    if isinstance(drawn_from, IntDistribution):
        return trial.suggest_int(key, drawn_from.low, drawn_from.high, step=drawn_from.step, log=drawn_from.log)
    assert isinstance(drawn_from, CategoricalDistribution)
    return trial.suggest_categorical(key, drawn_from.choices)


def _distribution(dimension: "Dimension") -> "BaseDistribution":
    # lazy import: a grid needs none of it
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    from ._dimension import ahead

    if dimension.choices is not None:
        return CategoricalDistribution(sorted(set(dimension.choices)))
    low, high, step, count = dimension.low, dimension.high, dimension.step, dimension.count()
    assert low is not None
    assert high is not None
    if dimension.whole:
        steps = int(step or 1)
        return IntDistribution(int(low), int(low) + steps * ((count or 1) - 1), dimension.log, steps)
    if step is None:
        return FloatDistribution(float(low), float(high), dimension.log)
    return FloatDistribution(float(low), ahead(low, step, (count or 1) - 1), step=float(step))


def _takes_choices(name: str) -> bool:
    if name == "qmc":
        # lazy import: a grid needs none of it
        import optuna

        return int(optuna.__version__.partition(".")[0]) >= 5
    return _KINDS[name].choices


def _joint(name: str, space: Space) -> "dict[str, BaseDistribution]":
    """What every point has, of what a sampler can draw together; in the order of names, as Optuna keeps it."""
    drawn = [one.key for one in space.dimensions if not one.when and (one.choices is None or _takes_choices(name))]
    found = distributions(space)
    return {key: found[key] for key in sorted(drawn) if not found[key].single()}


def _infers(made: type[Any], options: Mapping[str, Any], objectives: int) -> bool:
    """Whether tpe has to find for itself what it draws together: nothing, or groups of keys."""
    # lazy import: only tpe's
    import inspect

    together = options.get("multivariate", inspect.signature(made).parameters["multivariate"].default)
    return bool(options.get("group")) or not (objectives == 1 if together is None else together)


def _over(made: "type[BaseSampler]", joint: "dict[str, BaseDistribution]") -> "type[BaseSampler]":
    def infer_relative_search_space(self: Any, study: Any, trial: Any) -> "dict[str, BaseDistribution]":  # noqa: ARG001
        return dict(joint)

    # Under the name of the class: nsga writes it into what it keeps in the study.
    return type(made.__name__, (made,), {"infer_relative_search_space": infer_relative_search_space})


def _listed(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
