#!/bin/sh
# Sets up everything and pre-trains a small ELECTRA on real text: sh scripts/quickstart.sh [--help | options]
set -eu
ELECTRA_STARTED_IN=$PWD
export ELECTRA_STARTED_IN
cd "$(dirname "$0")/.."
. scripts/setup.sh

for argument in "$@"; do
  case $argument in
  -h | --help)
    check_node
    exec node scripts/quickstart.mjs --help
    ;;
  esac
done
set_up
exec node scripts/quickstart.mjs "$@"
