"""Writes the `.hydra` files of a job, byte for byte what Hydra writes, at a tenth of the cost."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper

try:
    from yaml import CDumper as _Dumper
except ImportError:  # PyYAML without libyaml: the same files, slower
    from yaml import Dumper as _Dumper  # type: ignore[assignment]


class _ConfigDumper(_Dumper):  # type: ignore[misc,valid-type]
    """OmegaConf's way with strings, on the dumper in C."""


_ConfigDumper.add_representer(str, get_omega_conf_dumper().str_representer)

# Blocks of the hydra node that differ from job to job.
_PER_JOB = ("job", "overrides", "runtime")


def dump(content: Any) -> str:
    """YAML as `OmegaConf.to_yaml` formats it."""
    return yaml.dump(content, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=_ConfigDumper)


def _container(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=False, enum_to_str=True) if OmegaConf.is_config(config) else config


class ConfigFiles:
    """The YAML text of a base config, of which each job's files keep what the job leaves as it was.

    Args:
        base: The base config with its hydra node.
    """

    def __init__(self, base: DictConfig) -> None:
        content = _container(base)
        hydra = content.pop("hydra")
        self._blocks = {key: dump({key: value}) for key, value in content.items()}
        self._hydra = {key: textwrap.indent(dump({key: value}), "  ") for key, value in hydra.items()}

    def write(
        self, folder: Path, task: DictConfig, config: DictConfig, values: Sequence[str], settled: Sequence[str]
    ) -> None:
        """Write config.yaml, hydra.yaml and overrides.yaml.

        Args:
            folder: Where they go.
            task: The job's config without its hydra node.
            config: The job's config with it.
            values: Overrides that set values: their top-level blocks are written anew.
            settled: Overrides that the platform added.
        """
        touched = {_top(text) for text in (*values, *settled)}
        blocks = []
        for key in task:
            node = task._get_node(key)
            kept = self._blocks.get(str(key)) if key not in touched else None
            blocks.append(kept if kept is not None else dump({key: _node(node)}))
        hydra = [
            textwrap.indent(dump({key: _node(config.hydra._get_node(key))}), "  ") if key in _PER_JOB else text
            for key, text in self._hydra.items()
        ]
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "config.yaml": "".join(blocks) or dump({}),
            "hydra.yaml": "hydra:\n" + "".join(hydra),
            "overrides.yaml": dump(_container(config.hydra.overrides.task)),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


def _top(override: str) -> str:
    return override.lstrip("+~").split("=", 1)[0].split(".", 1)[0].split("@", 1)[0]


def _node(node: Any) -> Any:
    """A node's content with interpolations as their text."""
    if OmegaConf.is_config(node) and not (node._is_none() or node._is_missing() or node._is_interpolation()):
        return _container(node)
    return node._value()
