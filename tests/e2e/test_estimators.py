"""RemoteClassifier and RemoteRegressor on a real service: scikit-learn's checks, and what else they guarantee."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from pydantic import SecretStr
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

import bestepoch
from bestepoch import Client, RemoteClassifier, RemoteRegressor
from service.client.estimators import MAX_JSON_VALUES
from service.domain.status import Status
from tests.examples import some
from tests.processes import until

ESTIMATORS = pytest.mark.parametrize("kind", [RemoteClassifier, RemoteRegressor])
EXPECTED_TO_FAIL = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row of weight 2 is not the same as two rows: rows are drawn for validation and for batches one by one,"
        " validation rows count alike, and columns are scaled by means without weights"
    )
}
NOT_INSTALLED = ("pandas is not installed", "SCIPY_ARRAY_API is not set")
ENDLESS: dict[str, Any] = {"max_epochs": 1_000_000, "patience": None}


@pytest.fixture
def url(service: httpx2.Client) -> str:
    return str(service.base_url)


def table(rows: int = 90, columns: int = 3) -> tuple[Any, Any]:
    """Numeric features with missing values, and a target that depends on them."""
    x = np.random.default_rng(0).normal(size=(rows, columns))
    y = 3 * x[:, 0] - x[:, 1] + 100
    x[::7, 1] = np.nan
    return x, y


@pytest.mark.sampled
@pytest.mark.parametrize("kind", some([RemoteClassifier, RemoteRegressor], 2))
def test_all_checks_of_scikit_learn_pass_except_the_expected_failure(kind: type, url: str) -> None:
    results = check_estimator(kind(url), expected_failed_checks=EXPECTED_TO_FAIL, on_skip=None, on_fail=None)

    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert not failed
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == EXPECTED_TO_FAIL.keys()
    skipped = [str(result["exception"]) for result in results if result["status"] == "skipped"]
    assert all(reason.startswith(NOT_INSTALLED) for reason in skipped)


def test_grid_search_over_a_pipeline_with_text_labels(url: str) -> None:
    x, y = load_wine(return_X_y=True)
    names = np.array(["Barolo", "Grignolino", "Barbera"], dtype=object)[y]
    pipeline = make_pipeline(MinMaxScaler(), RemoteClassifier(url, random_state=0))
    settings = {
        "remoteclassifier__hidden": [(16,), np.int64(8)],
        "remoteclassifier__max_epochs": np.array([1, 40]),
        "remoteclassifier__lr": [np.float32(0.01)],
    }

    search = GridSearchCV(pipeline, settings, cv=2, error_score="raise").fit(x, names)

    assert search.best_score_ > 0.9
    assert search.best_params_["remoteclassifier__max_epochs"] == 40
    assert set(search.predict(x)) == set(names)
    assert search.best_estimator_[-1].classes_.tolist() == sorted(set(names))


@pytest.mark.parametrize("columns", [3, 30])  # in the job itself, and as a data set
def test_the_network_equals_that_of_a_job_with_the_same_spec_and_seed(columns: int, url: str) -> None:
    x, y = table(columns=columns)
    with Client(url) as client:
        job = client.train((x, y), seed=7, split={"seed": 7}, task="regression", max_epochs=20).wait(60)
        assert job.state.best is not None

        model = RemoteRegressor(url, max_epochs=20, random_state=7).fit(x, y)

        mine, others = (each.best_model().state_dict() for each in (client.job(model.job_id_), job))
        assert all(torch.equal(mine[name], others[name]) for name in mine | others)
        assert (model.n_iter_, model.best_epoch_) == (job.state.progress.epoch, job.state.best.epoch)
        assert client.job(model.job_id_).state.spec.data.kind == ("inline" if columns == 3 else "dataset")


def test_parameters_reach_the_job_and_spec_overrides_them(url: str) -> None:
    x, y = table()
    spec = {"optimizer": {"kind": "sgd", "lr": 0.5}, "name": "mine"}

    model = RemoteRegressor(url, hidden=(), batch_norm=False, validation=0, max_epochs=2, spec=spec).fit(x, y)

    with Client(url) as client:
        trained = client.job(model.job_id_).state.spec
    assert (trained.name, trained.optimizer.kind, trained.optimizer.lr) == ("mine", "sgd", 0.5)
    assert (trained.architecture.model_dump()["hidden"], trained.monitor) == ([], "train_loss")
    assert trained.labels == {"estimator": "RemoteRegressor"}
    assert RemoteRegressor(url, patience=None, max_epochs=12).fit(x, y).n_iter_ == 12


@ESTIMATORS
def test_many_rows_are_sent_as_a_file_with_equal_predictions(kind: type, url: str) -> None:
    x, y = table(2_600, 20)
    model = kind(url, max_epochs=3, random_state=0).fit(x, y > 100)
    ask = model.predict if kind is RemoteRegressor else model.predict_proba

    whole = ask(x)

    parts = [ask(part) for part in np.array_split(x, 3)]
    assert x.size > MAX_JSON_VALUES
    assert np.array_equal(whole, np.concatenate(parts))


def test_sample_weights_apply_and_rows_of_weight_0_are_dropped(url: str) -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    y, even = np.arange(100) % 2 * 10.0, np.arange(100) % 2 == 0
    model = RemoteRegressor(url, max_epochs=20, random_state=0)

    heavy = clone(model).fit(x, y, np.where(even, 1, 50)).predict(x)
    light = clone(model).fit(x, y, np.where(even, 50, 1)).predict(x)
    without = clone(model).fit(x, x[:, 0], np.where(even, 2, 0)).predict(x)

    assert heavy.mean() > light.mean() + 1
    assert np.array_equal(without, clone(model).fit(x[even], x[even, 0], np.full(50, 2)).predict(x))
    with pytest.raises(ValueError, match="Negative values"):
        model.fit(x, y, np.full(100, -1))


def test_a_rejected_spec_is_a_value_error(url: str) -> None:
    x, y = table()

    with pytest.raises(ValueError, match="activation"):
        RemoteRegressor(url, activation="step").fit(x, y)
    with pytest.raises(ValueError, match="no usable feature column"):
        RemoteRegressor(url).fit(np.ones((90, 2)), y)
    with pytest.raises(ValueError, match="one class, a; training needs two"):
        RemoteClassifier(url).fit(x, ["a"] * 90)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as in a terminal; a pytest worker may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_cancels_the_job(url: str) -> None:
    model, (x, y) = RemoteRegressor(url, spec={"labels": {"of": "interrupt"}}, **ENDLESS), table()
    with Client(url) as client:

        def interrupt() -> None:
            until(lambda: list(client.jobs(status="running", labels={"of": "interrupt"})))
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y)

        (job,) = client.jobs(labels={"of": "interrupt"})
        assert job.wait(30).state.status is Status.cancelled
    with pytest.raises(NotFittedError):
        model.predict(x)


def test_a_job_cancelled_elsewhere_is_a_runtime_error(url: str) -> None:
    model, (x, y) = RemoteRegressor(url, spec={"labels": {"of": "others"}}, **ENDLESS), table()
    with Client(url) as client:

        def cancel() -> None:
            until(lambda: list(client.jobs(status="running", labels={"of": "others"})))[0].cancel()

        other = threading.Thread(target=cancel)
        other.start()
        with pytest.raises(RuntimeError, match=r"job_\w+ ended cancelled"):
            model.fit(x, y)
        other.join()


def test_a_secret_api_key_is_sent_but_not_printed() -> None:
    model = clone(RemoteClassifier(api_key=SecretStr("s3cret")))

    with model._client() as client:
        assert client._transport.http.headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(make_pipeline(model)) + make_pipeline(model)._repr_html_()


def test_without_scikit_learn_the_client_works_and_estimators_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from bestepoch import *\n"
        "Client().close()\n"
        "from bestepoch import RemoteClassifier"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.stderr.endswith("RemoteClassifier needs scikit-learn: pip install 'bestepoch[sklearn]'\n")
    assert not hasattr(bestepoch, "RemoteTransformer")


def test_what_was_fitted_is_published_under_a_name(url: str) -> None:
    x, y = table()
    names = np.where(y > 100, "high", "low")
    classifier = RemoteClassifier(url, max_epochs=3, random_state=0).fit(x, names)
    with pytest.raises(NotFittedError):
        RemoteRegressor(url).publish("wines")

    first = classifier.publish("wines")
    second = classifier.publish("wines", alias="challenger", description="again")

    assert (first.version, first.aliases, first.description) == (
        1,
        ["champion"],
        "RemoteClassifier: 0 is high, 1 is low",
    )
    assert (second.version, second.aliases, second.description) == (2, ["challenger"], "again")
    assert [member.job for member in first.members] == [classifier.job_id_]
    rows = [{f"x{i}": None if np.isnan(value) else value for i, value in enumerate(row)} for row in x[:9]]
    with Client(url) as client:
        answers = client.models.get("wines").predict(rows)
    probabilities = [list(answer["probabilities"].values()) for answer in answers]
    np.testing.assert_allclose(probabilities, classifier.predict_proba(x[:9]), rtol=0, atol=1e-12)
