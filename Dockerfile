# syntax=docker/dockerfile:1
# One image for every pod of the cluster, head included: Ray refuses to mix Python or Ray versions,
# and the head imports the application to build it.
#
#   docker build -t whisper-streaming:latest .
#   docker run -p 8000:8000 -p 8265:8265 whisper-streaming:latest          (add --gpus all)
#
# BASE needs Debian 12 and Python 3.11 or newer. The registry's default torch brings its own CUDA;
# the node only needs the NVIDIA driver. For a CPU image of a fraction of the size, pass the
# address of PyTorch's CPU wheel index: --build-arg PIP_ARGS="--extra-index-url ..."
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_ARGS=""
WORKDIR /build
COPY requirements.txt .
# A virtual environment is one folder to copy; the compilers stay behind. PIP_ARGS holds several
# words on purpose.
# hadolint ignore=SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --disable-pip-version-check ${PIP_ARGS} -r requirements.txt

FROM ${BASE} AS run
# bash and wget are what KubeRay's own start command and default readiness probe call.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg bash wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 whisper \
    && useradd --uid 1000 --gid 1000 --create-home whisper \
    && install -d -o 1000 -g 1000 /models
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY LICENSE main.py whisper_client.html ./
COPY whisper_service ./whisper_service

# KubeRay replaces the entry point and starts bash without a login, so everything is set here.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    MALLOC_ARENA_MAX=2 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    WHISPER_MODEL_DIR=/models \
    WHISPER_HOST=0.0.0.0 \
    WHISPER_DASHBOARD_HOST=0.0.0.0
# Numeric, so that Kubernetes can check runAsNonRoot.
USER 1000:1000
EXPOSE 8000 8265
VOLUME /models
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8000/healthz"]
CMD ["python", "-m", "main"]
