#!/bin/sh
# Installs programs of an Aqueduct release:
#
#   install.sh [--from PLACE] [--prefix DIR] edge|collector|tools ...
#
# PLACE is a folder or an https:// address with the files of a release; by default the folder of this script. Each file
# must have the checksum that SHA256SUMS of PLACE has for it. The script installs packages with apt-get, dpkg, dnf or
# rpm. With --prefix, or on other systems, it copies programs, manual pages and completions from the archive into DIR,
# by default /usr/local. `tools` is the program `aqueduct`. Nothing is started or enabled.
#
# Exit codes: 0 installed, 1 failed, 2 wrong arguments.
set -eu
fail() {
  echo "install.sh: $1" >&2
  exit "${2:-1}"
}
usage='usage: install.sh [--from PLACE] [--prefix DIR] edge|collector|tools ...'
place=$(cd "$(dirname "$0")" && pwd)
prefix=''
names=''
while [ $# -gt 0 ]; do
  case "$1" in
  --from | --prefix)
    [ $# -gt 1 ] || fail "$1 needs a value; $usage" 2
    case "$1" in --from) place=${2%/} ;; *) prefix=$2 ;; esac
    shift
    ;;
  edge | collector) names="$names aqueduct-$1" ;;
  tools) names="$names aqueduct" ;;
  -h | --help)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
  *) fail "unknown argument $1; $usage" 2 ;;
  esac
  shift
done
[ -n "$names" ] || fail "name what to install; $usage" 2
has() { command -v "$1" >/dev/null 2>&1; }

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) machine=x86_64 deb=amd64 ;;
Linux-aarch64) machine=aarch64 deb=arm64 ;;
*) fail "no release for $(uname -s) on $(uname -m); build the programs from source: docs/install.md" ;;
esac
if [ -n "$prefix" ]; then
  form=archive
elif has dpkg; then
  form=deb
elif has rpm; then
  form=rpm
else
  form=archive prefix=/usr/local
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# Copies the file $1 of PLACE into the scratch folder.
get() {
  case "$place" in
  https://* | http://127.0.0.1:* | http://localhost:*)
    if has curl; then
      curl -fsSL --retry 3 -o "$scratch/$1" "$place/$1"
    elif has wget; then
      wget -q -O "$scratch/$1" "$place/$1"
    else
      fail "cannot download $place/$1: install curl or wget"
    fi
    ;;
  *://*) fail "cannot use $place: the address must begin with https://" 2 ;;
  *) cp "$place/$1" "$scratch/$1" ;;
  esac || fail "cannot get $1 from $place; --from must name the folder or the address of a release"
}

get SHA256SUMS
# Prints the name in SHA256SUMS that matches the pattern.
named() { sed -n 's/^[0-9a-f]\{64\}[ *]\{1,2\}\([^/]*\)$/\1/p' "$scratch/SHA256SUMS" | grep -x -- "$1" | head -n 1; }

files=''
for name in $names; do
  case $form in
  deb) pattern="${name}_[^_]*_$deb\.deb" ;;
  rpm) pattern="$name-[0-9][^-]*-[^-]*\.$machine\.rpm" ;;
  archive) pattern="aqueduct-[0-9].*-linux-$machine\.tar\.gz" ;;
  esac
  file=$(named "$pattern")
  [ -n "$file" ] || fail "$place has no $name for $machine in the form $form; it is not in SHA256SUMS"
  case " $files " in *" $file "*) continue ;; esac
  get "$file"
  awk -v file="$file" '$2 == file || $2 == "*" file' "$scratch/SHA256SUMS" >"$scratch/sum"
  (cd "$scratch" && sha256sum -c sum >/dev/null 2>&1) ||
    fail "the checksum of $file is not the one in SHA256SUMS; nothing was installed; download it again"
  files="$files $file"
done

cd "$scratch"
case $form in
deb)
  set --
  for file in $files; do set -- "$@" "./$file"; done
  if has apt-get; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
  else
    dpkg -i "$@"
  fi
  ;;
rpm)
  # shellcheck disable=SC2086 # one argument per file, whose names have no spaces
  if has dnf; then dnf install -y $files; else rpm -U --replacepkgs $files; fi
  ;;
archive)
  # shellcheck disable=SC2086
  tar -xzf $files
  root=$(find . -maxdepth 1 -type d -name 'aqueduct-*')
  mkdir -p "$prefix/bin" "$prefix/share/man/man1" "$prefix/share/aqueduct"
  for name in $names; do
    [ -e "$root/bin/$name" ] || fail "the archive for $machine has no $name"
  done
  for name in $names; do
    # A running program cannot be overwritten, but replaced.
    cp "$root/bin/$name" "$prefix/bin/.$name.new"
    mv -f "$prefix/bin/.$name.new" "$prefix/bin/$name"
    echo "$prefix/bin/$name"
    case $name in
    aqueduct)
      cp "$root"/man/*.1.gz "$prefix/share/man/man1/"
      mkdir -p "$prefix/share/bash-completion/completions" "$prefix/share/zsh/site-functions" \
        "$prefix/share/fish/vendor_completions.d"
      cp "$root/completions/aqueduct.bash" "$prefix/share/bash-completion/completions/aqueduct"
      cp "$root/completions/_aqueduct" "$prefix/share/zsh/site-functions/_aqueduct"
      cp "$root/completions/aqueduct.fish" "$prefix/share/fish/vendor_completions.d/aqueduct.fish"
      ;;
    *) cp "$root/man/agents/$name.1.gz" "$prefix/share/man/man1/" ;;
    esac
  done
  cp -R "$root/examples" "$root/etc" "$root/systemd" "$prefix/share/aqueduct/"
  echo "examples and systemd units are in $prefix/share/aqueduct; the head of each unit describes how to install it"
  ;;
esac
echo "installed:$names. Nothing was started or enabled."
