// The store's shape, forward only: each step runs once, in order, in one transaction.
// Invariant: a step that has been released is never edited; a change is a new step at the end.
import { type Db, integer, one } from './db.ts';

const STEPS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE holds (
      id TEXT PRIMARY KEY, digest TEXT NOT NULL, agent TEXT NOT NULL, target TEXT NOT NULL,
      environment TEXT NOT NULL, session TEXT NOT NULL, class TEXT NOT NULL, rule TEXT NOT NULL,
      statement TEXT NOT NULL, request TEXT NOT NULL, state TEXT NOT NULL, version BIGINT NOT NULL,
      asked BIGINT NOT NULL, expires BIGINT NOT NULL, decided BIGINT, decided_by TEXT, reason TEXT,
      receipt TEXT, redeemed_by TEXT, redeemed BIGINT, outcome TEXT,
      recorded BIGINT NOT NULL, published BIGINT NOT NULL)`,
    // At most one hold that could still run for the same binding of the same agent.
    `CREATE UNIQUE INDEX holds_active ON holds (digest, agent)
      WHERE state IN ('pending', 'approved')`,
    `CREATE INDEX holds_state ON holds (state, asked, id)`,
    `CREATE INDEX holds_asked ON holds (asked, id)`,
    `CREATE INDEX holds_agent ON holds (agent, asked)`,
    `CREATE INDEX holds_session ON holds (session, asked)`,
    `CREATE INDEX holds_unsettled ON holds (asked) WHERE recorded = 0 OR published = 0`,
    `CREATE TABLE aliases (alias TEXT PRIMARY KEY, hold TEXT NOT NULL REFERENCES holds (id))`,
    `CREATE INDEX aliases_hold ON aliases (hold)`,
    `CREATE TABLE signers (
      name TEXT PRIMARY KEY, folded TEXT NOT NULL UNIQUE, groups TEXT NOT NULL, roles TEXT NOT NULL,
      identities TEXT NOT NULL, active BIGINT NOT NULL, created BIGINT NOT NULL)`,
    `CREATE TABLE signer_keys (
      thumbprint TEXT PRIMARY KEY, signer TEXT NOT NULL REFERENCES signers (name),
      method TEXT NOT NULL, jwk TEXT NOT NULL, credential TEXT UNIQUE, detail TEXT NOT NULL,
      counter BIGINT NOT NULL, label TEXT NOT NULL, created BIGINT NOT NULL, revoked BIGINT)`,
    `CREATE INDEX signer_keys_signer ON signer_keys (signer)`,
    `CREATE TABLE signatures (
      hold TEXT NOT NULL REFERENCES holds (id), signer TEXT NOT NULL REFERENCES signers (name),
      decision TEXT NOT NULL, method TEXT NOT NULL, channel TEXT NOT NULL, key TEXT NOT NULL,
      signature TEXT NOT NULL, evidence TEXT, reason TEXT, groups TEXT NOT NULL,
      signed TEXT NOT NULL, PRIMARY KEY (hold, signer, decision))`,
    `CREATE TABLE approver_keys (kid TEXT PRIMARY KEY, jwk TEXT NOT NULL, created BIGINT NOT NULL)`,
    `CREATE TABLE secrets (
      hash TEXT PRIMARY KEY, kind TEXT NOT NULL, signer TEXT, detail TEXT NOT NULL,
      created BIGINT NOT NULL, expires BIGINT NOT NULL)`,
    `CREATE INDEX secrets_expires ON secrets (expires)`,
  ],
  [
    `CREATE TABLE webhooks (
      name TEXT PRIMARY KEY, url TEXT NOT NULL, events TEXT NOT NULL, secrets TEXT NOT NULL,
      private BIGINT NOT NULL, active BIGINT NOT NULL, created BIGINT NOT NULL)`,
    `CREATE TABLE deliveries (
      id TEXT PRIMARY KEY, webhook TEXT NOT NULL REFERENCES webhooks (name) ON DELETE CASCADE,
      event TEXT NOT NULL, hold TEXT, body TEXT NOT NULL, state TEXT NOT NULL,
      attempts BIGINT NOT NULL, due BIGINT NOT NULL, created BIGINT NOT NULL, status BIGINT,
      error TEXT)`,
    `CREATE INDEX deliveries_due ON deliveries (due) WHERE state = 'waiting'`,
    `CREATE INDEX deliveries_state ON deliveries (state, created)`,
  ],
  [
    `CREATE TABLE delegations (
      id TEXT PRIMARY KEY, lender TEXT NOT NULL REFERENCES signers (name),
      borrower TEXT NOT NULL REFERENCES signers (name), ends BIGINT NOT NULL)`,
  ],
  [
    `CREATE TABLE records (
      entry_key TEXT PRIMARY KEY, hold TEXT NOT NULL REFERENCES holds (id), entry TEXT NOT NULL,
      place TEXT NOT NULL)`,
    `CREATE INDEX records_hold ON records (hold)`,
  ],
  [`CREATE INDEX holds_pending_agent ON holds (agent) WHERE state = 'pending'`],
  [`ALTER TABLE webhooks ADD COLUMN format TEXT NOT NULL DEFAULT 'standard'`],
  // Entries are written down with the change that they tell of; `place` is '' until the ledger has
  // answered, and `turn` is their order.
  [`ALTER TABLE records ADD COLUMN turn BIGINT NOT NULL DEFAULT 0`],
  [
    `CREATE TABLE integrations (
      name TEXT PRIMARY KEY, kind TEXT NOT NULL, settings TEXT NOT NULL, secrets TEXT NOT NULL,
      created BIGINT NOT NULL)`,
    `CREATE TABLE chat_messages (
      webhook TEXT NOT NULL REFERENCES webhooks (name) ON DELETE CASCADE, hold TEXT NOT NULL,
      conversation TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (webhook, hold))`,
    `CREATE INDEX deliveries_hold ON deliveries (webhook, hold) WHERE state = 'waiting'`,
  ],
  [
    `CREATE TABLE stages (
      hold TEXT NOT NULL REFERENCES holds (id), stage TEXT NOT NULL, PRIMARY KEY (hold, stage))`,
    `CREATE INDEX holds_ending ON holds (expires) WHERE state = 'pending'`,
  ],
  [
    `CREATE TABLE acts (
      id TEXT PRIMARY KEY, act TEXT NOT NULL, who TEXT NOT NULL, created BIGINT NOT NULL,
      fault TEXT)`,
  ],
  [
    `CREATE TABLE answers (
      key TEXT PRIMARY KEY, request TEXT NOT NULL, taken BIGINT NOT NULL, status BIGINT, body TEXT,
      expires BIGINT NOT NULL)`,
    `CREATE INDEX answers_expires ON answers (expires)`,
  ],
];

export async function migrate(db: Db): Promise<void> {
  await db.transaction(async (tx) => {
    // Replicas that start together take turns.
    if (tx.dialect === 'postgres') await tx.all('SELECT pg_advisory_xact_lock(7426837)');
    await tx.run('CREATE TABLE IF NOT EXISTS migrations (step BIGINT PRIMARY KEY)');
    const row = await one(tx, 'SELECT COUNT(*) AS done FROM migrations');
    const done = row ? integer(row, 'done') : 0;
    if (done > STEPS.length) {
      throw new Error(
        `the approver's store was made by a newer version (step ${done}, here ${STEPS.length}): ` +
          'start the newer version, or restore a backup',
      );
    }
    for (const [i, step] of STEPS.entries()) {
      if (i < done) continue;
      for (const sql of step) await tx.run(sql);
      await tx.run('INSERT INTO migrations (step) VALUES (?)', i + 1);
    }
  });
}
