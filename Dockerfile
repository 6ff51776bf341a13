ARG PYTHON_VERSION=3.14

# The base that Lambda runs. It brings the runtime interface client, and the emulator for `docker run`.
# Both stages use it, so the compiled files fit Lambda's Python.
FROM public.ecr.aws/lambda/python:${PYTHON_VERSION} AS build
WORKDIR /build

# Dependencies before code: a change of the code does not install them again. pip accepts only wheels whose hash is in
# the lock. Installing a wheel runs none of its code. The function needs no programs, no type stubs (.pyi) and no
# notes for editors (.agents): they go.
COPY requirements.lock ./
RUN python3 -m pip install --no-cache-dir --no-compile --require-hashes --only-binary :all: \
    --target package --requirement requirements.lock \
  && rm -rf package/bin package/*/*.pyi package/*/*/*.pyi package/*/.agents

COPY app package/app/

# /var/task is read-only on Lambda: what is not compiled here is compiled again at every cold start.
# unchecked-hash: Python need not compare sources, because the files never change. chmod: Lambda's user must read them.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash package && chmod -R u=rwX,go=rX package

# The second stage gets the package only, and none of pip's other files.
FROM public.ecr.aws/lambda/python:${PYTHON_VERSION}
COPY --from=build /build/package ${LAMBDA_TASK_ROOT}/

# loguru would start with a handler of its own, which app/aws_lambda/logs.py removes again.
ENV LOGURU_AUTOINIT=False

# pydantic would search all installed packages for plugins at its first model.
ENV PYDANTIC_DISABLE_PLUGINS=__all__

# The module app.cold_start and its function `handler`. app.app.handler is the same, and is imported more slowly.
CMD ["app.cold_start.handler"]
