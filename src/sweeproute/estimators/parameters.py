"""Checks a model's parameters against what its library documents."""

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from sweeproute.estimators.errors import ModelError
from sweeproute.estimators.signatures import KINDS, Signature, read_signature

# Part of a cached list's file name; raise it when `read_signature` learns something.
_CACHE_FORMAT = 3
# Where the distribution is not called as the package.
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}

# XGBoost drops a parameter that it no longer has with a warning at most: (name, value or None for any) to the cure.
_OUTDATED_XGBOOST = {
    ("tree_method", "gpu_hist"): "use model.params.tree_method=hist with device=cuda",
    ("updater", "grow_gpu_hist"): "use model.params.tree_method=hist with device=cuda",
    ("gpu_id", None): "leave it out and use device=cuda, or device=cuda:{value} for that GPU",
    ("predictor", None): "leave it out: prediction runs where device says",
    ("use_label_encoder", None): "leave it out: outcomes are 0 and 1 already",
    ("n_gpus", None): "leave it out: a job uses one GPU, chosen by device",
}


def check_parameters(model_cfg: DictConfig) -> None:
    """Refuse parameters that the model's class does not have, or values that it cannot take.

    The library is imported only once per version: its list of parameters is kept in the cache.

    Args:
        model_cfg: The `model` node of a composed configuration.

    Raises:
        ModelError: A name is misspelt or outdated, or a value is of a wrong kind; it says what to write instead.
    """
    target = _target(model_cfg)
    for name in model_cfg.params:
        if not name.startswith("_"):
            check_parameter(target, name, _plain(model_cfg.params, name))


def check_parameter(target: str, name: str, value: Any) -> None:
    """Refuse one parameter that a class does not have, or a value that it cannot take.

    Args:
        target: The class by its dotted path.
        name: The parameter.
        value: Its value as plain data; ... for one that is not known.

    Raises:
        ModelError: See check_parameters.
    """
    _check_name(target, name, value)
    _check_value(target, name, value)


def check_axes(model_cfg: DictConfig, axes: Mapping[str, Any]) -> None:
    """Refuse a search space that the model cannot be searched over.

    Args:
        model_cfg: The `model` node of a composed configuration.
        axes: Dotted key to values: a list, one value, or Hydra's sweep syntax, whose values are left to Hydra. Keys
            that do not begin with `model.params.` are not looked at.

    Raises:
        ModelError: The model has no such parameter, or the parameter cannot take one of the values.
    """
    target = _target(model_cfg)
    for key, values in axes.items():
        name = key.removeprefix("model.params.")
        if name == key:
            continue
        # A bare string may be an expression such as range(3,10).
        single = [] if isinstance(values, str) else [values]
        listed = list(values) if isinstance(values, list | tuple | ListConfig) else single
        for value in listed or [None]:
            _check_name(target, name, value)
        if name not in model_cfg.params:
            raise ModelError(
                f"The search space has the axis {key}, a parameter of {target} that model.type={model_cfg.type} does "
                "not set; give it a value in that model's file in conf/model first."
            )
        for value in listed:
            _check_value(target, name, value)


def _target(model_cfg: DictConfig) -> str:
    target = model_cfg.params.get("_target_")
    if not target:
        raise ModelError(
            f"model.params of model.type={model_cfg.type} names no class; add _target_, such as "
            "sklearn.linear_model.LogisticRegression."
        )
    return str(target)


def _plain(params: DictConfig, name: str) -> Any:
    """A parameter's value as plain data; ... for an interpolation that leads nowhere, as in a model node on its own."""
    if OmegaConf.is_missing(params, name):
        raise ModelError(f"model.params.{name} is ??? in the model's file; set it, such as model.params.{name}=VALUE.")
    try:
        value = params[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except InterpolationResolutionError:
        return ...


def _check_name(target: str, name: str, value: Any) -> None:
    if target.startswith("xgboost."):
        text = value if isinstance(value, str) else None
        cure = _OUTDATED_XGBOOST.get((name, text)) or _OUTDATED_XGBOOST.get((name, None))
        if cure:
            shown = f"model.params.{name}" + ("" if value is None else f"={value}")
            raise ModelError(f"{shown} is outdated; {cure.format(value=value)}.")
    names = _signature(target).names
    if names and name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
        cure = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join(names)}."
        raise ModelError(f"model.params.{name} is no parameter of {target}; {cure}")


