// Random statements over a small schema, from PostgreSQL's grammar: every kind that reads or
// changes rows. As tokens, so that one statement can be spelt in many ways.
// Invariant: the same dice give the same statement, and the server would parse every one of them.

/** Words and names fold in case; names may stand in quotes. */
export interface Token {
  readonly kind: 'word' | 'name' | 'number' | 'text' | 'sign';
  readonly text: string;
}
type Roll = (bound: number) => number;
type Tokens = readonly Token[];

export const SCHEMA = `
create table users (id int primary key, name text, email text unique, active bool not null);
create table orders (id int primary key, user_id int references users on delete cascade,
  total numeric default 0 check (total >= 0), status text, parent int references orders);
create table logs (what text, at timestamptz default now());
create table parts (id int, kind text) partition by list (kind);
create table parts_a partition of parts for values in ('a');
create view open_orders as select * from orders where status = 'open';
create function forget(n int) returns int language sql as
  $$ delete from logs where what = n::text returning 1 $$;
create function twice(n int) returns int language sql immutable as $$ select n * 2 $$;
create function noted() returns trigger language plpgsql as
  $$ begin insert into logs (what) values (tg_op); return new; end $$;
create trigger noted after update or delete on users for each row execute function noted();
`;

const COLUMNS: { readonly [table: string]: readonly string[] } = {
  users: ['id', 'name', 'email', 'active'],
  orders: ['id', 'user_id', 'total', 'status'],
  logs: ['what', 'at'],
  parts: ['id', 'kind'],
  open_orders: ['id', 'user_id', 'total', 'status'],
};
const TABLES = ['users', 'orders', 'logs', 'parts'];

const name = (text: string): Tokens => [{ kind: 'name', text }];
const word = (text: string): Token => ({
  kind: /^[a-z_]/.test(text) ? 'word' : /^\d/.test(text) ? 'number' : 'sign',
  text,
});

/** The words of the template are keywords and signs; what stands between them is put in. */
function sql(strings: TemplateStringsArray, ...parts: readonly (Tokens | string)[]): Tokens {
  return strings.flatMap((string, index) => {
    const part = parts[index] ?? [];
    const words = string.match(/[a-z_]+|\d+|[(),;*.]|[^\sa-z_\d(),;*.]+/g) ?? [];
    return [...words.map(word), ...(typeof part === 'string' ? name(part) : part)];
  });
}

function joined(items: readonly Tokens[], between: Tokens): Tokens {
  return items.flatMap((item, index) => (index === 0 ? item : [...between, ...item]));
}
const COMMA = sql`,`;

/** Some source of rows and what its columns are called. */
interface Source {
  readonly alias: string;
  readonly columns: readonly string[];
}

export class Random {
  readonly #roll: Roll;
  #names = 0;
  #depth = 0;

  constructor(roll: Roll) {
    this.#roll = roll;
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#roll(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  #some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: 1 + this.#roll(most) }, make);
  }

