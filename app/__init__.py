"""The service. Here is what keeps its cold start short, since it has to come before FastAPI is imported elsewhere."""

import gc
import sys

from pydantic import BaseModel, ConfigDict

# Whatever is imported stays, and the collector would go through it again and again. app.py turns it on.
gc.disable()

# FastAPI asks whether a model is one of pydantic's version 1, and would import all of that version to know. None is.
# A dependency that does use it fails with "import of pydantic.v1 halted": then delete this line.
sys.modules["pydantic.v1"] = None  # type: ignore[assignment]

# FastAPI's own models describe the OpenAPI document: each is built once somebody asks for it.
BaseModel.model_config = ConfigDict(defer_build=True)
import fastapi  # noqa: E402, F401

BaseModel.model_config = ConfigDict()
