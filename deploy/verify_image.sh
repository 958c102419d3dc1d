#!/usr/bin/env bash
# Build the Dockerfile with buildah, start the container as the README has it, without any key, and
# transcribe with it.
#
#   make verify-image BASE=localhost/python:3.11-bookworm [TORCH="torch==... --index-url ..."]
#
# Needs buildah and BASE at hand, curl, and room for the image; no daemon, and no user namespaces
# where BUILDAH_ISOLATION=chroot. BUILDAH: the command with its own options. BUILD_ARGS: more for
# `buildah build`, such as --volume for a folder of wheels. SKIP_BUILD=1: IMAGE is there already.
# MODELS: a folder of weights, for the container to find base in; without it base is downloaded. The container shares the host's network, and binds all its addresses.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILDAH=${BUILDAH:-buildah}
IMAGE=${IMAGE:-localhost/whisper-streaming:verify}
START_SECONDS=${START_SECONDS:-300}
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

fail() {
  echo "$1" >&2
  exit 1
}
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}
status() { curl --silent --max-time 30 --output /dev/null --write-out '%{http_code}' "$@" || true; }

# HEALTHCHECK is of the docker format.
arguments=(--format docker --network host --tag "$IMAGE" --build-arg "BASE=${BASE:?the base image}")
[ -z "${TORCH:-}" ] || arguments+=(--build-arg "TORCH=$TORCH")
[ -z "${PIP_ARGS:-}" ] || arguments+=(--build-arg "PIP_ARGS=$PIP_ARGS")
# shellcheck disable=SC2086  # several words on purpose
[ -n "${SKIP_BUILD:-}" ] || $BUILDAH build "${arguments[@]}" ${BUILD_ARGS:-} .

# Ports that are free here, and else the image's own settings, which are what is looked at.
port=$(free_port)
dashboard=$(free_port)
words=(--env "WHISPER_PORT=$port" --env "WHISPER_DASHBOARD_PORT=$dashboard")
words+=(--env RAY_raylet_start_wait_time_s=300)
# Not at /models, where buildah has the image's own VOLUME win.
[ -z "${MODELS:-}" ] || words+=(--volume "$MODELS:/weights:ro" --env WHISPER_MODEL_DIR=/weights)
url=http://127.0.0.1:$port
log=$(mktemp)
container=$($BUILDAH from "$IMAGE")
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
# The service answers a little before the last line of its start is on the terminal.
until [ "$(status "$url/readyz")" = 200 ] && grep --quiet "Ctrl-C" "$log"; do
  if [ $((SECONDS - began)) -gt "$START_SECONDS" ] || ! kill -0 "$running" 2>/dev/null; then
    tail -n 30 "$log" >&2
    fail "not ready after $((SECONDS - began)) s; the end of its log is above"
  fi
  sleep 1
done
echo "ready after $((SECONDS - began)) s, by: ${command[*]}"

answer=$(curl --silent --fail -X POST -F "file=@whisper_service/assets/sample.wav" \
  -F "model_size=base" -F "language=en" "$url/transcribe") || fail "no transcript"
echo "transcribed: $answer"
python3 - "$answer" <<'PYTHON' || fail "these are not the sample's words"
import json, re, sys
# The words, whatever stands between them.
wanted = (
    "and so my fellow americans ask not what your country can do for you"
    " ask what you can do for your country"
)
sys.exit(re.findall(r"\w+", json.loads(sys.argv[1])["text"].lower()) != wanted.split())
PYTHON

stats=$(curl --silent --fail "$url/stats")
[[ $stats == *'"open_access"'* ]] || fail "/stats warns of nothing"
grep --quiet "WARNING: Anybody who can reach" "$log" || fail "the terminal warns of nothing"
echo "no key is asked for, which /stats and the terminal warn of"

jobs=http://127.0.0.1:$dashboard/api/jobs/
[ "$(status "$jobs")" = 401 ] || fail "Ray's dashboard answers without its token"
token=$($BUILDAH run "$container" -- ray get-auth-token)
[ "$(status --header "Authorization: Bearer $token" "$jobs")" = 200 ] || fail "the token opens nothing"
echo "Ray's dashboard asks for a token, and takes the one of ray get-auth-token"

user=$($BUILDAH run "$container" -- id -u)
[ "$user" = 1000 ] || fail "runs as user $user, not 1000"
echo "the image is good"
