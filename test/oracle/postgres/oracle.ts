// Runs every statement of the corpus on a real server and holds what it changed against what was
// said of it.
// Invariant: the judgement is made before the statement runs, by the catalog as it was then.
import { readFileSync } from 'node:fs';
import pg from 'pg';
import {
  type Effect,
  type EffectClass,
  isChange,
  severity,
  worst,
} from '../../../proxy/effect/effect.ts';
import { openCatalog } from '../../../proxy/postgres/catalog.ts';
import {
  analyze,
  applyChange,
  initialContext,
  loadParser,
} from '../../../proxy/postgres/effect/analyze.ts';
import type { Parsed } from '../../../proxy/postgres/statement.ts';
import { statementsOf } from '../../effects/corpus.ts';
import {
  type Change,
  COPIES,
  difference,
  isNothing,
  readOthers,
  readState,
  type State,
} from './measure.ts';
import type { Family, Tried } from './statements.ts';

export interface Finding {
  readonly family: string;
  readonly statement: string;
  readonly told: EffectClass;
  readonly change: Change;
  readonly wrong: readonly string[];
  /** How many rows the judgement allows for at most. */
  readonly most: number;
  /** The server's own refusal, if it refused. */
  readonly error: string | null;
}

/** The database that statements find, by the name of its file. */
export type World = 'world' | 'rows' | 'folding' | 'unseen';

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function keepCopies(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and n.nspname in ('public', 'evil')`,
  );
  const copies = rows.map(
    ({ name }) =>
      `create table ${COPIES}."${name.replaceAll('"', '')}" as select * from only ${name}`,
  );
  await client.query(`create schema ${COPIES}; ${copies.join('; ')}`);
}

/** A database that is made anew from the world whenever a statement has changed it. */
class Stage {
  readonly #url: (database: string) => string;
  readonly #world: URL;
  readonly #template: string;
  readonly #name: string;
  #admin: pg.Client | null = null;
  /** What a new stage holds, but for what all databases share. */
  #made: State | null = null;
  #before: State | null = null;
  #watcher: pg.Client | null = null;

  constructor(url: (database: string) => string, tag: string, world: World) {
    this.#url = url;
    this.#world = new URL(`./${world}.sql`, import.meta.url);
    this.#template = `oracle_world_${tag}`;
    this.#name = `oracle_stage_${tag}`;
  }

  get world(): string {
    return this.#url(this.#template);
  }

  get url(): string {
    return this.#url(this.#name);
  }

  async build(): Promise<void> {
    this.#admin = await connect(this.#url('postgres'));
    await this.#admin.query(`create database ${this.#template} template template0`);
    const client = await connect(this.world);
    for (const statement of statementsOf(readFileSync(this.#world, 'utf8'))) {
      await client.query(statement).catch((cause: unknown) => {
        if (cause instanceof pg.DatabaseError && cause.code === '42710') return;
        throw new Error(`the world can't be made: ${statement.trim().slice(0, 200)}`, { cause });
      });
    }
    await keepCopies(client);
    await client.end();
    await this.reset();
    this.#made = await this.#read();
  }

  /**
   * Puts back what a statement changed: rows alone from their copies, anything more by a new
   * database.
   */
  async undo(change: Change): Promise<void> {
    if (isNothing(change)) return;
    if (change.catalogs.length + change.others.length > 0) return this.reset();
    const client = await this.#watch();
    const texts = change.tables.map(({ table }) => {
      const copy = `${COPIES}."${table.replaceAll('"', '')}"`;
      return `delete from only ${table}; insert into ${table} select * from ${copy}`;
    });
    try {
      await client.query(`set session_replication_role = replica; ${texts.join('; ')}`);
      await client.query('reset session_replication_role');
    } catch {
      // Generated columns and the like: a new database then.
      await this.reset();
    }
  }

  /** One connection that looks at the stage between statements. */
  async #watch(): Promise<pg.Client> {
    this.#watcher ??= await connect(this.url);
    return this.#watcher;
  }

  async #unwatch(): Promise<void> {
    await this.#watcher?.end();
    this.#watcher = null;
  }

  async reset(): Promise<void> {
    await this.#unwatch();
    await this.#admin?.query(`drop database if exists ${this.#name} with (force)`);
    await this.#shared();
    await this.#admin?.query(`create database ${this.#name} template ${this.#template}`);
    this.#before = null;
  }

  /** Puts back what all databases share. */
  async #shared(): Promise<void> {
    await this.#admin?.query(`
      select pg_drop_replication_slot(slot_name) from pg_replication_slots
        where slot_name like 'oracle%';
      select pg_replication_origin_drop(roname) from pg_replication_origin
        where roname like 'oracle%';
      drop role if exists oracle_fresh; alter role oracle_agent reset all`);
  }

  async before(): Promise<State> {
    this.#before ??= await this.#anew();
    return this.#before;
  }

  async #anew(): Promise<State> {
    if (this.#made === null) throw new Error('the stage is not built');
    return { ...this.#made, others: await readOthers(await this.#watch()) };
  }

  async after(): Promise<State> {
    return this.#read();
  }

  async #read(): Promise<State> {
    return await readState(await this.#watch());
  }

  async clear(): Promise<void> {
    await this.#unwatch();
    await this.#admin?.query(`drop database if exists ${this.#name} with (force)`);
    await this.#admin?.query(`drop database if exists ${this.#template} with (force)`);
    await this.#shared();
    await this.#admin?.query('drop role if exists oracle_agent');
    await this.#admin?.end();
  }
}

