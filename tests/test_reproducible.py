"""Tests that one config gives bitwise the same predictions wherever, whenever and on however many threads it runs."""

import pytest

import r_here
from small_trial import ONE_SLOT, SMALL, end, job_folders, start

MODELS = ("glm", "glm_r", "xgboost", "lightgbm", "random_forest", "short_network")
# Of a hundred epochs the first few draw all that the others do.
NETWORK = "# @package _global_\ndefaults: [neural_network]\nmodel: {params: {max_epochs: 5}}\n"
# One point a model, as it stands in its file, over one fold.
POINTS = ("search_space=none", *SMALL[:3], "validation.selection_seasons=[2019,2019]", *SMALL[4:])
OTHER_SEED = "one process, other order, seed=43"

pytestmark = pytest.mark.spawn


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The predictions' bytes of each model, by how it was run."""
    r_here.or_skip()
    root = tmp_path_factory.mktemp("reproducible")
    folders = {name: root / name for name in ("routed", "one process, other order", *MODELS)}
    for folder in folders.values():
        folder.mkdir()
    (root / "own" / "model").mkdir(parents=True)
    (root / "own" / "model" / "short_network.yaml").write_text(NETWORK)
    points = (*POINTS, f"hydra.searchpath=[file://{root / 'own'}]")
    unrouted = ("seed=43,42", "hydra/launcher=basic", "hydra/sweeper=basic")
    # One after the other: two that both use all cores wait for each other's threads.
    end(start(folders["routed"], "-m", f"model={','.join(MODELS)}", "threads=1,2", ONE_SLOT, *points))
    order = ",".join(reversed(MODELS))
    end(start(folders["one process, other order"], "-m", f"model={order}", *points, *unrouted))
    for pair in (MODELS[:2], MODELS[2:4], MODELS[4:]):
        for run in [start(folders[model], f"model={model}", "threads=1", *points) for model in pair]:
            end(run)

    found: dict[str, dict[str, bytes]] = {model: {} for model in MODELS}
    for how, folder in folders.items():
        for overrides, job in job_folders(folder).items():
            words = dict(word.split("=", 1) for word in overrides)
            where = how + "".join(f", {key}={words[key]}" for key in ("threads", "seed") if key in words)
            found[words["model"]]["alone" if how in MODELS else where] = (job / "predictions.parquet").read_bytes()
    return found


@pytest.mark.parametrize("model", MODELS)
def test_a_model_predicts_the_same_to_the_last_bit(predictions: dict[str, dict[str, bytes]], model: str) -> None:
    runs = predictions[model]
    same = {"alone", "one process, other order, seed=42", "routed, threads=1", "routed, threads=2"}
    assert set(runs) == {*same, OTHER_SEED}
    assert {how for how in same if runs[how] != runs["alone"]} == set()


def test_different_models_do_not(predictions: dict[str, dict[str, bytes]]) -> None:
    assert len({runs["alone"] for runs in predictions.values()}) == len(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_another_seed_counts_for_the_models_that_draw(predictions: dict[str, dict[str, bytes]], model: str) -> None:
    runs = predictions[model]
    assert (runs[OTHER_SEED] == runs["alone"]) == (model in ("glm", "glm_r"))
