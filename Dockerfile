# One image for workers and the runs they start, with or without GPU, and a small one for `inkflow serve`:
#   docker build --tag inkflow:cpu .
#   docker build --tag inkflow:gpu --build-arg EXTRA=gpu .
#   docker build --tag inkflow:serve --target serve .
# TensorFlow brings CUDA as packages; of the host it needs the driver alone (NVIDIA Container Toolkit).
FROM python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254 AS base

# git clones the commit that a run is pinned to; openssh-client reaches DVC remotes over SSH; tini passes on signals
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client tini util-linux \
    && rm -rf /var/lib/apt/lists/*

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    PATH=/opt/inkflow/.venv/bin:$PATH

WORKDIR /opt/inkflow
COPY requirements.lock pyproject.toml setup.py README.md LICENSE ./
COPY .ci/setup .ci/setup
COPY inkflow inkflow
COPY flows flows
COPY stages stages
COPY custom custom
COPY templates templates
RUN python -m compileall -q inkflow flows stages custom

RUN useradd --create-home --uid 1000 inkflow

# The server needs no TensorFlow. MODEL@STAGE needs git, DVC and its remotes.
FROM base AS serve
RUN python3.12 -m venv .venv \
    && sed -n '/^uv==/,/^ *# via/p' requirements.lock >/tmp/uv.txt \
    && .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r /tmp/uv.txt \
    && .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --constraint requirements.lock \
         --editable '.[predict,s3,ssh]' \
    && rm -rf ~/.cache /tmp/uv.txt

ENV DVC_NO_ANALYTICS=1 \
    DVC_SITE_CACHE_DIR=/tmp/dvc

USER 1000
WORKDIR /project
EXPOSE 8080

ENTRYPOINT ["tini", "-g", "--", "inkflow", "serve"]
CMD ["--help"]

FROM base AS worker
ARG EXTRA=""
RUN PYTHON=python3.12 .ci/setup .venv \
    && if [ -n "$EXTRA" ]; then \
         uv pip install --quiet --compile-bytecode --python .venv/bin/python --constraint requirements.lock --editable ".[$EXTRA]"; \
       fi \
    && rm -rf ~/.cache

USER inkflow
WORKDIR /home/inkflow

ENTRYPOINT ["tini", "-g", "--"]
CMD ["prefect", "worker", "start", "--pool", "gpu", "--type", "process", "--limit", "1"]
