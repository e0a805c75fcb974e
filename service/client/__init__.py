"""The Python client: upload a table, train on it, follow the training, download the best model.

from bestepoch import Client

job = Client().train("penguins.csv", target="species", early_stopping={"patience": 5}).wait()
model = job.best_model()
"""

from typing import TYPE_CHECKING, Any

from service.client.client import Client
from service.client.job import Job
from service.client.model import Model
from service.client.optional_imports import needs
from service.client.sweep import Sweep
from service.client.transport import ApiError, ServiceUnavailable

if TYPE_CHECKING:
    from service.client.estimators import RemoteClassifier as RemoteClassifier
    from service.client.estimators import RemoteRegressor as RemoteRegressor

# The estimators are not listed: `import *` would then need scikit-learn.
__all__ = ["ApiError", "Client", "Job", "Model", "ServiceUnavailable", "Sweep"]


def __getattr__(name: str) -> Any:
    """Import RemoteClassifier and RemoteRegressor on first use: they need scikit-learn, the rest does not."""
    if name not in ("RemoteClassifier", "RemoteRegressor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs(name, "scikit-learn", "bestepoch[sklearn]"):
        from service.client import estimators
    return getattr(estimators, name)
