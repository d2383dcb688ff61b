"""Makes a run's model a version of a registered model, and gives it an alias if it is better than who has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sweeproute.promotion.candidate import candidate
from sweeproute.promotion.contest import contest
from sweeproute.promotion.errors import PromotionError
from sweeproute.promotion.named import named
from sweeproute.promotion.versions import (
    Promotion,
    alone,
    check_names,
    finish_alias,
    give_alias,
    make_version,
    told_result,
    version_of,
)
from sweeproute.store import masked

__all__ = ["Promotion", "PromotionError", "promote"]


def promote(run: str, name: str, alias: str = "champion", *, force: bool = False, uri: str | None = None) -> Promotion:
    """Register the model of a run, and give it an alias.

    The version is made once for each run and name; promoted again, or after a kill, it goes on where it ended. An alias
    that another version holds moves if the run is significantly better by Diebold and Mariano's test on their Brier
    scores, or the same model.

    Args:
        run: A run's id or its beginning, or a sweep: its id, its name, or `last`; see `named`.
        name: The registered model's.
        alias: The alias that it is to have.
        force: Move the alias also where the test would leave it, which is recorded.
        uri: The tracking store; see `named`.

    Returns:
        What came of it.

    Raises:
        PromotionError: There is no such run, nothing of it can be promoted, or the store refuses.
        sweeproute.runs_where.RegistryError: No such store, or the sweep has no run that could win.
    """
    check_names(name, alias)
    runs, found = named(run, uri)
    run_id, client = found.info.run_id, runs.client
    with _refused(runs.uri), alone(runs.uri), TemporaryDirectory() as folder:
        version = version_of(client, name, run_id)
        made = version is None
        if version is not None and client.get_registered_model(name).aliases.get(alias) == version.version:
            finish_alias(client, version, alias)
            return Promotion(name, str(version.version), False, alias, True, ())
        with candidate(client, found) as one:
            if version is None:
                version = make_version(client, name, one)
            number, said = str(version.version), (one.no_example,) if one.no_example else ()
            old = client.get_registered_model(name).aliases.get(alias)
            forced = ""
            if old is not None:
                result = contest(client, client.get_model_version(name, old), one, Path(folder))
                sentence = told_result(result, number, str(old))
                said = (*said, sentence)
                if not result.won and not force:
                    return Promotion(name, number, made, alias, False, said)
                if not result.won:
                    forced = sentence
                    said = (*said, f"It is {alias} by --force, which its tags and its description say.")
            give_alias(client, version, alias, None if old is None else str(old), forced)
            return Promotion(name, number, made, alias, True, said)


@contextmanager
def _refused(uri: str) -> Iterator[None]:
    """Say in a sentence what a store does not do."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise PromotionError(
            f"{masked(uri)} does not do it: {masked(str(error).splitlines()[0])} The same command goes on from here."
        ) from error
