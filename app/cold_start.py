"""The image's entry point: imports the handler of app/app.py faster. It changes private parts of pydantic and FastAPI.

To do without it, delete this file and let the Dockerfile name app.app.handler."""

import gc
import sys
from pathlib import Path

gc.disable()
import pydantic  # noqa: E402
from loguru import logger  # noqa: E402

TESTED = ("fastapi-0.165.0", "pydantic-2.14.3")  # as in requirements.lock
if tested := all((Path(pydantic.__file__).parents[1] / f"{each}.dist-info").exists() for each in TESTED):
    from pydantic._internal import _config, _fields, _namespace_utils

    rebuild = vars(pydantic.BaseModel)["model_rebuild"]

    def rebuild_later(model: type[pydantic.BaseModel], /, **arguments: object) -> object:
        if arguments:  # pydantic calls it on first use of the model
            return rebuild.__func__(model, **arguments)
        names, config = _namespace_utils.NsResolver(), _config.ConfigWrapper(model.model_config)
        fields = _fields.rebuild_model_fields(model, config_wrapper=config, ns_resolver=names, typevars_map={})
        model.__pydantic_fields__ = fields[0]
        return None

    # FastAPI defines its models of an OpenAPI document. pydantic builds each of them on first use, for /openapi.json.
    pydantic.BaseModel.model_config["defer_build"] = True
    pydantic.BaseModel.model_rebuild = classmethod(rebuild_later)  # type: ignore[assignment,method-assign]
    from fastapi._compat import shared  # imports all of FastAPI

    pydantic.BaseModel.model_rebuild = rebuild  # type: ignore[method-assign]
    for model in (models := [pydantic.BaseModel]):
        model.model_config.pop("defer_build", None)
        models += model.__subclasses__()
    # FastAPI would import pydantic.v1 to look for its models. None exists before something imports pydantic.v1.
    ask = shared.is_pydantic_v1_model_class
    shared.is_pydantic_v1_model_class = lambda cls: "pydantic.v1" in sys.modules and ask(cls)

from app.app import handler as handler  # noqa: E402

gc.freeze()  # what was imported is never garbage
gc.enable()
if not tested:
    logger.warning("Imported as usual: app/cold_start.py was tested with {} only", TESTED)
