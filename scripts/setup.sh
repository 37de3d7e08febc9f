# Set-up shared by quickstart.sh and test.sh; sourced from the root of the clone. Installs what is missing and nothing
# else, never asks without a terminal, and writes only into the clone and npm's cache (and, for Debian packages, the system).
# A second run finds everything there and takes a moment.

say() {
  printf 'electra-native: %s\n' "$*" >&2
}

check_node() {
  if ! command -v node >/dev/null 2>&1; then
    say "Node.js was not found. Version 20.19 or newer is needed: https://nodejs.org/en/download"
    exit 1
  fi
  if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
    say "Node.js $(node --version) is too old. Version 20.19 or newer is needed: https://nodejs.org/en/download"
    exit 1
  fi
  if ! command -v npm >/dev/null 2>&1; then
    say "npm was not found beside $(command -v node). Install it, for instance with Node.js itself: https://nodejs.org/en/download"
    exit 1
  fi
}

has_compiler() {
  command -v "${CXX:-g++}" >/dev/null 2>&1 || command -v c++ >/dev/null 2>&1
}

# The matrix products of oneDNN, opened at run time.
has_onednn() {
  for folder in /usr/lib /usr/lib64 /usr/local/lib /usr/lib/*-linux-gnu; do
    for library in "$folder"/libdnnl.so.2 "$folder"/libdnnl.so.3; do
      if [ -e "$library" ]; then return 0; fi
    done
  done
  PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -q 'libdnnl\.so\.[23]'
}

# Names of the Debian packages that are missing, one a line. Set-up can go on without those of optional_packages.
missing_packages() {
  has_compiler || echo g++
  command -v make >/dev/null 2>&1 || command -v ninja >/dev/null 2>&1 || echo make
  optional_packages
}

optional_packages() {
  command -v cmake >/dev/null 2>&1 || echo cmake
  command -v ninja >/dev/null 2>&1 || echo ninja-build
  has_onednn || echo libdnnl2
}

# Runs its arguments as root, if that is possible without a question that nobody could answer.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  elif command -v sudo >/dev/null 2>&1 && [ -t 0 ] && [ -t 2 ]; then
    sudo "$@"
  else
    return 1
  fi
}

can_be_root() {
  [ "$(id -u)" = 0 ] && return 0
  command -v sudo >/dev/null 2>&1 || return 1
  sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ]; }
}

install_packages() {
  wanted=$(missing_packages | sort -u | tr '\n' ' ')
  wanted=${wanted% }
  if [ -z "$wanted" ]; then return 0; fi
  if ! command -v apt-get >/dev/null 2>&1; then
    say "missing here: $wanted (names of Debian packages; install what your system calls them)"
  elif ! can_be_root; then
    say "missing here: $wanted. To install them, as root:"
    say "  apt-get update && apt-get install -y $wanted"
  else
    say "installing Debian packages: $wanted"
    as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are there"
    # shellcheck disable=SC2086 # one argument for each package
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted </dev/null >&2; then
      # One name that this release does not know must not keep back the others.
      for package in $wanted; do
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" </dev/null >&2 ||
          say "the package $package could not be installed"
      done
    fi
  fi

  if ! has_compiler; then
    say "a C++ compiler is needed to build the engine. As root: apt-get update && apt-get install -y $wanted"
    exit 1
  fi
  if ! command -v cmake >/dev/null 2>&1; then
    if ! command -v make >/dev/null 2>&1 || ! command -v python3 >/dev/null 2>&1; then
      say "cmake is needed to build the engine (or make and python3). As root: apt-get update && apt-get install -y $wanted"
      exit 1
    fi
    say "going on without cmake: the engine is built with node-gyp, for the CPU only"
  fi
  has_onednn || say "going on without oneDNN (libdnnl2): a processor without AVX2 would be faster with it"
}

install_modules() {
  if node scripts/dependencies-current.mjs; then
    say "npm packages are there"
  else
    say "installing npm packages (npm ci)"
    # NODE_ENV=production would leave out the compiler.
    npm ci --include=dev --no-audit --no-fund >&2
  fi
  # npm ci has run these already, unless install scripts are switched off; where nothing changed they do nothing.
  node scripts/prepare.mjs >&2
  node scripts/install.mjs >&2
}

set_up() {
  started=$(date +%s)
  check_node
  install_packages
  install_modules
  ELECTRA_SETUP_SECONDS=$(($(date +%s) - started))
  export ELECTRA_SETUP_SECONDS
  say "set-up done in $ELECTRA_SETUP_SECONDS s"
}