  #maybe(make: () => Tokens, chance = 3): Tokens {
    return this.#roll(chance) === 0 ? make() : [];
  }

  #fresh(): string {
    this.#names += 1;
    return `n${this.#names}`;
  }

  /** One statement of any kind. */
  statement(): Tokens {
    this.#names = 0;
    this.#depth = 0;
    return this.#pick([
      () => this.#query(),
      () => this.change(),
      () => this.#other(),
      () => sql`with ${this.#ctes()} ${this.#roll(2) === 0 ? this.change() : this.#select()}`,
    ])();
  }

  /** A statement that changes rows. */
  change(): Tokens {
    return this.#pick([
      () => this.#insert(),
      () => this.#update(),
      () => this.#delete(),
      () => this.#merge(),
      () => this.#update(),
      () => this.#delete(),
    ])();
  }

  #other(): Tokens {
    const table = this.#pick(TABLES);
    const made = this.#fresh();
    return this.#pick([
      () => sql`truncate ${table} ${this.#pick([sql``, sql`cascade`, sql`restart identity`])}`,
      () => sql`copy ${table} ${this.#pick([sql`to stdout`, sql`from stdin`])}`,
      () =>
        sql`copy ( ${this.#pick([() => this.#query(), () => this.#delete(true)])()} ) to stdout`,
      () => sql`create table ${made} as ${this.#query()}`,
      () => sql`create temp table ${made} as ${this.#query()}`,
      () => sql`explain ${this.#maybe(() => sql`analyze`, 2)} ${this.change()}`,
      () => sql`explain ( analyze , costs off ) ${this.#query()}`,
      () => sql`prepare ${made} as ${this.change()} ; execute ${made}`,
      () =>
        sql`begin ; declare ${made} cursor for ${this.#query()} ; fetch 2 from ${made} ; commit`,
      () => sql`lock table ${table} in share mode`,
      () => sql`begin ; ${this.change()} ; ${this.#pick([sql`commit`, sql`rollback`])}`,
      () => sql`${this.#query()} ; ${this.change()}`,
      () => sql`table ${table}`,
      () => sql`values ( ${this.#literal()} , ${this.#literal()} )`,
    ])();
  }

  #query(): Tokens {
    if (this.#depth > 3) return sql`select ${this.#number()}`;
    this.#depth += 1;
    const query = this.#pick([
      () => this.#select(),
      () => this.#select(),
      () => this.#select(),
      () => sql`( ${this.#one()} ) union all ( ${this.#one()} )`,
      () => sql`with ${this.#ctes()} ${this.#select()}`,
    ])();
    this.#depth -= 1;
    return query;
  }

  /** A query of one column. */
  #one(): Tokens {
    if (this.#depth > 3) return sql`select ${this.#number()}`;
    this.#depth += 1;
    const [from, sources] = this.#from();
    const query = sql`select ${this.#column(sources)} from ${from} ${this.#where(sources)}`;
    this.#depth -= 1;
    return query;
  }

  #select(): Tokens {
    const [from, sources] = this.#from();
    const column = this.#column(sources);
    const tail = this.#pick([
      () => sql``,
      () => sql`order by ${column} desc nulls last`,
      () => sql`limit ${this.#number()} offset ${this.#number()}`,
      () => sql`group by ${column} having count ( * ) > ${this.#number()}`,
    ])();
    const grouped = tail.some((token) => token.text === 'group');
    const list = grouped
      ? sql`${column} , count ( * )`
      : joined(
          this.#some(3, () => this.#expression(sources)),
          COMMA,
        );
    const lock = grouped ? sql`` : this.#maybe(() => sql`for update`, 8);
    return sql`select ${list} from ${from} ${this.#where(sources)} ${tail} ${lock}`;
  }

  #from(): readonly [Tokens, readonly Source[]] {
    const sources: Source[] = [];
    const items = this.#some(2, () => {
      const alias = this.#fresh();
      if (this.#roll(6) === 0) {
        sources.push({ alias, columns: ['c'] });
        return sql`( ${this.#one()} ) as ${alias} ( ${name('c')} )`;
      }
      const table = this.#pick(Object.keys(COLUMNS));
      sources.push({ alias, columns: COLUMNS[table] ?? [] });
      return sql`${this.#named(table)} as ${alias}`;
    });
    const first = items[0] ?? [];
    if (items.length < 2 || this.#roll(2) === 0) return [joined(items, COMMA), sources];
    const on = this.#condition(sources);
    return [sql`${first} left join ${items[1] ?? []} on ${on}`, sources];
  }

  /** A table, with its schema or without. */
  #named(table: string): Tokens {
    return this.#roll(4) === 0 ? sql`${'public'} . ${table}` : name(table);
  }

  #ctes(): Tokens {
    const cte = () => {
      const [made, inner] = [this.#fresh(), this.#roll(3) === 0 ? this.#delete(true) : this.#one()];
      return sql`${made} as ( ${inner} )`;
    };
    return joined(this.#some(2, cte), COMMA);
  }

  #where(sources: readonly Source[]): Tokens {
    return this.#maybe(() => sql`where ${this.#condition(sources)}`, 2);
  }

  #column(sources: readonly Source[]): Tokens {
    const { alias, columns } = this.#pick(sources);
    return sql`${alias} . ${this.#pick(columns)}`;
  }

  #number(): Tokens {
    return [{ kind: 'number', text: this.#pick(['0', '1', '2', '7', '42', '1000']) }];
  }

  #literal(): Tokens {
    if (this.#roll(2) === 0) return this.#number();
    return [{ kind: 'text', text: this.#pick(["'a'", "'open'", "''", "'t'", "'it''s'"]) }];
  }

  #expression(sources: readonly Source[]): Tokens {
    if (this.#depth > 3) return this.#literal();
    this.#depth += 1;
    const inner = () => this.#expression(sources);
    const made = this.#pick([
      () => this.#column(sources),
      () => this.#column(sources),
      () => this.#literal(),
      () => sql`${inner()} + ${this.#number()}`,
      () => sql`coalesce ( ${inner()} , ${this.#literal()} )`,
      () => sql`case when ${this.#condition(sources)} then ${inner()} else null end`,
      () => sql`( ${this.#one()} limit 1 )`,
      () => sql`lower ( ${inner()} :: text )`,
      () => sql`${'twice'} ( ${this.#number()} )`,
      () => (this.#roll(4) === 0 ? sql`${'forget'} ( ${this.#number()} )` : sql`now ( )`),
      () => sql`array [ ${this.#number()} , ${this.#number()} ]`,
    ])();
    this.#depth -= 1;
    return made;
  }

  #condition(sources: readonly Source[]): Tokens {
    const column = this.#column(sources);
    if (this.#depth > 3) return sql`${column} = ${this.#literal()}`;
    this.#depth += 1;
    const inner = () => this.#condition(sources);
    const made = this.#pick([
      () => sql`${column} = ${this.#literal()}`,
      () => sql`${column} = ${this.#literal()}`,
      () => sql`${column} ${this.#pick([sql`<`, sql`>=`, sql`<>`])} ${this.#literal()}`,
      () => sql`${column} in ( ${this.#literal()} , ${this.#literal()} )`,
      () => sql`${column} in ( ${this.#one()} )`,
      () => sql`exists ( ${this.#one()} )`,
      () => sql`${column} is ${this.#maybe(() => sql`not`)} null`,
      () => sql`${column} between ${this.#number()} and ${this.#number()}`,
      () => sql`${column} like ${this.#literal()}`,
      () => sql`${column} = ${this.#column(sources)}`,
      () => sql`( ${inner()} and ${inner()} )`,
      () => sql`( ${inner()} or ${inner()} )`,
      () => sql`not ( ${inner()} )`,
      () => this.#pick([sql`true`, sql`1 = 1`, sql`false`]),
    ])();
    this.#depth -= 1;
    return made;
  }

  #returning(table: string): Tokens {
    return this.#maybe(() => sql`returning ${this.#pick(COLUMNS[table] ?? [])}`);
  }

  #insert(): Tokens {
    const table = this.#pick(['users', 'orders', 'logs', 'parts', 'open_orders']);
    const columns = COLUMNS[table] ?? [];
    const column = this.#pick(columns);
    const into = sql`insert into ${this.#named(table)}`;
    const conflict =
      table === 'users' || table === 'orders'
        ? this.#maybe(() =>
            this.#pick([
              sql`on conflict do nothing`,
              sql`on conflict ( ${'id'} ) do update set ${column} = excluded . ${column}`,
            ]),
          )
        : [];
    const rows = this.#pick([
      () =>
        sql`( ${column} ) values ${joined(
          this.#some(3, () => sql`( ${this.#literal()} )`),
          COMMA,
        )}`,
      () => sql`( ${column} ) ${this.#one()}`,
      () => sql`default values`,
    ])();
    return sql`${into} ${rows} ${conflict} ${this.#returning(table)}`;
  }

  #update(): Tokens {
    const table = this.#pick(Object.keys(COLUMNS));
    const target = { alias: this.#fresh(), columns: COLUMNS[table] ?? [] };
    const [from, sources] = this.#roll(3) === 0 ? this.#from() : [[], []];
    const all = [target, ...sources];
    const set = sql`set ${this.#pick(target.columns)} = ${this.#expression(all)}`;
    const other = from.length === 0 ? [] : sql`from ${from}`;
    return sql`update ${this.#named(table)} as ${target.alias} ${set} ${other} ${this.#where(all)}`;
  }

  #delete(returning = false): Tokens {
    const table = this.#pick(Object.keys(COLUMNS));
    const target = { alias: this.#fresh(), columns: COLUMNS[table] ?? [] };
    const [from, sources] = this.#roll(4) === 0 ? this.#from() : [[], []];
    const using = from.length === 0 ? [] : sql`using ${from}`;
    const where = this.#where([target, ...sources]);
    const back = returning ? sql`returning ${target.alias} . ${this.#pick(target.columns)}` : sql``;
    return sql`delete from ${this.#named(table)} as ${target.alias} ${using} ${where} ${back}`;
  }

  #merge(): Tokens {
    const table = this.#pick(['users', 'orders']);
    const target = { alias: this.#fresh(), columns: COLUMNS[table] ?? [] };
    const source = { alias: this.#fresh(), columns: COLUMNS.users ?? [] };
    const on = this.#condition([target, source]);
    const column = this.#pick(target.columns);
    const action = this.#pick([
      () => sql`when matched then delete`,
      () => sql`when matched then update set ${column} = ${this.#literal()}`,
      () => sql`when not matched then insert ( ${column} ) values ( ${this.#literal()} )`,
      () => sql`when matched and ${on} then do nothing`,
    ]);
    const using = sql`using ${'users'} as ${source.alias} on ${on}`;
    return sql`merge into ${table} as ${target.alias} ${using} ${action()}`;
  }
}

