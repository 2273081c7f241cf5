# syntax=docker/dockerfile:1
# docker build -t tailrace .
# docker run --read-only -v tailrace:/var/lib/tailrace -v ./connectors/embedded-duckdb:/etc/tailrace:ro -e SHOP_URL -p 8080:8080 tailrace

FROM node:24-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY src src
RUN node scripts/setup.mjs build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim
# What differs from outside a container: whoever runs it publishes the port or not, so the default is all addresses; and the
# configuration's folder is mounted read-only, so what is written has a folder elsewhere.
ENV NODE_ENV=production \
  TAILRACE_HTTP_LISTEN=0.0.0.0:8080 \
  TAILRACE_DATA=/var/lib/tailrace
WORKDIR /opt/tailrace
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
# The data folder belongs to the user before the volume is made over it: a new volume takes that over.
RUN ln -s /opt/tailrace/dist/main.js /usr/local/bin/tailrace \
  && install -d -o 1000 -g 1000 -m 0700 /var/lib/tailrace \
  && install -d /etc/tailrace
# The node user, as a number: Kubernetes' runAsNonRoot can't look names up.
USER 1000:1000
# Nothing else is written. Relative paths of a configuration start at its own folder, wherever this is.
WORKDIR /var/lib/tailrace
VOLUME /var/lib/tailrace
EXPOSE 8080
# Asks the port of the variable: a configuration for the image leaves http.listen out.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.TAILRACE_HTTP_LISTEN.split(':').pop()}/livez`, { signal: AbortSignal.timeout(4000) }).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tailrace"]
CMD ["run", "/etc/tailrace"]
