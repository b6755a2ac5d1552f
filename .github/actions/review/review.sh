#!/usr/bin/env bash
# One comment on the pull request, which later runs replace; the same text is the summary of the run.
set -euo pipefail
options=(--folder "$FOLDER" --no-env-file)
[ -z "${SINCE:-}" ] || options+=(--since "$SINCE")
if [ -z "${DATABASE_URL:-}" ]; then
    unset DATABASE_URL
    options+=(--offline)
fi
written=$(mktemp)
trap 'rm -f "$written"' EXIT

code=0
wmigrate review "${options[@]}" >"$written" || code=$?
if [ ! -s "$written" ]; then # the error is in the log
    exit "$code"
fi
cat "$written" >>"$GITHUB_STEP_SUMMARY"

if [ -n "${PULL_REQUEST:-}" ]; then
    marker='<!-- wmigrate review -->'
    # GitHub takes 65,536 characters.
    body=$(printf '%s\n' "$marker" && head -c 60000 "$written" | iconv -c -f UTF-8 -t UTF-8)
    [ "$(wc -c <"$written")" -le 60000 ] || body+=$'\n\nThe rest is in the summary of the run.'
    comments="repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments"
    before=$(gh api --paginate "$comments" --jq ".[] | select(.body | startswith(\"$marker\")) | .id" | head -n 1)
    if [ -n "$before" ]; then
        gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$before" --raw-field body="$body" --silent
    else
        gh api --method POST "$comments" --raw-field body="$body" --silent
    fi
fi
exit "$code"
