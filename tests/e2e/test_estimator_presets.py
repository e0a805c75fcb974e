"""Estimators with a preset: they predict with a published ensemble, and take part in grid searches."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV

from bestepoch import Client, RemoteClassifier, RemoteRegressor
from service.client.estimators import MAX_JSON_VALUES
from tests.e2e.test_estimators import ESTIMATORS, table, url

__all__ = ["url"]  # a fixture

SHORT = {"max_epochs": 3}


def test_a_preset_predicts_with_a_published_ensemble(url: str) -> None:
    x, y = load_wine(return_X_y=True)
    names = np.array(["Barolo", "Grignolino", "Barbera"], dtype=object)[y]
    model = RemoteClassifier(url, preset="good", random_state=0)

    model.fit(x, names)

    assert model.score(x, names) > 0.9
    shares = model.predict_proba(x)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert not hasattr(model, "job_id_")
    again = clone(model).fit(x, names)
    assert (again.preset, again.n_iter_) == ("good", model.n_iter_)
    assert np.array_equal(again.predict_proba(x), shares)
    with Client(url) as client:
        version = client.models.get(model.model_.partition(":")[0]).version(1)
        assert len(version.members) == 8
        assert client.sweep_of(model.sweep_id_).state.labels == {"estimator": "RemoteClassifier"}
    published = model.publish("wine-ensemble")
    assert published.description == "RemoteClassifier: 0 is Barbera, 1 is Barolo, 2 is Grignolino"
    assert [member.job for member in published.members] == [member.job for member in version.members]


@ESTIMATORS
def test_grid_search_over_presets(kind: type, url: str) -> None:
    x, y = table(60)
    search = GridSearchCV(
        kind(url, random_state=0, spec=SHORT), {"preset": [None, "fast", "good"]}, cv=2, error_score="raise"
    )

    search.fit(x, y > 100 if kind is RemoteClassifier else y)

    assert set(search.cv_results_["param_preset"]) == {None, "fast", "good"}
    assert len(search.predict(x)) == 60


@pytest.mark.parametrize("weighted", [False, True])
def test_many_rows_and_weights_reach_a_preset(url: str, weighted: bool) -> None:
    x, y = table(2_600, 20)
    weight = np.where(np.arange(2_600) < 1_000, 0.0, 2.0) if weighted else None

    model = RemoteRegressor(url, preset="fast", random_state=0, spec=SHORT).fit(x, y, weight)

    assert x.size > MAX_JSON_VALUES
    whole = model.predict(x)
    assert np.array_equal(whole, np.concatenate([model.predict(part) for part in np.array_split(x, 3)]))
    with Client(url) as client:
        (job,) = client.jobs(sweep=model.sweep_id_)
        assert job.state.spec.data.model_dump()["weight"] == ("x20" if weighted else None)


def test_parameters_of_the_network_do_not_go_with_a_preset(url: str) -> None:
    x, y = table()

    with pytest.raises(ValueError, match="hidden is decided by the preset: leave it out, or set it in `spec`"):
        RemoteRegressor(url, preset="good", hidden=(8,)).fit(x, y)
    with pytest.raises(ValueError, match="preset"):
        RemoteRegressor(url, preset="worst").fit(x, y)
    model = RemoteRegressor(url, preset="fast", hidden=[64, 32], spec=SHORT).fit(x, y)
    assert clone(model).get_params()["preset"] == "fast"
    model.set_params(preset=None, spec=None, max_epochs=2).fit(x, y)
    assert (model.n_iter_, hasattr(model, "model_")) == (2, False)
