# syntax=docker/dockerfile:1
# The build needs a whole Node image; what runs is Node's binary, the libraries it is linked with, and the program: no shell, no
# package manager, nothing that belongs to the root user of another image.

FROM node:24-bookworm-slim AS dependencies
WORKDIR /build/tcpwrapd
COPY package.json package-lock.json .npmrc ./
# Not "npm ci": it refuses a lock file without the optional packages of platforms that a registry does not carry.
RUN npm install --omit=dev --no-save --no-audit --no-fund

FROM dependencies AS build
# Of the tools for development only those that the compilation needs, and above the folder, so that nothing of them is shipped.
WORKDIR /build
RUN npm install --no-audit --no-fund $(node -p ' \
    const { devDependencies } = require("./tcpwrapd/package.json"); \
    ["typescript", "@types/node", "@types/yargs"].map((name) => `${name}@${devDependencies[name]}`).join(" ")')
WORKDIR /build/tcpwrapd
COPY tsconfig.json ./
COPY src ./src
RUN ../node_modules/.bin/tsc -p .

FROM dependencies AS image
COPY --from=build /build/tcpwrapd/dist ./dist
# /image becomes the top of the image. /run/tcpwrapd is for the control socket: a tmpfs takes over the mode of what it covers,
# and the user may be any.
RUN set -eu; \
    mkdir -p /image/usr/local/bin /image/usr/lib/tcpwrapd /image/etc/tcpwrapd /image/run/tcpwrapd; \
    cp -R package.json dist node_modules /image/usr/lib/tcpwrapd/; \
    rm -rf /image/usr/lib/tcpwrapd/node_modules/.bin /image/usr/lib/tcpwrapd/node_modules/.package-lock.json; \
    find /image/usr/lib/tcpwrapd/node_modules -not -iname 'licen[cs]e*' \
      \( -name '*.map' -o -name '*.md' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' \) -delete; \
    cp "$(command -v node)" /image/usr/local/bin/node; \
    for binary in /image/usr/local/bin/node $(find /image -name '*.node'); do \
      ldd "$binary" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p'; \
    done | sort -u | while read -r library; do \
      mkdir -p "/image$(dirname "$library")"; cp -L "$library" "/image$library"; \
    done; \
    echo 'tcpwrapd:x:65532:65532:TCP proxy:/:/nologin' >/image/etc/passwd; \
    echo 'tcpwrapd:x:65532:' >/image/etc/group; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    chown 65532:65532 /image/run/tcpwrapd; \
    chmod 1777 /image/run/tcpwrapd

FROM scratch
COPY --from=image /image /
ENV NODE_ENV=production TCPWRAPD_TABLES=required
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/local/bin/node", "/usr/lib/tcpwrapd/dist/main.js", "status"]
ENTRYPOINT ["/usr/local/bin/node", "/usr/lib/tcpwrapd/dist/main.js"]
CMD ["run"]
