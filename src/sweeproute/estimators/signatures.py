"""Reads from a library which parameters a class takes."""

import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

# What a value of the configuration can be, by the name that messages use for it.
KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "list",
    dict: "dict",
    type(None): "null",
}


@dataclass
class Signature:
    """The parameters of one class.

    Attributes:
        names: Parameter names; empty where the class takes any keyword and documents none.
        kinds: What a parameter takes, in the words of KINDS; a parameter that is not in here takes anything.
        options: The words that a parameter takes, where it takes words of a closed list.
        ranges: Ranges of the numbers that a parameter takes, each as [int or float, least, greatest, which of the two
            ends it includes: left, right, both or neither], null for no end; none where any number will do.
    """

    names: list[str]
    kinds: dict[str, list[str]] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)
    ranges: dict[str, list[list[Any]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def read_signature(target: Callable[..., Any]) -> Signature:
    """The parameters that a class documents, its native library's included.

    Args:
        target: An estimator's class, or a function that makes one.

    Returns:
        Its signature.
    """
    library = target.__module__.partition(".")[0]
    if library == "xgboost":
        return _xgboost(target)
    if library == "lightgbm":
        return _lightgbm(target)
    parameters = inspect.signature(target).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return Signature(names=[])
    signature = Signature(names=[parameter.name for parameter in parameters])
    for name, constraints in getattr(target, "_parameter_constraints", {}).items():
        _add_sklearn(signature, name, constraints)
    if library == __name__.partition(".")[0]:
        _add_ours(signature, target)
    return signature


def _add_ours(signature: Signature, target: Any) -> None:
    """Add what the annotations of a class of this project say."""
    signature.kinds |= _annotated(target.__init__)
    for parameter in inspect.signature(target).parameters.values():
        if typing.get_origin(parameter.annotation) is typing.Literal:
            signature.options[parameter.name] = sorted(map(str, typing.get_args(parameter.annotation)))


def _xgboost(target: Any) -> Signature:
    """XGBClassifier takes any keyword: its names are its defaults' and those that its native trainers say they have."""
    names = set(target().get_params()) | {"eval_metric"}
    for trainer in (
        {"booster": "gbtree"},
        {"booster": "dart"},
        {"booster": "gblinear", "updater": "shotgun"},
        {"booster": "gblinear", "updater": "coord_descent"},
    ):
        names |= _native_xgboost(trainer)
    kinds: dict[str, list[str]] = {}
    for parent in reversed(target.__mro__):
        kinds |= _annotated(parent.__init__)
    return Signature(sorted(names), {name: kind for name, kind in kinds.items() if name in names})


def _native_xgboost(trainer: dict[str, str]) -> set[str]:
    """Names that a native trainer writes into its own configuration."""
    import numpy as np
    import xgboost

    settings = {"objective": "binary:logistic", "verbosity": 0, **trainer}
    trained = xgboost.train(settings, xgboost.DMatrix(np.eye(2), label=[0, 1]), num_boost_round=1)
    names: set[str] = set()
    nodes: list[Any] = [json.loads(trained.save_config())["learner"]]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            for key, value in node.items():
                # *_model_param describes the trained model; every other *_param is what a trainer takes.
                if key.endswith("_model_param"):
                    continue
                if key.endswith("_param"):
                    names |= set(value)
                else:
                    nodes.append(value)
    return names


def _lightgbm(target: Any) -> Signature:
    """LGBMClassifier takes any keyword and hands it to the trainer, which can list its own names with their aliases."""
    import lightgbm

    names = set(target().get_params())
    for name, aliases in lightgbm.basic._ConfigAliases._get_all_param_aliases().items():
        names |= {name, *aliases}
    kinds = _annotated(lightgbm.LGBMModel.__init__)
    return Signature(sorted(names), {name: kind for name, kind in kinds.items() if name in names})


def _annotated(function: Callable[..., Any]) -> dict[str, list[str]]:
    kinds = {}
    for parameter in inspect.signature(function).parameters.values():
        found = _kinds_of(parameter.annotation)
        if found:
            kinds[parameter.name] = sorted(found)
    return kinds


def _kinds_of(annotation: Any) -> set[str]:
    """Kinds that an annotation allows; none for one that says nothing about values of the configuration."""
    if annotation in (None, type(None)):
        return {"null"}
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = typing.get_args(annotation)
        return set() if Any in parts else set().union(*(_kinds_of(part) for part in parts))
    if typing.get_origin(annotation) is typing.Literal:
        return set().union(*({KINDS[type(word)]} for word in typing.get_args(annotation)))
    plain = typing.get_origin(annotation) or annotation
    if isinstance(plain, type):
        if plain in KINDS:
            return {KINDS[plain]}
        if issubclass(plain, Iterable) and plain.__module__ == "collections.abc":
            return {"list"}
    return set()


def _add_sklearn(signature: Signature, name: str, constraints: Any) -> None:
    """Add what scikit-learn's own declaration says of one parameter; what it says in another way allows anything."""
    kinds: set[str] = set()
    options: set[str] = set()
    ranges: list[list[Any]] = []
    if not isinstance(constraints, list):
        return
    for constraint in constraints:
        form = type(constraint).__name__
        if form == "Hidden":
            continue  # Deprecated, or an object that no configuration holds.
        if constraint is None:
            kinds.add("null")
        elif isinstance(constraint, str) and constraint == "boolean":
            kinds.add("bool")
        elif constraint in (dict, str):
            kinds.add(KINDS[constraint])
        elif form == "Interval":
            kind = "int" if constraint.type.__name__ == "Integral" else "float"
            kinds.add(kind)
            ends = (None if one is None else float(one) for one in (constraint.left, constraint.right))
            ranges.append([kind, *ends, constraint.closed])
        elif form == "StrOptions":
            kinds.add("str")
            options |= set(constraint.options)
        else:
            return
    if kinds:
        signature.kinds[name] = sorted(kinds)
    if options:
        signature.options[name] = sorted(options)
    if ranges:
        signature.ranges[name] = ranges
