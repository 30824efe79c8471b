#!/usr/bin/env bash
# Builds the Debian package from what "npm run build" has made, with dpkg's own tools and without the network.
#
#   test/pack/deb.sh [FOLDER]      writes FOLDER/tcpwrapd_VERSION_ARCH.deb (default: the current folder) and prints its path
set -euo pipefail
umask 022
top=$(cd "$(dirname "$0")/../.." && pwd)
out=$(cd "${1:-.}" && pwd)
[ -x "$(command -v dpkg-deb)" ] || { echo "deb.sh: needs dpkg-deb" >&2; exit 1; }
[ -e "$top/dist/main.js" ] || { echo 'deb.sh: no dist/main.js; first "npm run build"' >&2; exit 1; }

version=$(node -p 'require(process.argv[1]).version' "$top/package.json")
arch=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

put() { install -D -m "$1" "$2" "$root/$3"; }

# The program, and the packages that it needs and no others. node-unix-socket has a compiled part, hence the architecture.
lib=usr/lib/tcpwrapd
mkdir -p "$root/$lib/node_modules" "$root/usr/bin"
cp -R "$top/dist" "$root/$lib/dist"
chmod 755 "$root/$lib/dist/main.js"
put 644 "$top/package.json" "$lib/package.json"
mkdir -p "$root/$lib/config"
cp -R "$top/config/demo" "$root/$lib/config/demo"
# Of the packages in the lock file: those that are not for development only, and are installed (others are for other machines).
node -e '
  const { packages } = require(process.argv[1]);
  for (const [path, { dev }] of Object.entries(packages)) if (path !== "" && !dev) console.log(path);
' "$top/package-lock.json" | while read -r package; do
  [ -d "$top/$package" ] || continue
  mkdir -p "$root/$lib/$(dirname "$package")"
  cp -R "$top/$package" "$root/$lib/$(dirname "$package")/"
done
[ -d "$root/$lib/node_modules/yargs" ] || { echo "deb.sh: the lock file does not name the packages" >&2; exit 1; }
rm -rf "$root/$lib/node_modules/.bin"
find "$root/$lib/node_modules" \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '.github' -o -name 'test' \
  -o -name 'benchmarks' -o -name 'docs' -o -name '*.md' -not -iname 'licen[cs]e*' \) -prune -exec rm -rf {} +
ln -s ../lib/tcpwrapd/dist/main.js "$root/usr/bin/tcpwrapd"

for unit in tcpwrapd.service tcpwrapd.socket tcpwrapd@.service; do
  put 644 "$top/systemd/$unit" "usr/lib/systemd/system/$unit"
done
put 644 "$top/systemd/sysusers.conf" usr/lib/sysusers.d/tcpwrapd.conf
put 644 "$top/config/tcpwrapd.yaml" etc/tcpwrapd/tcpwrapd.yaml
put 644 "$top/config/tcpwrapd.schema.json" usr/share/tcpwrapd/tcpwrapd.schema.json
for page in tcpwrapd.8 tcpwrapd.yaml.5; do
  put 644 "$top/docs/man/$page" "usr/share/man/man${page##*.}/$page"
  gzip -9n "$root/usr/share/man/man${page##*.}/$page"
done
mkdir -p "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions"
SHELL=/bin/bash node "$top/dist/main.js" completion >"$root/usr/share/bash-completion/completions/tcpwrapd"
SHELL=/bin/zsh node "$top/dist/main.js" completion >"$root/usr/share/zsh/vendor-completions/_tcpwrapd"

doc=usr/share/doc/tcpwrapd
put 644 "$top/README.md" "$doc/README.md"
for page in "$top"/docs/*.md; do put 644 "$page" "$doc/$(basename "$page")"; done
put 644 "$top/systemd/hand-over.conf" "$doc/examples/hand-over.conf"
put 644 "$top/systemd/source-client.conf" "$doc/examples/source-client.conf"
cp -R "$top/config/examples/." "$root/$doc/examples/"
{
  printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: tcpwrapd\n\nFiles: *\n'
  sed -n 's/^Copyright (c) /Copyright: /p' "$top/LICENSE"
  printf 'License: Expat\n'
  sed '1,/^Copyright/d; s/^$/./; s/^/ /' "$top/LICENSE" | sed '1{/^ \.$/d}'
  # Each package says in its package.json whose it is and under which licence; the text of it lies beside.
  node -e '
    const { readFileSync } = require("node:fs");
    for (const path of process.argv.slice(1)) {
      const { name, author, license, contributors } = JSON.parse(readFileSync(`${path}/package.json`, "utf8"));
      const who = [author ?? contributors?.[0] ?? `the ${name} authors`].map((each) => each.name ?? each)[0];
      const files = path.slice(path.indexOf("usr/lib/"));
      console.log(`\nFiles: ${files}/*\nCopyright: ${who}\nLicense: ${license ?? "unknown"}\n The text is in the folder of the package.`);
    }
  ' $(find "$root/$lib/node_modules" -name package.json -path '*/node_modules/*' -printf '%h\n' | sort |
    grep -E '/node_modules/(@[^/]+/)?[^/]+$')
} >"$root/$doc/copyright"
[ ! -e "$top/CHANGELOG.md" ] || { put 644 "$top/CHANGELOG.md" "$doc/changelog"; gzip -9n "$root/$doc/changelog"; }

mkdir "$root/DEBIAN"
echo /etc/tcpwrapd/tcpwrapd.yaml >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
cat >"$root/DEBIAN/control" <<C
Package: tcpwrapd
Version: $version
Architecture: $arch
Maintainer: the tcpwrapd developers <tcpwrapd@localhost>
Installed-Size: $(du -sk --apparent-size "$root/usr" "$root/etc" | awk '{ sum += $1 } END { print sum }')
Depends: nodejs (>= 20.19), libc6, libgcc-s1, systemd | systemd-standalone-sysusers, init-system-helpers (>= 1.54)
Suggests: openssh-server
Section: net
Priority: optional
Description: TCP proxy that decides by hosts.allow and hosts.deny
 tcpwrapd is tcpd for today. It stands in front of sshd, mysqld or any other
 TCP service, asks /etc/hosts.allow and /etc/hosts.deny about every client,
 and joins it to the service or resets the connection. The tables are those
 of TCP wrappers, and count from the moment they are saved.
 .
 The service is not started when the package is installed: first say in
 /etc/tcpwrapd/tcpwrapd.yaml what is to be served.
C
cp "$top"/test/pack/deb/{postinst,prerm,postrm} "$root/DEBIAN/"
chmod 755 "$root"/DEBIAN/{postinst,prerm,postrm}

# The same input gives the same package: times from the last change of the sources, owners root, names in order.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || stat -c %Y "$top/package.json")}
export SOURCE_DATE_EPOCH
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
deb="$out/tcpwrapd_${version}_$arch.deb"
dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "$deb" >/dev/null
echo "$deb"
