# Holdpoint's one image: proxy, approver and ledger are the same program, started with --only.
FROM node:26-bookworm-slim

ENV NODE_ENV=production
WORKDIR /opt/holdpoint

# Packages first: they change less often than the code.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && npm cache clean --force

COPY . .

# State lives on a volume; the program itself is read-only to the user that runs it.
RUN mkdir -p /var/lib/holdpoint && chown node:node /var/lib/holdpoint
USER node
VOLUME /var/lib/holdpoint

# Errors of a start are told with the exit code; SIGTERM ends sessions, then the record, in order.
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "holdpoint.mjs"]
CMD ["--help"]
