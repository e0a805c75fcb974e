"""Importance of parameters by Optuna's functional ANOVA, in a child process: the API imports neither Optuna nor
scikit-learn. `shares` is the API's side, `_work` is the child's.

Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing hyperparameter importance", ICML 2014.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask, respond
from service.errors import Conflict, InvalidData, NotInstalled, ReadingLimit, ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.search.parameter_columns import Column

SEED = 0  # of the random forest


class _Column(BaseModel):
    values: list[float]
    choices: int | None
    """The number of choices; None: numbers from 0 to 1."""


class _Request(BaseModel):
    columns: list[_Column]
    target: list[float]


class _Shares(BaseModel):
    shares: list[float]


def shares(columns: Sequence[Column], target: Sequence[float], allowed: Allowance) -> list[float]:
    """Share of the variance of `target`, by point, that each column explains by itself; they sum to 1.

    Raises NotInstalled without scikit-learn, Conflict if it takes too long.
    """
    if find_spec("sklearn") is None:
        raise NotInstalled("importance of parameters needs scikit-learn: install bestepoch[baseline] on the server")
    request = _Request(
        columns=[_Column(values=each.values, choices=_choices(each)) for each in columns], target=list(target)
    )
    try:
        return _Shares.model_validate(ask(__name__, request, allowed)).shares
    except ReadingLimit as error:
        raise Conflict("importance of parameters takes more time or memory than this server allows") from error
    except InvalidData as error:
        raise ServiceError("importance of parameters failed; see the service's log") from error


def _choices(column: Column) -> int | None:
    return int(max(column.values)) + 1 if column.scale == "choice" else None


def _work(asked: dict[str, Any], _: Allowance) -> _Shares:
    """In the child: respond to the request."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    request = _Request.model_validate(asked)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    distributions: dict[str, Any] = {
        str(index): FloatDistribution(0.0, 1.0)
        if column.choices is None
        else CategoricalDistribution(range(column.choices))
        for index, column in enumerate(request.columns)
    }
    for row, value in enumerate(request.target):
        values = {
            str(index): column.values[row] if column.choices is None else int(column.values[row])
            for index, column in enumerate(request.columns)
        }
        study.add_trial(optuna.trial.create_trial(params=values, distributions=distributions, value=value))
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=SEED))
    return _Shares(shares=[float(found[name]) for name in distributions])


if __name__ == "__main__":
    respond(_work, "optuna.importance._fanova._evaluator", "sklearn.ensemble")