/** As it is written down plainly. */
export function plain(tokens: Tokens): string {
  return tokens.map((token) => token.text).join(' ');
}

const GAPS = [' ', '\n', '\t ', ' /* ; drop table users; */ ', " -- it's\n", '/**/'];

/** The same statement: case, quotes, white space and comments are others. */
export function respelt(tokens: Tokens, roll: Roll): string {
  const spelt = ({ kind, text }: Token): string => {
    if (kind === 'text') {
      const value = text.slice(1, -1).replaceAll("''", "'");
      return [text, `$q$${value}$q$`, `E${text}`][roll(3)] ?? text;
    }
    if (kind === 'name' && roll(3) === 0) return `"${text}"`;
    if (kind !== 'name' && kind !== 'word') return text;
    return [...text].map((c) => (roll(2) === 0 ? c.toUpperCase() : c)).join('');
  };
  return tokens.map((token) => spelt(token) + (GAPS[roll(GAPS.length)] ?? ' ')).join('');
}

/** The same shape: literals are others. */
export function relabelled(tokens: Tokens, roll: Roll): string {
  const texts = ["'f'", "'b'", "'users'", "'1'"];
  const other = ({ kind, text }: Token): string =>
    kind === 'number'
      ? String(roll(3))
      : kind === 'text'
        ? (texts[roll(texts.length)] ?? text)
        : text;
  return tokens.map(other).join(' ');
}
