# syntax=docker/dockerfile:1
# One image for every pod of the cluster, head included: Ray refuses to mix Python or Ray versions,
# and the head imports the application to build it.
#
#   docker build -t whisper-streaming:latest .        (on an ARM machine: --platform linux/amd64)
#   docker run -p 8000:8000 -p 8265:8265 whisper-streaming:latest          (add --gpus all)
#
# Whoever reaches port 8000 can then use the service, and it warns of that; with
# -e WHISPER_API_KEYS="$(openssl rand -hex 32)" it asks for that key. Ray's dashboard on 8265 asks for
# a token: docker exec CONTAINER ray get-auth-token.
#
# BASE needs Debian 12 and Python 3.11 or newer. Everything is installed by the hashes of locks/, made
# from requirements.txt by `make lock`. The registry's default torch brings its own CUDA 13; the node
# only needs NVIDIA's driver, 580 or newer. A CPU image of a fraction of the size takes torch's other
# build instead, whose hashes are not there:
#   --build-arg TORCH="torch==2.13.0 --index-url ADDRESS-OF-PYTORCHS-CPU-WHEELS"
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG TORCH="--require-hashes -r locks/torch.txt"
# More words for pip: a mirror, a folder of wheels.
ARG PIP_ARGS=""
WORKDIR /build
COPY locks ./locks
# A virtual environment is one folder to copy; the compilers stay behind. openai-whisper comes as
# source, and is built with the setuptools that is locked. The arguments hold several words on
# purpose.
# hadolint ignore=SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
    && install="/opt/venv/bin/pip install --disable-pip-version-check --no-deps ${PIP_ARGS}" \
    && ${install} --require-hashes -r locks/build.txt \
    && ${install} ${TORCH} \
    && ${install} --require-hashes --no-build-isolation -r locks/service.txt

FROM ${BASE} AS run
# bash and wget are what KubeRay's own start command and default readiness probe call.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg bash wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 whisper \
    && useradd --uid 1000 --gid 1000 --create-home whisper \
    && install -d -o 1000 -g 1000 /models /jobs
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
    GRPC_ENABLE_FORK_SUPPORT=0 \
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
