"""The service from Python: upload, train, follow, and take the best model home.

from service.client import Client

job = Client().train("penguins.csv", target="species", early_stopping={"patience": 5}).wait()
model = job.best_model()
"""

from typing import TYPE_CHECKING, Any

from service.client.client import Client
from service.client.job import Job
from service.client.sweep import Sweep
from service.client.transport import ApiError

if TYPE_CHECKING:
    from service.client.estimators import RemoteClassifier as RemoteClassifier
    from service.client.estimators import RemoteRegressor as RemoteRegressor

# The estimators are not listed: `import *` would then need scikit-learn.
__all__ = ["ApiError", "Client", "Job", "Sweep"]


def __getattr__(name: str) -> Any:
    """RemoteClassifier and RemoteRegressor: scikit-learn is imported by those alone who ask for them."""
    if name not in ("RemoteClassifier", "RemoteRegressor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from service.client import estimators
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise ImportError(f"{name} needs scikit-learn: pip install 'bestepoch[sklearn]'") from error
    return getattr(estimators, name)
