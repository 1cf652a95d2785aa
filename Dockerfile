# One image for workers and the runs they start, with or without GPU:
#   docker build --tag inkflow:cpu .
#   docker build --tag inkflow:gpu --build-arg EXTRA=gpu .
# TensorFlow brings CUDA as packages; of the host it needs the driver alone (NVIDIA Container Toolkit).
FROM python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254

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

ARG EXTRA=""
RUN PYTHON=python3.12 .ci/setup .venv \
    && if [ -n "$EXTRA" ]; then \
         uv pip install --quiet --python .venv/bin/python --constraint requirements.lock --editable ".[$EXTRA]"; \
       fi \
    && rm -rf ~/.cache

RUN useradd --create-home --uid 1000 inkflow
USER inkflow
WORKDIR /home/inkflow

ENTRYPOINT ["tini", "-g", "--"]
CMD ["prefect", "worker", "start", "--pool", "gpu", "--type", "process", "--limit", "1"]
