"""From a model's configuration to an estimator, with its parameters checked before and its file formats after."""

from sweeproute.estimators.building import build, predict_on_one_thread
from sweeproute.estimators.contract import Bettor, Games, LearnsFromGames, Priced
from sweeproute.estimators.device import device_name, settle_device
from sweeproute.estimators.errors import ModelError
from sweeproute.estimators.files import load, save
from sweeproute.estimators.fitting import fit
from sweeproute.estimators.games import divided, fit_games, predict
from sweeproute.estimators.parameters import check_axes, check_parameter, check_parameters
from sweeproute.estimators.prefix import PrefixError, shortened
from sweeproute.estimators.telling import outside_versions, telling

__all__ = [
    "Bettor",
    "Games",
    "LearnsFromGames",
    "ModelError",
    "PrefixError",
    "Priced",
    "build",
    "check_axes",
    "check_parameter",
    "check_parameters",
    "device_name",
    "divided",
    "fit",
    "fit_games",
    "load",
    "outside_versions",
    "predict",
    "predict_on_one_thread",
    "save",
    "settle_device",
    "shortened",
    "telling",
]
