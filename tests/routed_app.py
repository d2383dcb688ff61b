"""A small Hydra app of two models on three platforms, of which one is not there."""

from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.sweeproute import _platforms
from hydra_plugins.sweeproute.config import RoutedLauncherConf

CONF = {
    "config.yaml": """
defaults: [model: glm, place: auto, _self_]
trial: {device: auto, threads: null, depth: 3}
follows: {device: "${trial.device}", size: "${model.size}"}
priority: 5
memory: 1.5
gpu: 0
long: 2
needs: []
hydra:
  sweep: {dir: out, subdir: "${hydra.job.num}"}
""",
    "model/glm.yaml": "type: GLM\nsize: 1\ndeep: {kind: a}\n",
    "model/net.yaml": "type: Net\nsize: 2\ndeep: {kind: b}\n",
    "place/auto.yaml": "name: null\n",
    "place/box.yaml": "name: box\n",
}
FIELDS = {
    "model_type": "model.type",
    "platform": "place.name",
    "priority": "priority",
    "memory_gb": "memory",
    "gpu_memory_gb": "gpu",
    "minutes": "long",
    "capabilities": "needs",
}
SETS = {"device": "trial.device", "threads": "trial.threads"}
PLATFORMS = {
    "here": {"max_concurrent_jobs": 2, "specs": {"memory_gb": 8}},
    "box": {
        "max_concurrent_jobs": 4,
        "backend": "joblib",
        "specs": {"cpu_cores": 4, "memory_gb": 64, "gpu": "24GB"},
        "capabilities": ["R"],
    },
    "far": {"max_concurrent_jobs": 1, "specs": {"memory_gb": 64}},
}
# The sweep's config, as far as the registry is read from it.
MASTER: DictConfig = OmegaConf.create({"hydra": {"launcher": {"platforms": {}}}})


def settings(**changes: Any) -> RoutedLauncherConf:
    """The launcher's settings for the app."""
    return RoutedLauncherConf(**{"platforms": PLATFORMS, "fields": FIELDS, "sets": SETS} | changes)


def on_eight_cores(patch: pytest.MonkeyPatch) -> None:
    """Let this machine have eight cores, and the memory that the registry states."""
    patch.setattr(_platforms, "_cores_here", lambda: 8)
    patch.setattr(_platforms.Registry, "memory_gb", lambda self, name: self.settings[name].specs.memory_gb)
