# Sourced by the shell tiers: checks that print one line each, `ok - WHAT` or `not ok - WHAT`, which tests/run counts.
# What a failed check printed follows its line, marked with `# `.
# shellcheck shell=bash

tap_failed=0

# check WHAT COMMAND…: passes when the command exits 0 within CHECK_SECONDS (60).
check() {
    local what=$1 output status=0
    shift
    # Functions cannot be started by timeout(1); their own commands carry the limits.
    if declare -F "$1" >/dev/null; then
        output=$("$@" 2>&1 </dev/null) || status=$?
    else
        output=$(timeout --kill-after=5 "${CHECK_SECONDS:-60}" "$@" 2>&1 </dev/null) || status=$?
    fi
    if [ "$status" = 0 ]; then
        printf 'ok - %s\n' "$what"
        return 0
    fi
    tap_failed=1
    printf 'not ok - %s\n' "$what"
    printf '# exit status %s of: %s\n' "$status" "$*"
    [ -z "$output" ] || printf '%s\n' "$output" | head -n 60 | sed 's/^/# /'
}

# refuse WHAT COMMAND…: passes when the command fails.
refuse() {
    local what=$1
    shift
    check "$what" not "$@"
}

not() {
    if "$@"; then
        echo "succeeded: $*"
        return 1
    fi
}

# eventually SECONDS COMMAND…: repeats the command until it exits 0; its last output is shown when it never does.
eventually() {
    local end=$((SECONDS + $1)) output
    shift
    until output=$("$@" 2>&1); do
        if [ "$SECONDS" -ge "$end" ]; then
            printf 'never came true: %s\n%s\n' "$*" "$output"
            return 1
        fi
        sleep 0.1
    done
}

# equal ACTUAL EXPECTED
equal() {
    [ "$1" = "$2" ] || {
        printf 'is:       %s\nexpected: %s\n' "$1" "$2"
        return 1
    }
}

# holds TEXT PATTERN: TEXT has a line that matches the extended regular expression.
holds() {
    grep -qE -- "$2" <<<"$1" || {
        printf 'no line matches %s in:\n%s\n' "$2" "$1"
        return 1
    }
}
