// The page's files: plain ES modules, styles and the few libraries they use, read once at start.
// Invariant: only files named here are served; nothing of the disk is reachable by path.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyInstance } from 'fastify';

const PAGE = join(import.meta.dirname, 'page');

const TYPES: { readonly [extension: string]: string } = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.webmanifest': 'application/manifest+json',
};

/** Address to file: our own, and the libraries they import. */
function files(): ReadonlyMap<string, string> {
  const all = new Map<string, string>();
  for (const name of readdirSync(PAGE)) all.set(`/${name}`, join(PAGE, name));
  all.set('/', join(PAGE, 'index.html'));
  all.set('/vendor/preact.js', library('htm/preact/standalone'));
  all.set('/vendor/canonicalize.js', library('canonicalize'));
  all.set('/vendor/uplot.js', join(dirname(library('uplot')), 'uPlot.esm.js'));
  all.set('/vendor/uplot.css', join(dirname(library('uplot')), 'uPlot.min.css'));
  const webauthn = dirname(library('@simplewebauthn/browser'));
  for (const file of readdirSync(webauthn, { recursive: true, withFileTypes: true })) {
    const path = join(file.parentPath, file.name);
    if (!file.isFile() || !file.name.endsWith('.js')) continue;
    all.set(`/vendor/webauthn/${relative(webauthn, path)}`, path);
  }
  return all;
}

function library(name: string): string {
  return fileURLToPath(import.meta.resolve(name));
}

export function servePage(app: FastifyInstance, origins: readonly string[]): void {
  // The address that agents are told; the page itself keeps its place behind the #.
  app.get('/holds/:id', async (request, reply) => {
    const { id } = request.params as { readonly id: string };
    return reply.redirect(/^h-[a-z2-7]{16}$/.test(id) ? `/#/hold/${id}` : '/', 307);
  });
  for (const [address, file] of files()) {
    const body = readFileSync(file);
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    app.get(address, async (request, reply) => {
      const first = origins[0];
      // Passkeys belong to a host name: people who typed the number are sent to the name.
      if (address === '/' && first !== undefined && request.host.startsWith('127.0.0.1')) {
        if (new URL(first).hostname === 'localhost') return reply.redirect(`${first}/`, 307);
      }
      return reply.header('cache-control', 'no-cache').type(type).send(body);
    });
  }
}
