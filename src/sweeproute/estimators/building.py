"""Makes an unfitted estimator from a model's configuration."""

from typing import Any

from omegaconf import DictConfig

from sweeproute.estimators.errors import ModelError


def build(model_cfg: DictConfig) -> Any:
    """Instantiate `model.estimator`, or `model.params` where a model needs nothing around them.

    Args:
        model_cfg: The `model` node of a composed configuration; interpolations such as ${seed} are resolved from its
            root.

    Returns:
        A fresh estimator, unfitted.

    Raises:
        ModelError: The class cannot be found, or refuses its arguments.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        whole = model_cfg.params if model_cfg.get("estimator") is None else model_cfg.estimator
        return instantiate(whole, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ModelError(
            f"model.type={model_cfg.type} cannot be built: {' '.join(str(cause).split())}. Check _target_ and the "
            "arguments in model.params and model.estimator."
        ) from error


def predict_on_one_thread(estimator: Any) -> None:
    """Make every forest in a fitted estimator predict with one thread, in place.

    A forest adds up its trees' probabilities in the order in which its threads finish, so with more than one the last
    bits of a probability differ from call to call. Other models of this project predict bitwise the same with any
    number.

    Args:
        estimator: A fitted estimator; one that is no scikit-learn estimator is left alone.
    """
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += estimator.get_params(deep=True).values()
    for part in parts:
        # By the module's name, so that no model pays for the import of sklearn.ensemble.
        if any(kind.__module__ == "sklearn.ensemble._forest" for kind in type(part).__mro__):
            part.n_jobs = 1
