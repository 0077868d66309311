// The checks of holdpoint.yaml: the same shapes as the interfaces of config.ts, with every default.
// Invariant: strict at every level, so that a misspelt key is an error and never a silent default.
import { hostname } from 'node:os';
import { z } from 'zod';
import type { Entry } from '../ledger/contract.ts';
import { AGENT_NAME } from './agents.ts';
import { parseVerifier } from './postgres/scram.ts';

const DURATION_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** `45s`, `30m`, …; milliseconds inside. */
const duration = z
  .string()
  .regex(/^[0-9]{1,7}(ms|s|m|h)$/, 'write a duration such as 45s or 30m')
  .transform((text) => {
    const [, digits = '', unit = 'ms'] = /^([0-9]+)(ms|s|m|h)$/.exec(text) ?? [];
    return Number(digits) * DURATION_MS[unit as keyof typeof DURATION_MS];
  });

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/i, 'use letters, digits and . _ -, at most 63 characters');
const port = z.int().min(0).max(65_535);
const text = z.string().min(1, 'must not be empty');
const file = text.nullable().default(null);

/** Secrets never stand in the file: it says where they are. */
const secret = z
  .union(
    [z.strictObject({ env: text }), z.strictObject({ file: text })],
    'say where the secret is: { env: NAME } or { file: path }; never the secret itself',
  )
  .nullable()
  .default(null);

function address(host: string, number: number) {
  return z.strictObject({ host: text.default(host), port: port.default(number) }).prefault({});
}

const tls = z
  .strictObject({
    mode: z.enum(['off', 'allow', 'require']).default('allow'),
    cert: file,
    key: file,
  })
  .refine(
    (value) => (value.cert === null) === (value.key === null),
    'give cert and key, or neither',
  )
  .prefault({});

const target = z.strictObject({
  name,
  engine: z.literal('postgres', 'engine: only postgres is served yet').default('postgres'),
  host: text,
  port: port.min(1).default(5432),
  user: text,
  password: secret,
  database: text.default('postgres'),
  environment: text.default('production'),
  enforce: z.boolean().default(true),
  tags: z.array(text).default([]),
  tls: z
    .strictObject({
      mode: z.enum(['disable', 'require', 'verify-ca', 'verify-full']).default('verify-full'),
      ca: file,
      cert: file,
      key: file,
    })
    .prefault({}),
  record: z
    .strictObject({
      reads: z.enum(['each', 'summary']).default('summary'),
      literals: z.enum(['full', 'sealed', 'none']).default('full'),
      seal_to: file,
    })
    .refine(
      (value) => (value.literals === 'sealed') === (value.seal_to !== null),
      'literals: sealed and seal_to, the file of a public key, go together',
    )
    .prefault({}),
  hold: z
    .strictObject({ wait: duration.default(45_000), in_transaction: z.boolean().default(false) })
    .transform((value) => ({ wait_ms: value.wait, in_transaction: value.in_transaction }))
    .prefault({}),
});

const agent = z.strictObject({
  name: z.string().regex(AGENT_NAME, 'use letters, digits and . _ @ -, at most 63 characters'),
  verifier: z
    .string()
    .refine(
      (value) => parseVerifier(value) !== null,
      'not a SCRAM-SHA-256 verifier: make one with `holdpoint agent verifier`',
    ),
  groups: z.array(text).default([]),
  capabilities: z.array(text).default(['read', 'write']),
  scopes: z.array(text).default([]),
  targets: z.array(text).nullable().default(null),
});

const bus = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('memory') }),
    z.strictObject({
      kind: z.literal('nats'),
      servers: z.array(text).min(1),
      credentials: file,
      token: secret,
    }),
  ])
  .prefault({ kind: 'memory' });

const ENTRY_KINDS = [
  'decision',
  'outcome',
  'reads',
  'signature',
  'hold',
  'mode',
  'policy',
  'drill',
  'administration',
] as const satisfies readonly Entry['kind'][];

const serviceTls = z.strictObject({ cert: text, key: text });