/** The judgement of a statement after its prior ones, and all effects that those had. */
function judged(
  tried: Tried,
  catalog: Parameters<typeof analyze>[2],
): { parsed: Parsed; effects: readonly Effect[] } {
  let context = initialContext({ user: 'postgres' });
  const effects: Effect[] = [];
  for (const prior of tried.prior ?? []) {
    const parsed = analyze(prior, context, catalog);
    effects.push(...parsed.effects);
    for (const statement of parsed.statements) {
      for (const change of statement.changes) context = applyChange(context, change);
    }
  }
  const parsed = analyze(tried.statement, context, catalog);
  return { parsed, effects: [...effects, ...parsed.effects] };
}

async function runOn(url: string, tried: Tried): Promise<string | null> {
  const client = await connect(url);
  let error: string | null = null;
  try {
    for (const prior of tried.prior ?? []) await client.query(prior);
    await client.query(tried.statement);
  } catch (cause) {
    error = cause instanceof Error ? cause.message : String(cause);
  } finally {
    await client.end();
  }
  return error;
}

function tableNames(effects: readonly Effect[]): Set<string> {
  return new Set(
    effects.flatMap((e) =>
      e.objects.filter((o) => o.access !== 'read').map((o) => `${o.schema}.${o.name}`),
    ),
  );
}

/** How many rows the effects let a table lose or gain (or all tables together) at most. */
function mostRows(effects: readonly Effect[], table: string | null): number {
  let most = 0;
  for (const { class: worst, objects, rows_max } of effects) {
    if (!isChange(worst)) continue;
    const changed = objects.filter((o) => o.access !== 'read');
    const named = changed.some((o) => table === null || `${o.schema}.${o.name}` === table);
    if (named) most += rows_max ?? Infinity;
  }
  return most;
}

/** The partitions of one table are named after it. */
function kin(table: string): string {
  return table.replace(/_\d+$/, '');
}

/** Everything that the server did and the judgement did not say. */
function disagreements(
  tried: Tried,
  parsed: Parsed,
  effects: readonly Effect[],
  change: Change,
): string[] {
  const wrong: string[] = [];
  const atLeast = (least: EffectClass, why: string) => {
    if (severity(parsed.class) < severity(least))
      wrong.push(`${parsed.class} is less than ${least}: ${why}`);
  };
  const opaque = effects.some((effect) => effect.opaque !== null);
  const named = tableNames(effects);
  for (const table of change.tables) {
    const told = `${table.table}: ${table.before} rows, ${table.removed} gone, ${table.added} new`;
    const moved = change.tables.some(
      (t) => t !== table && t.added >= table.removed && kin(t.table) === kin(table.table),
    );
    const lost =
      table.after === null
        ? table.before > 0
        : table.removed > 0 && table.after < table.before && !moved;
    atLeast(lost ? 'destructive' : 'write', told);
    if (!opaque && !named.has(table.table))
      wrong.push(`${table.table} is not among the objects (${told})`);
    const rewritten = change.catalogs.length > 0;
    const all =
      table.removed === table.before && table.before > 2 && table.after !== null && !rewritten;
    if (all && !parsed.unscoped)
      wrong.push(`every row of ${table.table} changed, and the effect is scoped`);
    const most = mostRows(effects, table.table);
    if (!opaque && Math.max(table.removed, table.added) > most)
      wrong.push(`more than ${most} rows: ${told}`);
  }
  const bound = mostRows(effects, null);
  const rows = (side: 'removed' | 'added') => change.tables.reduce((sum, t) => sum + t[side], 0);
  if (!opaque && Math.max(rows('removed'), rows('added')) > bound)
    wrong.push(`more than ${bound} rows in all tables`);
  // Statements sent before it change the catalogs too.
  const most = worst(effects.map((effect) => effect.class));
  if (change.catalogs.length > 0 && severity(most) < severity('ddl'))
    wrong.push(`${most} is less than ddl: ${change.catalogs.join(', ')}`);
  for (const other of change.others) {
    if (/^(pg_authid|pg_auth_members|pg_db_role_setting|pg_replication_origin|slot)/.test(other))
      atLeast('admin', other);
    else if (other.startsWith('sequence') || other.startsWith('large object'))
      atLeast('write', other);
  }
  if (tried.known === true && !parsed.complete) wrong.push('it is not understood');
  if (tried.read === true) {
    if (parsed.class !== 'read') wrong.push(`judged ${parsed.class}, and it is a plain read`);
    if (!isNothing(change)) wrong.push('meant to be a read, but it changed something');
  }
  return wrong;
}

/** Judges and runs everything; calls `found` for each statement. */
export async function consult(
  url: (database: string) => string,
  families: readonly Family[],
  tag: string,
  found: (finding: Finding) => void,
  world: World = 'world',
): Promise<void> {
  await loadParser();
  const stage = new Stage(url, tag, world);
  await stage.build();
  try {
    const reader = await openCatalog(stage.world);
    const catalog = reader.current();
    await reader.close();
    for (const family of families) {
      for (const tried of family.tried) {
        const { parsed, effects } = judged(tried, catalog);
        const before = await stage.before();
        const error = await runOn(stage.url, tried);
        const change = difference(before, await stage.after());
        const wrong = disagreements(tried, parsed, effects, change);
        found({
          family: family.name,
          statement: tried.statement,
          told: parsed.class,
          change,
          wrong,
          most: mostRows(parsed.effects, null),
          error,
        });
        await stage.undo(change);
      }
    }
  } finally {
    await stage.clear();
  }
}
