ARG PYTHON_VERSION=3.14

# The base that Lambda runs. It brings the runtime interface client, and the emulator for `docker run`.
# Both stages use it, so the compiled files fit Lambda's Python.
FROM public.ecr.aws/lambda/python:${PYTHON_VERSION} AS build
WORKDIR /build

# Dependencies before code: a change of the code does not install them again. pip accepts only wheels whose hash is in
# the lock. Installing a wheel runs none of its code. The function needs no programs, which pip puts into bin.
# A package may hold templates that are no Python, so a file that does not compile is ignored, as pip ignores it.
# unchecked-hash: Python need not compare sources, because the files never change.
COPY requirements.lock ./
RUN python3 -m pip install --no-cache-dir --no-compile --require-hashes --only-binary :all: \
    --target package --requirement requirements.lock \
  && rm -rf package/bin \
  && (python3 -m compileall -qq --invalidation-mode unchecked-hash package || true)

# /var/task is read-only on Lambda: what is not compiled here is compiled again at every cold start.
# chmod: Lambda's user must read the files.
COPY app package/app/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash package/app && chmod -R u=rwX,go=rX package

# The second stage gets the package only, and none of pip's other files.
FROM public.ecr.aws/lambda/python:${PYTHON_VERSION}
COPY --from=build /build/package ${LAMBDA_TASK_ROOT}/

# Python 3.15 imports a module when it is used first, and 3.14 ignores this. With 3.15, app/cold_start.py can go: delete the
# file, and let CMD name app.app.handler.
ENV PYTHON_LAZY_IMPORTS=all

# pydantic would search all installed packages for plugins at its first model.
ENV PYDANTIC_DISABLE_PLUGINS=__all__

# The module app.cold_start and its function `handler`. app.app.handler is the same, and is imported more slowly.
CMD ["app.cold_start.handler"]
