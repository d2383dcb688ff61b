"""What a job returns, as JSON: the only form in which a result travels."""

from typing import Any


def to_json(value: Any) -> dict[str, Any]:
    """Turn a return value into what `json.dumps` takes.

    Args:
        value: Numbers, strings, None, mappings, sequences; NumPy and zero-dimensional tensor scalars become numbers,
            tuples and arrays become lists.

    Returns:
        `{"json": ...}`, or `{"unfit": "why"}` where JSON cannot hold the value.
    """
    try:
        return {"json": _plain(value)}
    except TypeError as error:
        return {"unfit": str(error)}


def from_json(packed: dict[str, Any]) -> Any:
    """Turn it back.

    Raises:
        TypeError: JSON could not hold the value; the job's files are there all the same.
    """
    if "unfit" in packed:
        raise TypeError(
            f"The job finished, but its return value could not be sent: {packed['unfit']}. "
            "Return numbers, strings, lists or mappings, and write the rest to the job's folder."
        )
    return packed["json"]


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
    from omegaconf import OmegaConf

    if OmegaConf.is_config(value):
        return _plain(OmegaConf.to_container(value, resolve=True))
    raise TypeError(f"an object of type {type(value).__qualname__}")
