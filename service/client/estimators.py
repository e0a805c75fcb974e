"""scikit-learn estimators that train and predict on a service, for pipelines, searches and cross-validation."""

from __future__ import annotations

from inspect import signature
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import numpy as np
from pydantic import SecretStr
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from service.client.client import Client
from service.client.estimator_requests import data_of, numbers, rejections_as_value_errors, wait, weights_of
from service.client.fit import published_model
from service.client.uploads import CsvRows, columns_of_csv, json_rows
from service.domain.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.client.client import Preset
    from service.client.job import Job
    from service.client.served_model import ServedModel
    from service.domain.model import ModelVersion

# More rows than the service accepts as JSON (10,000 rows, 2 MiB, with 36 bytes for the longest value and its name) are
# sent as a file. Fewer are faster as JSON: reading a file takes the service a second.
MAX_JSON_ROWS, MAX_JSON_VALUES = 10_000, 50_000
# What a preset decides.
OF_A_NETWORK = (
    *("hidden", "batch_norm", "activation", "dropout", "lr", "weight_decay", "batch_size", "max_epochs", "patience"),
    "validation",
)
MAX_DESCRIPTION = 2_000  # characters of a version's description
CHECKS: dict[str, Any] = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}  # of X


class _Remote(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What classifier and regressor share: parameters, requests, and the attributes that `fit` sets."""

    job_id_: str
    best_epoch_: int
    model_: str
    sweep_id_: str
    n_iter_: int
    n_features_in_: int

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        api_key: str | SecretStr | None = None,
        *,
        hidden: Sequence[int] = (64, 32),
        batch_norm: bool = True,
        activation: str = "relu",
        dropout: float = 0.0,
        lr: float = 0.003,
        weight_decay: float = 0.0,
        batch_size: int | str = 64,
        max_epochs: int = 100,
        patience: int | None = 10,
        validation: float = 0.2,
        random_state: int | np.random.RandomState | None = None,
        preset: Preset | None = None,
        spec: dict[str, Any] | None = None,
    ) -> None:
        self.url = url
        self.api_key = api_key
        self.hidden = hidden
        self.batch_norm = batch_norm
        self.activation = activation
        self.dropout = dropout
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation = validation
        self.random_state = random_state
        self.preset = preset
        self.spec = spec

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True  # the service imputes missing values
        return tags

    def publish(self, name: str, *, alias: str | None = None, description: str | None = None) -> ModelVersion:
        """Publish what was fitted as the next version of the model `name`, to predict with under an address that stays.

        The columns of the model are `x0`, `x1`, ...; a classifier's model answers indexes of `classes_`, which the
        default `description` lists. `alias`: is moved to the version, as by `Models.create`.
        """
        check_is_fitted(self, "n_iter_")
        with self._client() as client:
            source: Any = client.job(self.job_id_) if self.preset is None else weights_of(client, self.model_)
            return client.models.create(name, source, alias=alias, description=description or self._described())

    def _described(self) -> str:
        return type(self).__name__

    def _checked(
        self, x: Any, y: Any, weight: Any, **checks: Any
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64] | None]:
        """Validated rows, targets and weights; rows of weight 0 are dropped, so that they do not validate either."""
        x, y = validate_data(self, x, y, ensure_min_samples=3, **CHECKS, **checks)
        if weight is None:
            return x, y, None
        weight = _check_sample_weight(weight, x, dtype=np.float64, ensure_non_negative=True)
        kept = weight > 0
        return x[kept], y[kept], weight[kept]

    def _train(self, x: NDArray[Any], y: NDArray[Any], weight: NDArray[np.float64] | None, task: str) -> None:
        """Train on validated arrays, and set the fitted attributes."""
        spec = self._spec(task) if self.preset is None else self._spec_of_preset(task)
        for name in ("job_id_", "best_epoch_", "model_", "sweep_id_", "n_iter_"):
            self.__dict__.pop(name, None)  # of an earlier fit, perhaps of another preset
        with self._client() as client, rejections_as_value_errors():
            spec["data"] = data_of(client, x, y, weight)
            if self.preset is None:
                self._train_network(client, spec)
            else:
                self._train_preset(client, spec, self.preset)

    def _train_network(self, client: Client, spec: dict[str, Any]) -> None:
        job = wait(client.submit(spec))
        state = job.state
        if state.status is not Status.succeeded or state.best is None:
            why = f": {state.error.message}" if state.error else ""
            raise RuntimeError(f"{job.id} ended {state.status.value}{why}")
        self.job_id_, self.n_iter_, self.best_epoch_ = job.id, state.progress.epoch, state.best.epoch

    def _train_preset(self, client: Client, spec: dict[str, Any], preset: Preset) -> None:
        name = f"{type(self).__name__}-{uuid4().hex[:16]}".lower()
        sweep = client.sweep(spec, preset=preset, model=name, labels=spec.get("labels"))
        model = published_model(sweep, 0, progress=False)
        self.sweep_id_, self.model_ = sweep.id, model.address
        self.n_iter_ = max(result.epochs for result in sweep.results())

    def _spec_of_preset(self, task: str) -> dict[str, Any]:
        """The job spec without its data and without what a preset decides; raises ValueError."""
        defaults = signature(_Remote.__init__).parameters
        own = self.get_params(deep=False)
        if changed := [name for name in OF_A_NETWORK if not np.array_equal(own[name], defaults[name].default)]:
            raise ValueError(f"{changed[0]} is decided by the preset: leave it out, or set it in `spec`")
        seed = self._seed()
        labels = {"estimator": type(self).__name__}
        return {"labels": labels, "split": {"seed": seed}, "seed": seed, **(self.spec or {}), "task": task}

    def _spec(self, task: str) -> dict[str, Any]:
        """The job spec without its data."""
        # Searches set parameters to NumPy numbers, which JSON cannot encode.
        own = {k: v.item() if isinstance(v, np.generic) else v for k, v in self.get_params(deep=False).items()}
        seed = self._seed()
        patience, validation = own["patience"], own["validation"]
        monitor = "val_loss" if validation else "train_loss"
        return {
            "labels": {"estimator": type(self).__name__},
            "architecture": {
                "hidden": np.atleast_1d(own["hidden"]).tolist(),
                **{name: own[name] for name in ("batch_norm", "activation", "dropout")},
            },
            "optimizer": {name: own[name] for name in ("lr", "weight_decay")},
            "split": {"validation": validation, "seed": seed},
            "early_stopping": None if patience is None else {"patience": patience, "monitor": monitor},
            **{name: own[name] for name in ("batch_size", "max_epochs")},
            "seed": seed,
            **(self.spec or {}),
            "task": task,
        }

    def _seed(self) -> int:
        """The random seed; an integer `random_state` is used as it is: a job with this seed trains the same network."""
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _client(self) -> Client:
        """A new client: estimators are copied and pickled, connections cannot be."""
        key = self.api_key
        return Client(self.url, key.get_secret_value() if isinstance(key, SecretStr) else key)

    def _predicted(self, x: Any, names: list[str]) -> NDArray[np.float64]:
        """(rows, names) the predictions, in these columns of a file of predictions."""
        check_is_fitted(self, "n_iter_")
        x = validate_data(self, x, reset=False, **CHECKS)
        with self._client() as client:
            fitted: Job | ServedModel
            fitted = client.job(self.job_id_) if self.preset is None else client.models.at(self.model_)
            if len(x) > MAX_JSON_ROWS or len(x) * max(x.shape[1], len(names)) > MAX_JSON_VALUES:
                return columns_of_csv(fitted.predict_file(CsvRows(x)), names)
            columns = [f"x{number}" for number in range(x.shape[1])]
            predictions = fitted.predict([dict(zip(columns, row, strict=True)) for row in json_rows(x)])
        return np.array(list(map(numbers, predictions)), dtype=np.float64)


class RemoteClassifier(ClassifierMixin, _Remote):  # type: ignore[misc]
    """A classifier that trains on the service at `url`: a multi-layer perceptron with early stopping.

    `X`: numbers, NaN for missing values. `y`: labels of any type. Rows of `sample_weight` 0 are dropped; other weights
    apply to training, not to validation.

    `api_key`: a `pydantic.SecretStr` is not printed; a pickle contains it all the same. `hidden`, `batch_norm`,
    `activation`, `dropout`: the network. `lr`, `weight_decay`: of the Adam optimizer. `batch_size`: rows per step, or
    "full". `patience`: of early stopping, in epochs; None trains `max_epochs` epochs. `validation`: fraction of the
    rows for validation, which choose the best epoch; with 0 the training loss does. `random_state`: random seed of
    weights, row order, dropout and split; results are reproducible bit by bit. `spec`: other fields of the job spec,
    such as `{"loss": {"class_weight": "balanced"}}`; each replaces the whole section that the parameters set.

    `preset`: "fast", "good" or "best" train tested recipes for tables instead, as `Client.fit` does: the parameters of
    the network, of its training and `validation` keep their defaults then; `random_state` and `spec` apply.

    Fitted attributes: `classes_`, `n_features_in_`, `n_iter_` (epochs), `best_epoch_`, whose weights predict, and
    `job_id_` (`Client.job` gives its history and weights). With a preset, instead of the last two: `model_`, the
    address of the published version that predicts, and `sweep_id_`. Jobs and models stay on the service, with the data
    set of a larger table; `predict` needs the job or the model.
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on (n, features) `X` and (n,) `y`, and wait; an interrupt cancels the job.

        Raises ValueError for what scikit-learn or the service rejects, RuntimeError when the job fails.
        """
        x, labels, weight = self._checked(X, y, sample_weight)
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has one class, {classes[0]}; training needs two or more")
        self._train(x, codes, weight, "classification")
        self.classes_ = classes
        return self

    def _described(self) -> str:
        classes = ", ".join(f"{code} is {label!s:.100}" for code, label in enumerate(self.classes_))
        return f"RemoteClassifier: {classes}"[:MAX_DESCRIPTION]

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,) the most probable class of each row."""
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) the calibrated probability of each class, in the order of `classes_`."""
        check_is_fitted(self, "n_iter_")
        return self._predicted(X, [f"probability of {code}" for code in range(len(self.classes_))])


class RemoteRegressor(RegressorMixin, _Remote):  # type: ignore[misc]
    """A regressor that trains on the service at `url`; for the parameters see RemoteClassifier."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on (n, features) `X` and (n,) `y`; see `RemoteClassifier.fit`."""
        x, values, weight = self._checked(X, y, sample_weight, y_numeric=True)
        self._train(x, values.astype(np.float64), weight, "regression")
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """(n,) the predicted value of each row, in the units of `y`."""
        return self._predicted(X, ["prediction"])[:, 0]
