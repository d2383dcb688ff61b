"""The commands of `sweeproute COMMAND`, a module each: `add` names its words, `run` does it."""

import argparse
from collections.abc import Iterable
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class WordsError(ValueError):
    """Words of a command that say nothing."""


def kinds(words: Iterable[str]) -> dict[str, str]:
    """What the words of `--where` ask for.

    Raises:
        WordsError: One is no KEY=VALUE.
    """
    asked = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise WordsError(f"--where {word} says no value; write KEY=VALUE, as in --where model_type=GLM.")
        asked[key] = value
    return asked
