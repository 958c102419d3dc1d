#!/usr/bin/env bash
# Build the Dockerfile with buildah, run the container's own command, and transcribe with it.
#
#   make verify-image BASE=localhost/python:3.11-bookworm [TORCH="torch==... --index-url ..."]
#
# Needs buildah and BASE at hand, curl, and room for the image; no daemon, and no user namespaces
# where BUILDAH_ISOLATION=chroot. BUILDAH: the command with its own options. BUILD_ARGS: more for
# `buildah build`, such as --volume for a folder of wheels. SKIP_BUILD=1: IMAGE is there already. The
# container shares the host's network.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILDAH=${BUILDAH:-buildah}
IMAGE=${IMAGE:-localhost/whisper-streaming:verify}
START_SECONDS=${START_SECONDS:-300}
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

# HEALTHCHECK is of the docker format.
arguments=(--format docker --network host --tag "$IMAGE" --build-arg "BASE=${BASE:?the base image}")
[ -z "${TORCH:-}" ] || arguments+=(--build-arg "TORCH=$TORCH")
[ -z "${PIP_ARGS:-}" ] || arguments+=(--build-arg "PIP_ARGS=$PIP_ARGS")
# shellcheck disable=SC2086  # several words on purpose
[ -n "${SKIP_BUILD:-}" ] || $BUILDAH build "${arguments[@]}" ${BUILD_ARGS:-} .

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
log=$(mktemp)
container=$($BUILDAH from "$IMAGE")
# Its own Ray and its own ports, and what needs no download.
settings=(WHISPER_DEFAULT_MODEL=demo WHISPER_REQUIRE_KEYS=off WHISPER_DASHBOARD=false)
settings+=(WHISPER_HOST=127.0.0.1 "WHISPER_PORT=$port" RAY_raylet_start_wait_time_s=300)
words=()
for setting in "${settings[@]}"; do words+=(--env "$setting"); done
own=$($BUILDAH inspect --type image "$IMAGE" |
  python3 -c 'import json, sys; print(*json.load(sys.stdin)["OCIv1"]["config"]["Cmd"])')
read -ra command <<< "$own"
setsid $BUILDAH run --network host "${words[@]}" "$container" -- "${command[@]}" > "$log" 2>&1 &
running=$!
stop() {
  kill -TERM -- "-$running" 2>/dev/null || true
  wait "$running" || true
  $BUILDAH rm "$container" > /dev/null
}
trap stop EXIT

began=$SECONDS
until curl --silent --fail --max-time 10 "http://127.0.0.1:$port/readyz" > /dev/null; do
  if [ $((SECONDS - began)) -gt "$START_SECONDS" ] || ! kill -0 "$running" 2>/dev/null; then
    echo "not ready after $((SECONDS - began)) s; the end of its log:" >&2
    tail -n 30 "$log" >&2
    exit 1
  fi
  sleep 1
done
echo "ready after $((SECONDS - began)) s, by: ${command[*]}"

said=$(curl --silent --fail -F file=@tests/data/digits.wav -F response_format=text \
  "http://127.0.0.1:$port/transcribe")
wanted=$(python3 -c 'import json; print(json.load(open("tests/data/digits.json"))["text"])')
echo "transcribed: $said"
# The words, whatever stands between them.
[ "$(tr -cs '[:alnum:]' ' ' <<< "${said,,}" | xargs)" = "$wanted" ] || { echo "said was: $wanted" >&2; exit 1; }
user=$($BUILDAH run "$container" -- id -u)
[ "$user" = 1000 ] || { echo "runs as user $user, not 1000" >&2; exit 1; }
echo "the image is good"
