// Drizzle: migrations made by drizzle-kit and run by drizzle-orm, then queries; and the schema read
// back.
// Invariant: an ORM's own migration table and transactions work as on the server itself.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import { integer, pgTable, serial, text } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { routes } from '../setup/routes.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const KIT = join(ROOT, 'node_modules', 'drizzle-kit', 'bin.cjs');
const run = promisify(execFile);

const users = pgTable('users', { id: serial().primaryKey(), name: text().notNull() });
const posts = pgTable('posts', {
  id: serial().primaryKey(),
  author: integer()
    .notNull()
    .references(() => users.id, { onDelete: 'cascade' }),
  title: text().notNull(),
});

const SCHEMA = `
import { index, integer, pgTable, serial, text } from 'drizzle-orm/pg-core';
export const users = pgTable('users', { id: serial().primaryKey(), name: text().notNull() });
export const posts = pgTable('posts', {
  id: serial().primaryKey(),
  author: integer().notNull().references(() => users.id, { onDelete: 'cascade' }),
  title: text().notNull(),
}, (t) => [index('posts_author').on(t.author)]);
`;

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdpoint-drizzle-'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'schema.ts'), SCHEMA);
  const options = ['--dialect', 'postgresql', '--schema', './schema.ts', '--out', './out'];
  await run(process.execPath, [KIT, 'generate', ...options], { cwd: folder });
});
after(() => rm(folder, { recursive: true, force: true }));

for (const route of routes()) {
  describe(`Drizzle to ${route.name}`, { skip: route.skip }, () => {
    test('migrates, once, and queries what it made', async () => {
      const door = await route.open();
      const pool = new pg.Pool({ connectionString: door.url, max: 2 });
      try {
        const db = drizzle(pool);
        await migrate(db, { migrationsFolder: join(folder, 'out') });
        await migrate(db, { migrationsFolder: join(folder, 'out') });
        const made = await db
          .insert(users)
          .values([{ name: 'ann' }, { name: 'bob' }])
          .returning();
        assert.deepEqual(
          made.map((user) => user.name),
          ['ann', 'bob'],
        );
        await db.transaction(async (tx) => {
          await tx.insert(posts).values({ author: 1, title: 'first' });
          await tx.update(users).set({ name: 'anna' }).where(eq(users.id, 1));
        });
        const joined = await db
          .select({ name: users.name, title: posts.title })
          .from(posts)
          .innerJoin(users, eq(users.id, posts.author));
        assert.deepEqual(joined, [{ name: 'anna', title: 'first' }]);
        await assert.rejects(
          db.transaction(async (tx) => {
            await tx.delete(users);
            tx.rollback();
          }),
        );
        const { rows } = await db.execute(sql`select count(*)::int as n from users`);
        assert.deepEqual(rows, [{ n: 2 }]);
      } finally {
        await pool.end();
      }
    });

    test('reads the schema back with drizzle-kit pull', async () => {
      const [migration] = (await readdir(join(folder, 'out'))).filter((f) => f.endsWith('.sql'));
      const made = await readFile(join(folder, 'out', migration ?? ''), 'utf8');
      const door = await route.open(made);
      const out = join(folder, `pulled-${route.version}-${route.guarded}`);
      await mkdir(out);
      const options = ['--dialect', 'postgresql', '--url', door.url, '--out', out];
      await run(process.execPath, [KIT, 'pull', ...options], { cwd: folder });
      const pulled = await readFile(join(out, 'schema.ts'), 'utf8');
      for (const seen of ['users', 'posts', 'posts_author', 'onDelete("cascade")']) {
        assert.ok(pulled.includes(seen), `no ${seen} in\n${pulled}`);
      }
    });
  });
}
