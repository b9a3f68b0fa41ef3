#!/bin/sh
# Start five machines, run a command on each of them, and kill them, whatever happens.
set -eu

image=BN1EEkPiBx87_uLj2-sdybSI-Xb
label="nightly-$$"

# Kill everything with this label when the script ends, also when it fails or when "timeout" stops it.
trap 'stratus-kill-instance -q --all --yes --filter "label=$label"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ids=$(stratus-run-instance -q --format ids -n 5 --label "$label" --wait-for ssh --wait-timeout 300 "$image")

for id in $ids; do
    stratus-connect-instance -q "$id" -- "hostname && echo $id is up"
done
