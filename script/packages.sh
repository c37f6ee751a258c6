# What the scripts install, sourced by both. Debian's and Ubuntu's package names.

# The directory of the project, from wherever a script was called.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Whether PostgreSQL's server programs are there: in PATH, or where Debian keeps them.
has_postgresql() {
    command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

# Whether a browser is there. Ubuntu's own is a snap; any of these will do.
has_browser() {
    local browser
    for browser in chromium chromium-browser google-chrome; do
        command -v "$browser" >/dev/null && return
    done
    return 1
}

# install PACKAGE…: by apt, as root or by sudo; where neither is there, says what to install.
install() {
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Neither root nor sudo here. Install these packages, then run this again:" >&2
            echo "    apt-get install $*" >&2
            exit 1
        fi
        sudo=(sudo)
    fi
    if ! command -v apt-get >/dev/null; then
        echo "No apt-get here. Install what Debian calls: $*" >&2
        exit 1
    fi
    echo "Installing $*" >&2
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >&2
}

# Rust, without which nothing here can be built.
if ! command -v cargo >/dev/null; then
    echo "No Rust toolchain: see https://rustup.rs" >&2
    exit 1
fi
