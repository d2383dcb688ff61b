"""Groups the points of a grid that one fit serves."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from ._compose import Base, Composer, apply
from ._errors import SettingsError
from ._hydra_versions import key_path
from ._shared_fit import Follower, Group

_FORM = "{key: model.params.n_estimators, when: {model.params.booster: [null, gbtree]}}"


@dataclass(frozen=True)
class _Declared:
    """What an app's config says of an axis along which one fit serves several points."""

    key: str
    when: tuple[tuple[str, tuple[Any, ...]], ...]

    def holds(self, config: DictConfig) -> bool:
        return all(_select(config, key) in allowed for key, allowed in self.when)


class Prefix:
    """The axis along which a fit holds shorter ones, by the app's own word.

    The config that `setting` names is null, or a mapping: `key` is the axis, whose values are whole numbers from one
    on, and `when`, from dotted keys to the value or the list of values under which it is so.

    Args:
        setting: Key of the app's config that holds the declaration.
        composer: Composes the jobs' configs.
    """

    def __init__(self, setting: str, composer: Composer) -> None:
        self._setting = setting
        self._composer = composer
        self._declared: dict[str, _Declared | None] = {}
        self._holds: dict[Hashable, str | None] = {}

    def groups(
        self, points: Mapping[int, tuple[str, ...]], fields: Mapping[int, Mapping[str, Any]]
    ) -> dict[int, Group]:
        """Find the points that differ in the declared axis alone.

        Args:
            points: Overrides by job number.
            fields: What else decides where a job runs, by job number.

        Returns:
            By the number of the job with the highest value those that it may answer for.

        Raises:
            SettingsError: What the app declares is no such mapping.
            hydra.errors.HydraException: A point does not compose.
        """
        alike: dict[Hashable, dict[int, int]] = {}
        keys: dict[Hashable, str] = {}
        for number, overrides in points.items():
            groups, values = self._composer.split(overrides)
            key = self._axis(self._composer.base(groups), values)
            value = None if key is None else _value(key, values)
            if key is None or value is None:
                continue
            rest = tuple(text for text in overrides if text.lstrip("+").partition("=")[0] != key)
            one: Hashable = (rest, tuple(sorted(fields.get(number, {}).items())))
            keys[one] = key
            alike.setdefault(one, {}).setdefault(value, number)  # a point that is listed twice runs by itself
        found = {}
        for one, numbers in alike.items():
            (highest, leader), *others = sorted(numbers.items(), reverse=True)
            if others:
                followers = tuple(Follower(number, points[number], value) for value, number in reversed(others))
                found[leader] = Group(keys[one], highest, followers)
        return found

    def _axis(self, base: Base, values: Sequence[Override]) -> str | None:
        """The declared axis of a point where its conditions hold; read anew for each set of values that may matter."""
        if base.id not in self._declared:
            self._declared[base.id] = self._read(base.config())
        declared = self._declared[base.id]
        read = [self._setting, *(key for key, _ in declared.when)] if declared else [self._setting]
        touching = tuple(one for one in values if any(_touches(one, key) for key in read))
        of = (base.id, tuple(one.input_line for one in touching))
        if of not in self._holds:
            config = apply(base.blob, touching) if touching else base.config()
            declared = self._read(config)
            self._holds[of] = declared.key if declared is not None and declared.holds(config) else None
        return self._holds[of]

    def _read(self, config: DictConfig) -> _Declared | None:
        found = _select(config, self._setting)
        if found is None:
            return None
        content = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_dict(found) else None
        if not isinstance(content, dict) or not isinstance(content.get("key"), str):
            raise SettingsError(f"{self._setting} is {found!r}. It takes null, or a mapping as in {_FORM}.")
        when = content.get("when") or {}
        if not isinstance(when, dict) or content.keys() - {"key", "when"}:
            raise SettingsError(f"{self._setting} is {content!r}. It takes null, or a mapping as in {_FORM}.")
        allowed = ((str(key), tuple(one if isinstance(one, list) else [one])) for key, one in when.items())
        return _Declared(content["key"], tuple(allowed))


def _select(config: DictConfig, key: str) -> Any:
    return OmegaConf.select(config, key, default=None, throw_on_missing=False)


def _touches(override: Override, key: str) -> bool:
    """Whether an override can change what stands under a key."""
    own = ".".join(key_path(override))
    return key == own or key.startswith(f"{own}.") or own.startswith(f"{key}.")


def _value(key: str, values: Sequence[Override]) -> int | None:
    """The point's own value of the axis, a whole number from one on; None where it has none, or others touch it."""
    mine = [one for one in values if _touches(one, key)]
    if len(mine) != 1 or ".".join(key_path(mine[0])) != key:
        return None
    value = mine[0].value()
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None
