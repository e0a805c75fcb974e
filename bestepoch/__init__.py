"""Train neural networks on a bestepoch service: upload a table, follow the training, download the best epoch.

from bestepoch import Client

job = Client().train("penguins.csv", target="species", early_stopping={"patience": 5}).wait()
predictions = job.predict([{"bill_length_mm": 39.1, "island": "Torgersen"}])
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from service.client import ApiError, Client, Job, Model, ServiceUnavailable, Sweep

if TYPE_CHECKING:
    from service.client import RemoteClassifier as RemoteClassifier
    from service.client import RemoteRegressor as RemoteRegressor

# The estimators are not listed: `import *` would then need scikit-learn.
__all__ = ["ApiError", "Client", "Job", "Model", "ServiceUnavailable", "Sweep", "__version__"]

__version__ = version("bestepoch")


def __getattr__(name: str) -> Any:
    """Import RemoteClassifier and RemoteRegressor on first use: they need scikit-learn, the rest does not."""
    if name not in ("RemoteClassifier", "RemoteRegressor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import service.client

    return getattr(service.client, name)
