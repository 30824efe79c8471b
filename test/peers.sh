#!/usr/bin/env bash
# Installs the real services that "npm run test:peers" talks to, from Debian's packages. Needs root. Starts none of them.
set -euo pipefail

packages=(
  openssh-server openssh-client mariadb-server mariadb-client rsyslog unbound dnsmasq-base oidentd
  haproxy nginx-full libnginx-mod-stream xinetd socat vsftpd tftpd-hpa tftp-hpa inetutils-telnetd telnet
  libwrap0-dev tcpd gcc libc6-dev fail2ban rinetd ucspi-tcp iproute2 nftables procps strace tcpdump curl
  systemd-container man-db groff-base buildah podman runc faketime podman-compose netavark aardvark-dns iptables
)

if [ "$(id -u)" != 0 ]; then
  echo "test/peers.sh: installs Debian packages, so it needs root" >&2
  exit 1
fi

# A package must not start its service while it is installed.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  made_policy=yes
fi
trap '[ -z "$made_policy" ] || rm -f "$policy"' EXIT

export DEBIAN_FRONTEND=noninteractive
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  apt-get update -qq
  # --no-remove: some of them conflict with others, and one must not silently push out another.
  apt-get install -y -qq --no-install-recommends --no-remove "${missing[@]}" >/dev/null
fi
echo "test/peers.sh: ${#packages[@]} packages are there, ${#missing[@]} of them new"