const ledgerClient = z
  .strictObject({
    name,
    token: secret,
    certificate: z
      .string()
      .regex(/^[0-9a-f]{64}$/i, 'a SHA-256 fingerprint has 64 hex digits')
      .nullable()
      .default(null),
    may: z.array(z.enum(['append', 'read', 'metrics', 'retain'])).min(1),
    kinds: z.array(z.enum(ENTRY_KINDS)).nullable().default(null),
    writes_as: z.array(text).min(1).nullable().default(null),
  })
  .refine(
    (value) => value.token !== null || value.certificate !== null,
    'give a token or a certificate',
  );

const ledger = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('files'),
      directory: file,
      origin: text
        .regex(/^[^\s+:/]+(?:\/[^\s+]+)?$/, 'write a name like ledger.example.com/holdpoint')
        .default('localhost/holdpoint'),
      listen: z
        .strictObject({ host: text.default('127.0.0.1'), port })
        .nullable()
        .default(null),
      tls: serviceTls.extend({ client_ca: file }).nullable().default(null),
      clients: z.array(ledgerClient).default([]),
      public_log: z.boolean().default(false),
      standby: z.boolean().default(false),
      witnesses: z.array(z.strictObject({ url: z.url(), key: text })).default([]),
      retention: z
        .strictObject({
          days: z.record(text, z.number().nonnegative()),
          floor_days: z.number().nonnegative().optional(),
          every: duration.default(6 * 3_600_000),
          archive: file,
        })
        .transform(({ days, floor_days, every, archive }) => ({
          policy: { days, floor_days },
          every_ms: every,
          archive,
        }))
        .nullable()
        .default(null),
    }),
    z.strictObject({
      kind: z.literal('http'),
      urls: z.array(z.url()).min(1),
      token: secret,
      tls: z.strictObject({ ca: file, cert: file, key: file }).prefault({}),
    }),
  ])
  .prefault({ kind: 'files' });

const oidc = z.strictObject({
  issuer: z.url(),
  client_id: text,
  client_secret: secret,
  groups_claim: text.default('groups'),
  groups: z.record(text, z.array(text)).default({}),
  roles: z.record(text, z.array(z.enum(['signer', 'operator', 'auditor']))).default({}),
  create: z.boolean().default(false),
});

const approver = z
  .strictObject({
    listen: address('127.0.0.1', 8080),
    tls: serviceTls.nullable().default(null),
    url: z.url().nullable().default(null),
    keys_url: z.url().nullable().default(null),
    store: secret,
    ledger_key: file,
    oidc: oidc.nullable().default(null),
    routing: file,
    signers: file,
    private_webhooks: z.boolean().default(false),
    trust_proxy: z.array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()])).default([]),
  })
  .prefault({});

export const settings = z
  .strictObject({
    instance: name.default(
      hostname()
        .replace(/[^a-z0-9_.-]/gi, '-')
        .slice(0, 63) || 'local',
    ),
    state: text.default('.holdpoint'),
    listen: z.strictObject({ postgres: address('127.0.0.1', 6432), tls }).prefault({}),
    targets: z.array(target).default([]),
    agents: z.array(agent).default([]),
    policy: z
      .strictObject({
        rego: text.default('policies.rego'),
        tests: text.nullable().default('policies_test.rego'),
        data: text.default('policies.json'),
      })
      .prefault({}),
    bus,
    approver,
    ledger,
  })
  .superRefine((value, context) => {
    for (const [what, items] of [
      ['targets', value.targets],
      ['agents', value.agents],
    ] as const) {
      const seen = new Set<string>();
      for (const [index, item] of items.entries()) {
        if (seen.has(item.name)) {
          const message = `${item.name} is there twice: names are unique`;
          context.addIssue({ code: 'custom', path: [what, index, 'name'], message });
        }
        seen.add(item.name);
      }
    }
    const known = new Set(value.targets.map((one) => one.name));
    for (const [index, one] of value.agents.entries()) {
      for (const [at, wanted] of (one.targets ?? []).entries()) {
        if (known.has(wanted)) continue;
        const message = `there is no target ${wanted}`;
        context.addIssue({ code: 'custom', path: ['agents', index, 'targets', at], message });
      }
    }
  });

export type Settings = z.infer<typeof settings>;
