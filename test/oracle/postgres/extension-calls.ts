// Calls of an extension's functions, with values that lead to trouble where they are used as text,
// names or files.
// Invariant: every function that SQL can call is called; a value is one that the server takes for
// its type.
import type pg from 'pg';

export interface ExtensionFunction {
  readonly oid: string;
  readonly label: string;
  readonly kind: string;
  readonly volatility: string;
  readonly language: string;
  readonly library: string | null;
  readonly symbol: string;
  readonly arguments: readonly string[];
  readonly result: string;
  readonly variadic: boolean;
}

/** Relative to the data folder: what writes there is seen. */
export const FILE = 'written_by_an_extension';

/** What is named changes something when it is read or run: see {@link WORLD}. */
export const WORLD = `
  create table victims (id int primary key, note text, kind text);
  insert into victims select i, 'n' || i, 'k' || i % 3 from generate_series(1, 20) i;
  create table traces (at timestamptz default clock_timestamp(), what text);
  create function leave_trace(what text) returns int language plpgsql as
    $$ begin insert into public.traces (what) values (what); return 1; end $$;
  create view seen as
    select id, note, kind, leave_trace('view') as n from victims;
  create function on_cost(float8) returns float8 language sql as
    $$ select leave_trace('function')::float8 $$;`;

const TEXTS = [
  `'victims'`,
  `'public.seen'`,
  `'select * from seen'`,
  `'select id, note, kind from seen'`,
  `'select leave_trace(''text'')'`,
  `'delete from victims'`,
  `'leave_trace(''expression'')'`,
  `'${FILE}'`,
  `'id'`,
  `'public'`,
  `'seen'`,
  `'note'`,
  `'work_mem'`,
  `'1 day'`,
  `'a'`,
  `''`,
  `'x'' || leave_trace(''quoted'') || '''`,
];

const NUMBERS = ['1', '0', '2', '-1', '16', '4326', '1000'];

const KNOWN: { readonly [type: string]: readonly string[] } = {
  text: TEXTS,
  varchar: TEXTS,
  bpchar: TEXTS,
  name: TEXTS,
  cstring: TEXTS,
  unknown: TEXTS,
  int2: NUMBERS.slice(0, 5),
  int4: NUMBERS,
  int8: NUMBERS,
  numeric: NUMBERS,
  float4: NUMBERS,
  float8: [...NUMBERS, '0.5'],
  oid: [`'seen'::regclass`, `'victims'::regclass`, `'victims_pkey'::regclass`, '1259'],
  regclass: [`'seen'`, `'victims'`, `'victims_pkey'`, `'traces'`],
  regproc: [`'leave_trace'`, `'now'`],
  regprocedure: [`'leave_trace(text)'`, `'on_cost(float8)'`],
  regtype: [`'int4'`, `'text'`],
  regrole: [`'postgres'`],
  regnamespace: [`'public'`],
  bool: ['true', 'false'],
  json: [`'{"a": 1}'`, `'[1, 2]'`],
  jsonb: [`'{"a": 1}'`, `'[1, 2]'`],
  bytea: [`'\\x01'`, `'victims'`],
  record: ['row(1, 2)', 'victims'],
  anyelement: ['1', `'x'::text`],
  anynonarray: ['1', `'x'::text`],
  anycompatible: ['1'],
  any: ['1', `'x'::text`],
  anyarray: ['array[1, 2]', `array['x']`],
  anycompatiblearray: ['array[1, 2]'],
  anyrange: ['int4range(1, 5)'],
  _text: [`array['victims']`, `array['id', 'note']`, `array['select * from seen']`],
  _name: [`array['victims']`, `array['id']`],
  _int4: ['array[1, 2, 3]', 'array[1]'],
  _int8: ['array[1, 2, 3]'],
  _float8: ['array[1, 2, 3]', 'array[0.5]'],
  _float4: ['array[1, 2, 3]'],
};

/** Tried as literals of types that are not above. */
const LITERALS = [
  '1',
  'now',
  '1 day',
  '[1,2,3]',
  'POINT(0 0)',
  'POLYGON((0 0, 0 1, 1 1, 0 0))',
  '1.2.3.4',
  '10.0.0.0/8',
  '1.2.3',
  '(1,2)',
  '[1,5)',
  '{1,2}',
  '{}',
  '{a}',
  'a',
  'a.b',
  '1.2.840',
  '1-1',
  '1 m',
  '(0,0,1)',
  '<(0,0),1>',
  '((0,0),(1,1))',
  '{1:1,2:2}/3',
  '2020-01-01',
  '*.a = 1',
  'victims',
  '/a',
  '<a/>',
  '00000000-0000-0000-0000-000000000001',
  '\\x01',
  'BOX(0 0, 1 1)',
  '89283473fffffff',
  'a=>1',
  'v',
  '1/2',
  '101',
  '08:00:2b:01:02:03',
  // A raster of one pixel.
  '0100000100000000000000F03F000000000000F0BF0000000000000000000000000000' +
    '000000000000000000000000000000000000E610000001000100440001',
];

