"""What a fitted estimator can say of its fit, beside what it predicts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omegaconf import DictConfig

from sweeproute.estimators.files import class_name

if TYPE_CHECKING:
    import pandas as pd

# Whose classes may say something of this kind.
_OURS = "sweeproute.models."


@runtime_checkable
class Telling(Protocol):
    """A model that says how it was fitted.

    Attributes:
        engine_: What fitted it, with versions, for a tag.
    """

    engine_: str

    def warnings(self, names: Sequence[str]) -> list[str]:
        """What should be known of the fit, a sentence each, for features of these names."""
        ...

    def coefficients(self, names: Sequence[str]) -> "pd.DataFrame":
        """A table of what was learned of each feature, the index named."""
        ...


def telling(estimator: Any) -> Telling | None:
    """The model in a fitted estimator that says how it was fitted.

    Args:
        estimator: A fitted classifier, or a pipeline with one at its end.

    Returns:
        The model; None where it says nothing.
    """
    last = estimator[-1] if class_name(estimator) == "sklearn.Pipeline" else estimator
    return last if isinstance(last, Telling) else None


def outside_versions(model_cfg: DictConfig) -> dict[str, str]:
    """Versions of what a model is fitted by outside Python.

    Args:
        model_cfg: The `model` node of a composed configuration.

    Returns:
        By name, such as R; empty for a model that needs nothing there.

    Raises:
        ModelError: It needs something that is not there.
    """
    target = str(model_cfg.params.get("_target_"))
    if not target.startswith(_OURS):
        return {}
    from hydra.utils import get_class

    ask = getattr(get_class(target), "outside_versions", None)
    return {} if ask is None else dict(ask())
