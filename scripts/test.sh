#!/bin/sh
# Sets up everything and runs all tests: sh scripts/test.sh. The last line counts them.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh

set_up
exec node scripts/run-all-tests.mjs "$@"