async function worked(client: pg.Client, sql: string): Promise<boolean> {
  try {
    await client.query(sql);
    return true;
  } catch {
    return false;
  }
}

/** Values of each type, asked of the server once. */
export class Samples {
  readonly #client: pg.Client;
  readonly #known = new Map<string, readonly string[]>();

  constructor(client: pg.Client) {
    this.#client = client;
  }

  async of(oid: string): Promise<readonly string[]> {
    let found = this.#known.get(oid);
    if (found === undefined) this.#known.set(oid, (found = await this.#find(oid)));
    return found;
  }

  async #find(oid: string): Promise<readonly string[]> {
    const { rows } = await this.#client.query<{ name: string; full: string; schema: string }>(
      `select typname as name, format_type(oid, null) as full, typnamespace::regnamespace as schema
       from pg_type where oid = $1::oid`,
      [oid],
    );
    const [type] = rows;
    if (type === undefined) return [];
    const known = type.schema === 'pg_catalog' ? KNOWN[type.name] : undefined;
    const isPseudo =
      /^"?any/.test(type.full) || ['record', 'cstring', 'unknown'].includes(type.full);
    if (known !== undefined)
      return isPseudo ? known : known.map((value) => `(${value})::${type.full}`);
    const values: string[] = [];
    const labels = await this.#client.query<{ label: string }>(
      'select enumlabel as label from pg_enum where enumtypid = $1::oid',
      [oid],
    );
    for (const literal of [...labels.rows.map((row) => row.label), ...LITERALS]) {
      const value = `'${literal}'::${type.full}`;
      if (values.length < 5 && (await worked(this.#client, `select ${value}`))) values.push(value);
    }
    if (values.length === 0 && (await worked(this.#client, `select null::${type.full}`)))
      values.push(`null::${type.full}`);
    return values;
  }
}

const FUNCTIONS = `
  select p.oid::text, format('%I.%I', n.nspname, p.proname) as label, p.prokind as kind,
    p.provolatile as volatility, l.lanname as language, p.probin as library, p.prosrc as symbol,
    array(select unnest(p.proargtypes)::text) as arguments,
    format_type(p.prorettype, null) as result, p.provariadic <> 0 as variadic
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang
  join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
  join pg_extension e on e.oid = d.refobjid and d.refclassid = 'pg_extension'::regclass
  where e.extname = $1 order by p.oid`;

export async function functionsOf(client: pg.Client, extension: string) {
  return (await client.query<ExtensionFunction>(FUNCTIONS, [extension])).rows;
}

/** Steady "random" numbers: a run can be repeated. */
function* picks(seed: number): Generator<number, never> {
  let state = (seed * 2654435761) >>> 0;
  for (;;) {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) >>> 0;
    yield state >>> 8;
  }
}

const NO_CALL = new Set([
  'trigger',
  'event_trigger',
  'internal',
  'fdw_handler',
  'index_am_handler',
]);

/** Statements that call the function; empty when SQL can't. */
export async function callsOf(
  { oid, label, kind, arguments: types, result, variadic }: ExtensionFunction,
  samples: Samples,
  most: number,
): Promise<readonly string[]> {
  if (result === 'trigger') return throughTrigger(label);
  if (NO_CALL.has(result)) return [];
  const values = await Promise.all(types.map((type) => samples.of(type)));
  if (values.some((list) => list.length === 0)) return [];
  const longest = Math.max(1, ...values.map((list) => list.length));
  const rounds = types.length < 2 ? longest : Math.min(most, longest * 3);
  const random = picks(Number(oid));
  const texts = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const args = values.map((list, index) => {
      const at = index === 0 ? round : random.next().value;
      return list[at % list.length] ?? 'null';
    });
    const last = args.pop();
    if (last !== undefined) args.push(variadic ? `variadic ${last}` : last);
    texts.add(statement(kind, `${label}(${args.join(', ')})`));
  }
  return [...texts];
}

function statement(kind: string, call: string): string {
  if (kind === 'p') return `call ${call}`;
  return call.includes('victims)') || call.includes('victims,')
    ? `select ${call} from victims`
    : `select ${call}`;
}

function throughTrigger(label: string): readonly string[] {
  const events = ['before insert or update or delete', 'after insert or update or delete'];
  const arguments_ = ['', `'id'`, `'note'`, `'id', 'note'`, `'traces', 'what'`];
  return events.flatMap((event) =>
    arguments_.map(
      (args) =>
        `create trigger tried ${event} on victims for each row execute function ${label}(${args});
         update victims set note = 'changed' where id = 3;
         insert into victims values (100, 'x', 'y'); delete from victims where id = 100`,
    ),
  );
}
