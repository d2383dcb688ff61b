"""One trial, or with -m a sweep of them: `python train.py -m model=xgboost`."""

import hydra
from omegaconf import DictConfig

import sweeproute.config  # noqa: F401  (registers the schema before Hydra composes)
from sweeproute.errors import command


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> dict[str, float]:
    """Run the trial that the config describes."""
    from sweeproute.experiment import run_trial

    return run_trial(cfg)


if __name__ == "__main__":
    command(main)
