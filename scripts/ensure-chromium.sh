#!/usr/bin/env bash
# Makes sure that the browser tests find Chromium at /usr/bin/chromium: installs Debian's package where it is missing and
# that is possible, and otherwise says what to do.
set -euo pipefail

CHROMIUM=/usr/bin/chromium
[ -x "$CHROMIUM" ] && exit 0

give_up() {
  echo "ensure-chromium: $CHROMIUM is missing, and $1." >&2
  echo "ensure-chromium: install it (Debian: apt-get install chromium), or leave the browser tests out: pytest -m 'not browser'" >&2
  exit 1
}

command -v apt-get >/dev/null || give_up "there is no apt-get here to install it with"
run=()
if [ "$(id -u)" -ne 0 ]; then
  sudo -n true 2>/dev/null || give_up "installing it needs root"
  run=(sudo -n)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y --no-install-recommends chromium >"$log" 2>&1
}
echo "ensure-chromium: installing chromium, once" >&2
install || { "${run[@]}" timeout 300 apt-get update >>"$log" 2>&1 && install; } || {
  tail -n 5 "$log" >&2
  give_up "apt-get could not install it (its last lines are above)"
}
[ -x "$CHROMIUM" ] || give_up "the package chromium of this system does not bring it"
