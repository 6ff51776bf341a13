"""The image's entry point: imports the handler of app/app.py faster. Python 3.15 does not need it.

To do without it, delete this file and let the Dockerfile name app.app.handler.
"""

import gc

gc.disable()  # The imports make many objects, and hardly any garbage.
from pydantic import BaseModel  # noqa: E402

# FastAPI defines its models of OpenAPI documents here. pydantic builds each on its first use, for /openapi.json.
BaseModel.model_config["defer_build"] = True
import fastapi  # noqa: E402, F401

for model in (models := [BaseModel]):  # The list grows by the subclasses of each model.
    model.model_config.pop("defer_build", None)
    models += model.__subclasses__()
from app.app import handler as handler  # noqa: E402

gc.freeze()
gc.enable()
