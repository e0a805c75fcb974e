"""The next decision of a sweep: a step of its search, or the publication of its model at the end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from service.api.sweeps.publication import publish_model
from service.api.sweeps.search_steps import take_step
from service.domain.sweep import DecisionKind, NewDecision
from service.errors import InvalidSpec, NotFound
from service.store import decisions, sweeps, trials
from service.store.decisions import AlreadyDecided
from service.store.jobs import actions

if TYPE_CHECKING:
    from service.api.context import RequestContext

log = logging.getLogger(__name__)


def advance(context: RequestContext, sweep_id: str) -> bool:
    """Take the next decision, if what it depends on is known; whether another one may follow at once.

    Computed outside of transactions, from what is recorded alone: any process decides the same. Raises Unavailable and
    StorageError; nothing has happened then.
    """
    with context.database.reading() as connection:
        stopped = decisions.has_stopped(connection, sweep_id)  # before `settled`: another process may decide meanwhile
        settled = decisions.is_settled(connection, sweep_id)
        if not settled and (stopped or not trials.is_overdue(connection, sweep_id)):
            return False
        sweep, taken = sweeps.get(connection, sweep_id), decisions.count(connection, sweep_id)
    if not sweep.pending:
        return False
    try:
        if sweep.search is not None and take_step(context, sweep):
            return True
        if settled and (stopped or sweep.search is None):
            publish_model(context, sweep, taken)
    except (AlreadyDecided, NotFound) as error:
        log.info("%s: decided elsewhere: %s", sweep_id, error)
    except InvalidSpec as error:
        give_up(context, sweep_id, error.detail)
    return False


def give_up(context: RequestContext, sweep_id: str, reason: str) -> None:
    """Record that the sweep cannot go on, so that nobody waits for it."""
    try:
        with context.database.transaction() as connection:
            failed = NewDecision(DecisionKind.failed, reason)
            taken = decisions.count(connection, sweep_id)
            decisions.take(connection, sweep_id, taken, [failed], ends=True, error=reason)
            waiting = [job.id for job in trials.find(connection, sweep_id) if job.at_limit]
            actions.prune(connection, waiting, "pruned: the search cannot go on")
    except (AlreadyDecided, NotFound) as error:
        log.info("%s: decided elsewhere: %s", sweep_id, error)
