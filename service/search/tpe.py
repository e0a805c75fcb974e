"""Proposals of Optuna's TPE sampler, as a pure function of the trials so far. Only this module imports Optuna."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from service.search.sampling import Exhausted, draw, meets
from service.spec.space import (
    ChoiceParameter,
    IntParameter,
    LogIntParameter,
    LogParameter,
    Parameter,
    as_text,
    in_order,
    rounded,
    used,
)

if TYPE_CHECKING:
    from optuna.trial import Trial

    from service.search.tpe_request import TpeRequest

MAX_ASKED = 100
"""Proposals for one trial that may be duplicates or break a constraint; then it is drawn at random."""


def propose(request: TpeRequest) -> list[dict[str, Any]]:
    """At most `count` new points, different from all others; fewer when the space is exhausted."""
    first = len(request.points) + 1
    seed = random.Random(f"{request.search.seed}/tpe/{first}/{len(request.refused)}").getrandbits(32)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=request.search.startup_trials),
        direction="maximize" if request.larger_is_better else "minimize",
    )
    distributions = {name: _distribution(parameter) for name, parameter in request.space.items()}
    values = [*request.values, *(None for _ in request.refused)]
    for known, value in zip([*request.points, *request.refused], values, strict=True):
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
                value=value,
                params={name: _to_optuna(request.space[name], each) for name, each in known.items()},
                distributions={name: distributions[name] for name in known},
            )
        )
    taken = {as_text(point) for point in (*request.points, *request.refused)}
    found = list[dict[str, Any]]()
    drawing = False  # once TPE proposes no new point, it takes seconds to find that out again
    for number in range(first, first + request.count):
        point = None if drawing else _ask(study, request, taken)
        if point is None:
            point, drawing = _draw(request, number, taken), True
        if point is None:
            break
        taken.add(as_text(point))
        found.append(point)
    return found


def _ask(study: optuna.Study, request: TpeRequest, taken: set[str]) -> dict[str, Any] | None:
    """A point proposed by TPE; None if it proposes only points that are taken or not allowed."""
    for _ in range(MAX_ASKED):
        trial = study.ask()
        point = _suggested(trial, request.space)
        if as_text(point) in taken or not meets(request.search.constraints, point):
            study.tell(trial, state=TrialState.FAIL)
            continue
        return point
    return None


def _suggested(trial: Trial, space: dict[str, Parameter]) -> dict[str, Any]:
    values = dict[str, Any]()
    for name in in_order(space):
        if used(space[name], values):
            values[name] = _suggest(trial, name, space[name])
    return {name: values[name] for name in space if name in values}


def _suggest(trial: Trial, name: str, parameter: Parameter) -> Any:
    match parameter:
        case ChoiceParameter():
            return parameter.choice[trial.suggest_categorical(name, range(len(parameter.choice)))]
        case IntParameter():
            return trial.suggest_int(name, *parameter.int)
        case LogIntParameter():
            return trial.suggest_int(name, *parameter.log_int, log=True)
        case LogParameter():
            return rounded(parameter, trial.suggest_float(name, *parameter.log, log=True))
    return rounded(parameter, trial.suggest_float(name, *parameter.uniform))


def _draw(request: TpeRequest, number: int, taken: set[str]) -> dict[str, Any] | None:
    search = request.search
    try:
        return draw(request.space, search.constraints, search.seed, number, taken=taken)
    except Exhausted:
        return None


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case ChoiceParameter():
            return CategoricalDistribution(range(len(parameter.choice)))
        case IntParameter():
            return IntDistribution(*parameter.int)
        case LogIntParameter():
            return IntDistribution(*parameter.log_int, log=True)
        case LogParameter():
            return FloatDistribution(*parameter.log, log=True)
    return FloatDistribution(*parameter.uniform)


def _to_optuna(parameter: Parameter, value: Any) -> Any:
    """Optuna's value of a parameter: choices, which may be lists, are numbered."""
    if isinstance(parameter, ChoiceParameter):
        return list(map(as_text, parameter.choice)).index(as_text(value))
    return value
