// The approver's store: holds, people and secrets over one database, SQLite embedded or PostgreSQL
// configured.
// Invariant: the same statements and the same migrations on both.
import { ActStore } from './store/acts.ts';
import { AnswerStore } from './store/answers.ts';
import type { Db } from './store/db.ts';
import { HoldStore } from './store/holds.ts';
import { IntegrationStore } from './store/integrations.ts';
import { migrate } from './store/migrations.ts';
import { openPostgres } from './store/postgres.ts';
import { SignerStore } from './store/signers.ts';
import { openSqlite } from './store/sqlite.ts';
import { StageStore } from './store/stages.ts';
import { WebhookStore } from './store/webhooks.ts';

export interface Store {
  readonly db: Db;
  readonly holds: HoldStore;
  readonly signers: SignerStore;
  readonly webhooks: WebhookStore;
  readonly integrations: IntegrationStore;
  readonly stages: StageStore;
  readonly acts: ActStore;
  readonly answers: AnswerStore;
  close(): Promise<void>;
}

/** `place` is a file's path (SQLite) or a `postgres://` address. */
export async function openStore(place: string): Promise<Store> {
  const db = /^postgres(ql)?:/.test(place) ? await openPostgres(place) : await openSqlite(place);
  try {
    await migrate(db);
  } catch (e) {
    await db.close();
    throw e;
  }
  return {
    db,
    holds: new HoldStore(db),
    signers: new SignerStore(db),
    webhooks: new WebhookStore(db),
    integrations: new IntegrationStore(db),
    stages: new StageStore(db),
    acts: new ActStore(db),
    answers: new AnswerStore(db),
    close: () => db.close(),
  };
}
