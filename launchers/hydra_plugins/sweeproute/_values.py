"""What a job returns, as JSON: the only form in which a result travels."""

from typing import Any

from omegaconf import OmegaConf


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
        return _plain(value.tolist())
    if OmegaConf.is_config(value):
        return _plain(OmegaConf.to_container(value, resolve=True))
    raise TypeError(f"an object of type {type(value).__qualname__}")