def _check_value(target: str, name: str, value: Any) -> None:
    signature = _signature(target)
    kinds = signature.kinds.get(name)
    kind = KINDS.get(type(value))
    # A nested object, and anything else that YAML has no word for, is the library's to judge.
    if kinds is None or kind is None or (isinstance(value, dict) and "_target_" in value):
        return
    if kind not in kinds and not (kind == "int" and "float" in kinds):
        raise ModelError(f"model.params.{name}={_shown(value)} has type {kind}; {target} takes {_either(kinds)} here.")
    ranges = signature.ranges.get(name)
    if ranges and kind in ("int", "float") and not any(_within(value, *one) for one in ranges):
        taken = _either([_range(*one) for one in ranges])
        raise ModelError(f"model.params.{name}={value} is out of range; {target} takes {taken} here.")
    options = signature.options.get(name)
    if kind == "str" and options and value not in options:
        near = difflib.get_close_matches(value, options, n=1, cutoff=0.6)
        meant = f"did you mean {near[0]}? It" if near else target
        raise ModelError(f"model.params.{name}={value} is not known; {meant} takes {_either(options)}.")


def _within(value: float, kind: str, least: float | None, most: float | None, closed: str) -> bool:
    if kind == "int" and isinstance(value, float):
        return False
    above = least is None or value > least or (value == least and closed in ("left", "both"))
    below = most is None or value < most or (value == most and closed in ("right", "both"))
    return above and below


def _range(kind: str, least: float | None, most: float | None, closed: str) -> str:
    """A range in words, such as 0 or more and below 1."""
    ends = []
    if least is not None:
        ends.append(f"{least:.10g} or more" if closed in ("left", "both") else f"more than {least:.10g}")
    if most is not None:
        ends.append(f"at most {most:.10g}" if closed in ("right", "both") else f"below {most:.10g}")
    numbers = "whole numbers" if kind == "int" else "numbers"
    return " ".join([numbers, "that are", " and ".join(ends)]) if ends else numbers


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


@lru_cache
def _signature(target: str) -> Signature:
    """The signature of a class by its dotted path, from the cache where its library's version is known there."""
    cached = _cache_file(target)
    if cached is not None:
        try:
            return Signature(**json.loads(cached.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            pass  # Not there yet, or cut short: made anew below.
    signature = read_signature(_locate(target))
    if cached is not None:
        _keep(cached, json.dumps(signature.to_json()))
    return signature


def _locate(target: str) -> Any:
    module_name, _, name = target.rpartition(".")
    try:
        module = import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ModelError(
            f"model.params._target_={target} cannot be imported ({error}); check the spelling, or install its package."
        ) from error
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, dir(module), n=1, cutoff=0.6)
        cure = f"did you mean {module_name}.{near[0]}?" if near else "check the spelling."
        raise ModelError(f"model.params._target_={target} does not exist; {cure}")
    return getattr(module, name)


def _cache_file(target: str) -> Path | None:
    """Where a class's list is kept; None for a module that is no installed library and none of ours."""
    package = target.partition(".")[0]
    if package == __name__.partition(".")[0]:
        # The text of its module stands for the version, so that no command imports a model to check it.
        source = _source(target.rpartition(".")[0])
        return None if source is None else _cache_folder() / f"{target}-{source}-{_CACHE_FORMAT}.json"
    try:
        version = metadata.version(_DISTRIBUTIONS.get(package, package))
    except metadata.PackageNotFoundError:
        return None
    return _cache_folder() / f"{target}-{version}-{_CACHE_FORMAT}.json"


def _source(module: str) -> str | None:
    """A hash of a module's text, 16 hexadecimal digits; None where there is no such module."""
    try:
        spec = find_spec(module)
    except ImportError:
        return None
    if spec is None or spec.origin is None:
        return None
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:16]


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    root = os.environ.get("SWEEPROUTE_CACHE")
    return (Path(root) if root else user_cache_path("sweeproute")) / "parameters"


def _keep(file: Path, text: str) -> None:
    """Write the cache, where it can be written: without it the next check is slower, not wrong."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f"{file.name}.{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError:
        return
