"""Looks for what a platform claims among its capabilities, where that can be looked for."""

from omegaconf import DictConfig

from sweeproute.config import ConfigError

R_TIDYMODELS = "R_tidymodels"


class LackingError(ConfigError):
    """This machine lacks what a trial needs.

    Attributes:
        platform_lacks: Tells the launcher that it is the platform's fault, not the trial's.
    """

    platform_lacks = True


def lacks(capability: str) -> str | None:
    """Say why this machine lacks a capability that its platform may claim.

    Args:
        capability: A name of the registry's.

    Returns:
        A clause with the cure; None where the machine has it, or nobody knows how to look.
    """
    if capability != R_TIDYMODELS:
        return None
    from sweeproute.models import r_process

    return r_process.missing()


def refuse(cfg: DictConfig) -> None:
    """Refuse a trial that cannot run on this machine.

    Args:
        cfg: The trial's config.

    Raises:
        LackingError: The machine lacks a capability of `job.required_capabilities`.
    """
    for capability in cfg.job.required_capabilities:
        why = lacks(capability)
        if why is not None:
            raise LackingError(f"model.type={cfg.model.type} needs {capability}, and {why}.")
