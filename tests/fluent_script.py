"""A script as MLflow's users write them, which says nothing of where it logs.

It trains on the irises: once by autolog of scikit-learn and of XGBoost, once with every call by hand, with runs below
the run, a data set, artifacts and a model that it loads back.
"""

import sys
import warnings

import matplotlib.pyplot as plt
import mlflow
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

warnings.filterwarnings("ignore")
plt.switch_backend("agg")
features, kinds = load_iris(return_X_y=True, as_frame=True)

mlflow.set_experiment("irises")
mlflow.set_experiment_tag("course", "flowers")

# By itself.
mlflow.sklearn.autolog()
with mlflow.start_run(run_name="autolog"):
    LogisticRegression(max_iter=200, random_state=1).fit(features, kinds)
mlflow.sklearn.autolog(disable=True)

mlflow.xgboost.autolog(log_models=False)
with mlflow.start_run(run_name="autolog of xgboost"):
    data = xgboost.DMatrix(features, kinds)
    settings = {"objective": "multi:softmax", "num_class": 3, "nthread": 1}
    xgboost.train(settings, data, 4, evals=[(data, "train")], verbose_eval=False)
mlflow.xgboost.autolog(disable=True)

# By hand.
params = {"solver": "lbfgs", "max_iter": 1000, "random_state": 8888}
with mlflow.start_run(run_name="by hand", tags={"why": "to learn"}, description="A **first** run") as run:
    mlflow.log_params(params)
    mlflow.log_param("long", "x" * 7000)
    mlflow.set_tag("Training Info", "a linear model for the irises")
    mlflow.set_tags({"one": 1, "two": "zwei, δύο"})
    mlflow.log_input(mlflow.data.from_pandas(pd.concat([features, kinds], axis=1), source="irises.csv", name="irises"))
    model = LogisticRegression(**params).fit(features, kinds)
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"a/b c": step, "not a number": float("nan"), "endless": float("inf")}, step=step)
    mlflow.log_metric("accuracy", accuracy_score(kinds, model.predict(features)))
    mlflow.log_text("how it went", "notes/diary.txt")
    mlflow.log_dict({"a": [1, 2]}, "settings.json")
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    mlflow.log_figure(figure, "lines.png")
    mlflow.log_artifact(sys.argv[0], "code")
    info = mlflow.sklearn.log_model(
        model,
        name="iris_model",
        signature=infer_signature(features, model.predict(features)),
        input_example=features.head(2),
        params={"depth": 3},
        tags={"kind": "linear"},
        pip_requirements=["scikit-learn"],
        serialization_format="skops",
    )
    mlflow.set_logged_model_tags(info.model_id, {"checked": "yes"})
    mlflow.log_metric("late", 0.5, step=3, model_id=info.model_id)
    for C in (0.1, 1.0):
        with mlflow.start_run(run_name=f"C={C}", nested=True):
            mlflow.log_param("C", C)
            mlflow.log_metric("accuracy", LogisticRegression(C=C).fit(features, kinds).score(features, kinds))

# Afterwards.
loaded = mlflow.pyfunc.load_model(info.model_uri)
assert (loaded.predict(features) == model.predict(features)).all()
same = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/iris_model")
assert (same.predict(features) == model.predict(features)).all()
assert mlflow.get_run(run.info.run_id).data.params["solver"] == "lbfgs"
with mlflow.start_run(run_id=run.info.run_id):
    mlflow.log_metric("afterwards", 1.0)
try:
    with mlflow.start_run(run_name="fails"):
        raise ValueError("on purpose")
except ValueError:
    pass
with mlflow.start_run(run_name="elsewhere", experiment_id=mlflow.create_experiment("tulips", tags={"a": "b"})):
    mlflow.log_input(mlflow.data.from_pandas(features, name="no source"), context="testing")
