"""What a job returns, as JSON: the only form in which a result travels."""

import errno
import numbers
import traceback
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException


def to_json(value: Any) -> tuple[Any, str | None]:
    """Turn a return value into what `json.dumps` takes.

    Args:
        value: Numbers, strings, None, mappings, sequences; NumPy and zero-dimensional tensor scalars become numbers,
            tuples and arrays become lists.

    Returns:
        The value, and None; or None, and why JSON cannot hold it.
    """
    try:
        return _plain(value), None
    except TypeError as error:
        return None, str(error)
    except RecursionError:
        return None, "a structure that contains itself, or is nested too deeply"
    except OmegaConfBaseException as error:
        return None, f"a config that does not resolve ({str(error).splitlines()[0]})"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a mapping with the key {key!r}, which is no string")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars, tensors, pandas' Series
        plain = value.tolist()
        if type(plain) is type(value) and isinstance(plain, numbers.Real):
            return float(plain)  # more precise than Python's own: tolist leaves it as it is
        return _plain(plain)
    if OmegaConf.is_config(value):
        return _plain(OmegaConf.to_container(value, resolve=True))
    raise TypeError(f"an object of type {type(value).__qualname__}")


def _class_of(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out_of_memory"
    if getattr(error, "platform_lacks", False):
        return "lacking"  # the app's own word; see _retry.Outcome
    # A disk without room is the platform's fault, and another attempt may find some.
    return "killed" if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) else "user"


def describe(error: BaseException) -> dict[str, str]:
    """An error as text: what comes back from a job is data, never an object."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return {
        "class": _class_of(error),
        "type": name,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
