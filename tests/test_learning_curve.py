"""Tests of how far models are ahead of a baseline, as the seasons to learn from grow in number."""

import numpy as np
import pytest
from scipy import stats

from sweeproute import learning_curve

SEASONS = range(2010, 2020)


def made(seed: int = 0) -> tuple[dict[int, float], dict[int, float]]:
    """A model's score and a baseline's: both share a season's difficulty, and the model gains 0.001 a season."""
    chance = np.random.default_rng(seed)
    difficulty = chance.normal(0.22, 0.02, len(SEASONS))
    noise = chance.normal(0, 1e-4, len(SEASONS))
    model = {season: difficulty[place] - 0.001 * place + noise[place] for place, season in enumerate(SEASONS)}
    return model, dict(zip(SEASONS, difficulty.tolist(), strict=True))


def test_the_slope_and_its_error_are_those_of_a_straight_line():
    model, baseline = made()
    found = learning_curve.gain(model, baseline, maximize=False)
    peer = stats.linregress(list(SEASONS), [baseline[one] - model[one] for one in SEASONS])
    assert found.slope == pytest.approx(peer.slope, rel=1e-9)
    assert found.error == pytest.approx(peer.stderr, rel=1e-9)
    assert found.slope == pytest.approx(0.001, abs=4 * found.error)


def test_parts_are_means_over_thirds_and_better_is_positive_either_way():
    model, baseline = made()
    found = learning_curve.gain(model, baseline, maximize=False)
    ahead = np.array([baseline[one] - model[one] for one in SEASONS])
    np.testing.assert_allclose(found.parts, [ahead[:4].mean(), ahead[4:7].mean(), ahead[7:].mean()], rtol=1e-12)
    np.testing.assert_array_equal(learning_curve.gain(model, baseline, maximize=True).parts, -found.parts)


def test_what_is_undefined_in_a_season_stays_so():
    model, baseline = made()
    found = learning_curve.gain(model | {2011: float("nan")}, baseline, maximize=False)
    assert np.isnan(found.slope)
    assert np.isnan(found.parts).tolist() == [True, False, False]
    assert np.isnan(learning_curve.gain(model, {}, maximize=False).parts).all()


def test_few_seasons_are_no_curve():
    with pytest.raises(ValueError, match="5 seasons are no curve"):
        learning_curve.gain(dict.fromkeys(range(5), 0.2), {}, maximize=False)
