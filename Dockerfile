ARG PYTHON_VERSION=3.13

# The base that Lambda runs: it brings the runtime interface client, and the emulator for `docker run`.
# Both stages stand on it, so that what is compiled here fits what runs there.
FROM public.ecr.aws/lambda/python:${PYTHON_VERSION} AS build
WORKDIR /build

# Dependencies before code: a change of the code does not install them again. Each file has to be one that
# the lock names by its hash, and a wheel: installing one runs no code of its own. Their programs nobody calls.
COPY requirements.lock ./
RUN python3 -m pip install --no-cache-dir --no-compile --require-hashes --only-binary :all: \
    --target package --requirement requirements.lock \
  && rm -rf package/bin

COPY app package/app/

# /var/task is read-only on Lambda: what is not compiled here is compiled again at every cold start.
# Unchecked, for nothing here changes any more. Lambda's user reads the files, whatever the umask was here.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash package && chmod -R u=rwX,go=rX package

# The second stage leaves behind what only the build needed.
FROM public.ecr.aws/lambda/python:${PYTHON_VERSION}
COPY --from=build /build/package ${LAMBDA_TASK_ROOT}/

# loguru would start with a handler of its own, which app/aws_lambda/logs.py removes again.
ENV LOGURU_AUTOINIT=False

# The module app.cold_start and its function `handler`. app.app.handler is the same, imported without the patches.
CMD ["app.cold_start.handler"]
