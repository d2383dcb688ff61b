"""Writes the `.hydra` files of a job, byte for byte what Hydra writes, at a tenth of the cost."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, Node, OmegaConf
from omegaconf._utils import get_omega_conf_dumper

from ._hydra_versions import key_path, settled_environment

try:
    from yaml import CDumper as _Dumper
except ImportError:  # PyYAML without libyaml: the same files, slower
    from yaml import Dumper as _Dumper  # type: ignore[assignment]


_OmegaConfDumper = get_omega_conf_dumper()


class _ConfigDumper(_Dumper):
    """OmegaConf's way with strings and paths, on the dumper in C."""


_ConfigDumper.yaml_representers = get_omega_conf_dumper().yaml_representers


def dump(content: Any) -> str:
    """YAML as `OmegaConf.to_yaml` formats it."""
    text = _dump(content, _ConfigDumper)
    # libyaml escapes and folds double-quoted text in a way of its own, and such text never is without a backslash.
    return _dump(content, _OmegaConfDumper) if "\\" in text else text


def _dump(content: Any, dumper: Any) -> str:
    text: str = yaml.dump(content, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=dumper)
    return text


class ConfigFiles:
    """The YAML text of a base config, of which each job's files keep what the job leaves as it was.

    Args:
        base: The base config with its hydra node.
    """

    def __init__(self, base: DictConfig) -> None:
        content = _container(base)
        self._hydra = content.pop("hydra")
        self._blocks = {key: dump({key: value}) for key, value in content.items()}
        self._hydra_blocks = {key: _indented(key, value) for key, value in self._hydra.items()}

    def write(self, folder: Path, task: DictConfig, config: DictConfig, touched: Iterable[Override]) -> None:
        """Write config.yaml, hydra.yaml and overrides.yaml.

        Args:
            folder: Where they go.
            task: The job's config without its hydra node.
            config: The job's config with it.
            touched: The overrides that set values in it: their top-level blocks are written anew.
        """
        changed = {key_path(override)[0] for override in touched}
        blocks = [
            self._blocks[key] if key in self._blocks and key not in changed else dump({key: _content(task, key)})
            for key in task
        ]
        overrides = _container(config.hydra.overrides)
        per_job = {
            "job": _written(config.hydra.job, "override_dirname", "id", "num") | settled_environment(config.hydra.job),
            "runtime": _written(config.hydra.runtime, "output_dir"),
            "overrides": overrides,
        }
        hydra = [
            _indented(key, self._hydra[key] | per_job[key]) if key in per_job else text
            for key, text in self._hydra_blocks.items()
        ]
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "config.yaml": "".join(blocks) or dump({}),
            "hydra.yaml": "hydra:\n" + "".join(hydra),
            "overrides.yaml": dump(overrides["task"]),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


def _container(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=False, enum_to_str=True)


def _written(node: DictConfig, *keys: str) -> dict[str, Any]:
    """Leaves as they are written, an interpolation in one unresolved."""
    return {key: cast(Node, node._get_node(key))._value() for key in keys}


def _content(parent: DictConfig, key: Any) -> Any:
    """What stands under a key, interpolations as their text."""
    return _container(OmegaConf.masked_copy(parent, key))[key]


def _indented(key: str, value: Any) -> str:
    """A block as it stands below `hydra`: where a long line is folded depends on that."""
    return dump({"hydra": {key: value}}).removeprefix("hydra:\n")
