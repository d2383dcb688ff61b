"""Makes the pruners of Optuna that stop trials without prospects, by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._errors import SettingsError, nearest_first
from ._options import build, check_options

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

_SETTING = "hydra.sweeper.pruner_options"
_MADE = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "wilcoxon": "WilcoxonPruner",
}
PRUNERS = tuple(_MADE)
# What Optuna reads of the trials that there are when it first prunes, and then keeps in the object alone.
_AUTOMATIC = {"halving": "min_resource", "hyperband": "max_resource"}


@dataclass(frozen=True)
class Pruner:
    """A pruner of Optuna.

    Attributes:
        name: One of PRUNERS.
        options: Its own, checked.
        made: Optuna's class.
    """

    name: str
    options: Mapping[str, Any]
    made: "type[BasePruner]"

    @property
    def pairs(self) -> bool:
        """Whether it compares two trials step by step, so that no step may hold what an earlier one gave already."""
        return self.name == "wilcoxon"

    @property
    def learns(self) -> bool:
        """Whether it needs to be told how many steps a trial has."""
        key = _AUTOMATIC.get(self.name)
        return key is not None and self.options.get(key, "auto") == "auto"

    def resource(self, last_steps: Iterable[int]) -> int | None:
        """What it has to know of the trials' steps, as Optuna reckons it.

        Args:
            last_steps: The last step of each complete trial that reported.

        Returns:
            Its least or its greatest resource; None as long as no such trial is there.
        """
        most = max(last_steps, default=None)
        if most is None:
            return None
        return max(most // 100, 1) if self.name == "halving" else most + 1

    def make(self, resource: int | None = None) -> "BasePruner":
        """The pruner.

        Args:
            resource: What `resource` gave, kept in the study so that a later process prunes by the same; None while it
                is not known, or where the options give it.
        """
        told = {} if resource is None else {_AUTOMATIC[self.name]: resource}
        return build(_SETTING, self.name, self.made, **(dict(self.options) | told))


def pruner(name: str, options: Mapping[str, Any], objectives: int = 1) -> Pruner:
    """Check a pruner against its options.

    Args:
        name: One of PRUNERS.
        options: Its own, by the names of Optuna's constructor.
        objectives: How many there are.

    Raises:
        SettingsError: It cannot be served; the sentence says what can.
    """
    if name not in _MADE:
        raise SettingsError(f"hydra.sweeper.pruner is {name!r}. Allowed: {nearest_first(name, PRUNERS)}.")
    if objectives > 1 and name != "none":
        raise SettingsError(
            f"hydra.sweeper.pruner is {name!r}, and there are {objectives} objectives: Optuna prunes by one alone. "
            "Set the pruner to none, or name one metric."
        )
    # lazy import: a grid needs none of it
    import optuna

    made = getattr(optuna.pruners, _MADE[name])
    check_options(_SETTING, name, made, options)
    checked = Pruner(name, dict(options), made)
    checked.make()
    return checked
