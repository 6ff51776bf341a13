"""The service. Here is what keeps its cold start short, since it has to come before FastAPI is imported elsewhere."""

import gc
import sys
from typing import Any

from pydantic import BaseModel, ConfigDict

# Whatever is imported stays, and the collector would go through it again and again. app.py turns it on.
gc.disable()

# FastAPI asks whether a model is one of pydantic's version 1, and would import all of that version to know. None is.
# A dependency that does use it fails with "import of pydantic.v1 halted": then delete this line.
sys.modules["pydantic.v1"] = None  # type: ignore[assignment]

# FastAPI's own models describe the OpenAPI document: each is built once somebody asks for it. Three of them, Schema,
# Operation and Encoding, FastAPI would build at once by a call without arguments: that one does nothing here. (Before
# you derive from one of the three, call its model_rebuild().)
_model_rebuild = vars(BaseModel)["model_rebuild"]


def _rebuild_if_needed(model: type[BaseModel], /, **why: Any) -> bool | None:
    return _model_rebuild.__func__(model, **why) if why else None


BaseModel.model_config = ConfigDict(defer_build=True)
BaseModel.model_rebuild = classmethod(_rebuild_if_needed)  # type: ignore[assignment,method-assign]
import fastapi  # noqa: E402, F401

BaseModel.model_config = ConfigDict()
BaseModel.model_rebuild = _model_rebuild  # type: ignore[method-assign]
