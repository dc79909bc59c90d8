#!/usr/bin/env bash
# Tier 2: what `make demo` shows, on a private bus. TARGET_DIR names the folder that holds release/ (default: target).
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/support/tap.sh

target_dir=$(realpath "${TARGET_DIR:-${CARGO_TARGET_DIR:-target}}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

demo_runs() { TMPDIR=$work timeout --kill-after=10 300 packaging/demo.sh "$target_dir/release" >"$work/shown" 2>&1; }
check "the demo runs to its end" demo_runs || true
shown=$(cat "$work/shown" 2>/dev/null)
check "a bus call starts the daemon and returns rows" holds "$shown" '^a\(sssssut\) [0-9]+|^\(\[|^\(@a'
check "the daemon that answered is a process of the demo's bus" holds "$shown" 'answered by omgd, process [0-9]+'
check "the prompt line has counts" holds "$shown" '^[0-9]+ installed, [0-9]+ explicit, [0-9]+ updates'
nothing_left() {
    local pid
    pid=$(sed -n 's/.*answered by omgd, process \([0-9]*\).*/\1/p' "$work/shown")
    gone() { ! kill -0 "${pid:-$$}" 2>/dev/null; }
    eventually 10 gone && equal "$(find "$work" -mindepth 1 ! -name shown)" ''
}
check "the demo leaves neither a process nor a file" nothing_left
exit "$tap_failed"
