"""The service from Python: upload, train, follow, and take the best model home.

from service.client import Client

job = Client().train("penguins.csv", target="species", early_stopping={"patience": 5}).wait()
model = job.best_model()
"""

from service.client.client import Client
from service.client.job import Job
from service.client.transport import ApiError

__all__ = ["ApiError", "Client", "Job"]
