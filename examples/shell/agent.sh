#!/usr/bin/env bash
# Sends and asks as the agent that a certificate names, with curl and protoc alone:
#   agent.sh send TARGET TYPE [JSON]
#   agent.sh request TARGET TYPE [JSON]
#   agent.sh discover [CAPABILITY]
# MAS_SERVER is host:port; MAS_TLS_CERT_PATH, MAS_TLS_KEY_PATH and MAS_TLS_CA_PATH are those of the SDK.
set -euo pipefail
usage() {
  sed -n '2,6s/^# \?//p' "$0" >&2
  exit 2
}
case ${1:-} in
  send | request) [ $# -ge 3 ] || usage ;;
  discover) ;;
  *) usage ;;
esac
for name in MAS_SERVER MAS_TLS_CERT_PATH MAS_TLS_KEY_PATH MAS_TLS_CA_PATH; do
  [ -n "${!name:-}" ] || { echo "$name is not set" >&2; usage; }
done
protos=${MAS_PROTOS:-$(dirname "$0")/../../mas_core/protocol}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Text as protobuf's text format has it, and back.
quoted() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//$'\n'/\\n}"
}
plain() { while IFS= read -r text; do printf '%b\n' "${text//\\\"/\"}"; done; }

# call METHOD ASKED ANSWERED: reads and writes messages in text format.
call() {
  protoc -I "$protos" --encode="mas.v1.$2" agents.proto > "$work/asked"
  local size
  printf -v size '%08x' "$(wc -c < "$work/asked")"
  # A message of gRPC: not compressed, four bytes of length, and the message.
  { printf '\0'"\\x${size:0:2}\\x${size:2:2}\\x${size:4:2}\\x${size:6:2}"; cat "$work/asked"; } > "$work/body"
  curl --silent --show-error --http2 --max-time 60 --data-binary "@$work/body" \
    --cert "$MAS_TLS_CERT_PATH" --key "$MAS_TLS_KEY_PATH" --cacert "$MAS_TLS_CA_PATH" \
    --header 'content-type: application/grpc' --header 'te: trailers' \
    --dump-header "$work/headers" --output "$work/answer" "https://$MAS_SERVER/mas.v1.Agents/$1"
  if ! grep -qi '^grpc-status: *0' "$work/headers"; then
    # "stable_code: what is wrong", with % for what a header cannot hold.
    sed -n 's/\r$//; s/%/\\x/g; s/^grpc-message: *//Ip' "$work/headers" | plain >&2
    return 1
  fi
  tail -c +6 "$work/answer" | protoc -I "$protos" --decode="mas.v1.$3" agents.proto
}

message() { echo "target: $(quoted "$1") type: $(quoted "$2") data: $(quoted "${3:-{\}}")"; }

case ${1:-} in
  send) message "${@:2}" | call Send NewMessage Receipt ;;
  request)
    answer=$(echo "message { $(message "${@:2}") }" | call Request NewRequest Message)
    sed -n 's/^data: "\(.*\)"$/\1/p' <<< "$answer" | plain
    ;;
  discover)
    answer=$(echo "${2:+capabilities: $(quoted "$2")}" | call Discover DiscoverRequest DiscoverReply)
    sed -n 's/^  id: "\(.*\)"$/\1/p' <<< "$answer"
    ;;
esac
