# shellcheck shell=bash
# Sourced by .ci/run and tests/run: names each step, times it, and says which one failed.

steps=''        # the table so far
step_running='' # its name, while one runs
step_started=0

# Arguments: the step's name, then the command that is the step. A step that fails ends the script
# (`set -e` stays in force inside it), whose EXIT trap calls `report_failure`.
step() {
  step_running=$1 step_started=$SECONDS
  shift
  printf '\n=== %s\n' "$step_running"
  "$@"
  local minutes
  minutes=$(minutes_since "$step_started")
  printf '=== %s: %s min\n' "$step_running" "$minutes"
  steps+=$(printf '%6s min  %s' "$minutes" "$step_running")$'\n'
  step_running=''
}

# Lints and tests are built on the system's OpenSSL where its headers are: to build one takes minutes. The
# optimised build has its own, as what is shipped has.
use_system_openssl() {
  if pkg-config --exists 'openssl >= 3' 2>/dev/null; then export OPENSSL_NO_VENDOR=1; fi
}

minutes_since() { awk -v s=$((SECONDS - $1)) 'BEGIN { printf "%.1f", s / 60 }'; }

report_failure() {
  [ -n "$step_running" ] || return 0
  printf '=== %s: FAILED after %s min\n' "$step_running" "$(minutes_since "$step_started")"
}

# The table, with the sum since the script began.
print_steps() { printf '\n%s%6s min  in all\n' "$steps" "$(minutes_since 0)"; }
