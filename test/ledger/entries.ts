// Entries for the ledger's tests: realistic, and different each time.
// Invariant: made from a number, so that two runs make the same ones.
import type { Append, DecisionEntry, OutcomeEntry } from '../../ledger/contract.ts';

export function decision(number: number, over: Partial<DecisionEntry> = {}): DecisionEntry {
  const sql = `update orders set paid = true where id = ${number}`;
  return {
    v: 1,
    time: new Date(Date.UTC(2026, 0, 1) + number * 1000).toISOString(),
    by: 'proxy/test',
    kind: 'decision',
    operation: `op-${number}`,
    session: `session-${number % 7}`,
    agent: `agent-${number % 3}`,
    target: 'main',
    environment: number % 2 === 0 ? 'production' : 'staging',
    engine: 'postgres',
    database: 'app',
    class: number % 5 === 0 ? 'destructive' : 'write',
    effects: [
      {
        class: 'write',
        verb: 'update',
        objects: [
          {
            kind: 'table',
            database: 'app',
            schema: 'public',
            name: number % 4 === 0 ? 'orders' : 'customers',
            columns: ['paid'],
            access: 'update',
            via: [],
            tags: [],
            identity: null,
          },
        ],
        predicate: 'key',
        scoped: true,
        rows_max: 1,
        reversible: true,
        opaque: null,
      },
    ],
    statement: {
      literals: 'full',
      sha256: '0'.repeat(64),
      bytes: sql.length,
      text: sql,
      base64: null,
      fingerprint: 'ab12',
      normalized: 'update orders set paid = true where id = $1',
      parameters: [],
    },
    verdict: { kind: 'allow', rule: 'scoped-writes', reason: 'Scoped writes pass.' },
    disposition: 'forward',
    policy: 'c'.repeat(64),
    mode: 'normal',
    stated: { reason: null, task: null, on_behalf_of: null },
    in_transaction: false,
    hold: null,
    binding: null,
    receipt: null,
    ...over,
  };
}

export function outcome(number: number): OutcomeEntry {
  const { v, by, operation, session, agent, target, environment, engine, database, time } =
    decision(number);
  return {
    v,
    time,
    by,
    kind: 'outcome',
    operation,
    session,
    agent,
    target,
    environment,
    engine,
    database,
    outcome: 'done',
    answer: 'UPDATE 1',
    rows: 1,
    duration_ms: 2,
  };
}

export function appendOf(number: number): Append {
  return { key: `op-${number}/decision`, entry: decision(number) };
}
