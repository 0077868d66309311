// The store's smaller rooms on both databases: who comes first, what is once, what comes in order.
// Invariant: two that ask at the same moment never both get it.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openStore, type Store } from '../../approver/store.ts';
import { holdRequestOf } from '../../proxy/hold/request.ts';
import { held, operation, storePlaces } from '../setup/holds.ts';

for (const { name, skip, place, close } of storePlaces())
  describe(`the store's rooms (${name})`, { skip }, () => {
    let folder: string;
    let store: Store;
    /** Another replica's. */
    let other: Store;
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'holdpoint-store-'));
      const where = (await place()) ?? join(folder, 'approver.db');
      store = await openStore(where);
      other = await openStore(where);
    });
    after(async () => {
      await other.close();
      await store.close();
      await rm(folder, { recursive: true, force: true });
      await close();
    });
    const both = <T>(work: (s: Store) => Promise<T>) =>
      Promise.all([work(store), work(other), work(store), work(other)]);
    const count = <T>(all: readonly T[], wanted: T) => all.filter((a) => a === wanted).length;

    it('an answer is begun by one, kept for its time, and may be begun again', async () => {
      const times = { now: 1000, lease: 100, until: 5000 };
      const begin =
        (request: string, now = 1000) =>
        (s: Store) =>
          s.answers.begin('k', request, { ...times, now, until: now + 4000 }).then((b) => b.kind);
      const first = await both(begin('r'));
      assert.deepEqual([count(first, 'mine'), count(first, 'busy')], [1, 3]);
      assert.equal(await begin('other')(store), 'other');
      assert.equal(await begin('r', 1050)(store), 'busy');
      // Whoever began it is gone.
      const taken = await both(begin('r', 1200));
      assert.deepEqual([count(taken, 'mine'), count(taken, 'busy')], [1, 3]);
      await store.answers.keep('k', { status: 201, body: 'sealed' });
      assert.deepEqual(await other.answers.begin('k', 'r', { ...times, now: 4000 }), {
        kind: 'done',
        status: 201,
        body: 'sealed',
      });
      await store.answers.drop('k');
      assert.equal(await begin('r', 4000)(store), 'done', 'what was done was dropped');
      assert.equal(count(await both(begin('other', 6000)), 'mine'), 1, 'after its time it is free');
      await store.answers.forget(20_000);
      assert.deepEqual(await store.db.all('SELECT * FROM answers'), []);
    });

    it('a stage is reached once; the right holds come to it', async () => {
      const ask = async (asked: number, expires: number) => {
        const op = operation({
          statement: `DELETE FROM t${asked}`,
          asked: new Date(0).toISOString(),
        });
        const request = holdRequestOf(op, held());
        await store.holds.insert(request, { asked, expires });
        return request.id;
      };
      const [a, b] = [await ask(1000, 2000), await ask(1100, 9000)];
      const ids = (all: readonly { readonly id: string }[]) => all.map((h) => h.id);
      assert.deepEqual(ids(await store.stages.ending('end', 1500, 600, 10)), [a]);
      assert.deepEqual(ids(await store.stages.ending('end', 1400, 600, 10)), [], 'half is left');
      assert.deepEqual(ids(await store.stages.ending('end', 2000, 600, 10)), [], 'it is over');
      assert.deepEqual(ids(await store.stages.askedBy('x', 1100, 10)), [a, b]);
      assert.equal(count(await both((s) => s.stages.reach(a, 'x')), true), 1);
      assert.deepEqual(ids(await store.stages.askedBy('x', 1100, 10)), [b]);
      await store.stages.reach(a, 'end');
      assert.deepEqual(ids(await other.stages.ending('end', 1500, 600, 10)), []);
    });

    it('an account goes to one of those who ask for it', async () => {
      for (const person of ['Ann', 'Bob']) await store.signers.put(person, {}, 0);
      const link = (person: string, s: Store) =>
        s.signers.link(person, 'slack:U1').then(
          () => person,
          () => null,
        );
      const got = await Promise.all([link('Ann', store), link('Bob', other), link('Bob', store)]);
      const owner = (await store.signers.byIdentity('slack:U1'))?.name;
      assert.ok(owner);
      assert.ok(got.every((who) => who === null || who === owner));
      const linked = (await other.signers.list()).flatMap((s) => s.identities);
      assert.deepEqual(linked, ['slack:U1']);
      assert.equal(await other.signers.unlink(owner, 'slack:U1'), true);
    });

    it('acts come in their order, faults are told once and forgotten', async () => {
      const act = { kind: 'key revoked', thumbprint: 't' } as const;
      const [first, second] = [
        await store.acts.add(act, 'me', 1),
        await other.acts.add(act, 'me', 2),
      ];
      assert.deepEqual(
        (await store.acts.waiting(10)).map((a) => [a.id, a.act, a.who]),
        [
          [first, act, 'me'],
          [second, act, 'me'],
        ],
      );
      await store.acts.fail(first, 'no such key');
      assert.equal((await other.acts.get(first))?.fault, 'no such key');
      assert.deepEqual(
        (await store.acts.waiting(10)).map((a) => a.id),
        [second],
      );
      await store.acts.forget(2);
      assert.equal(await store.acts.get(first), null);
      await store.acts.remove(second);
      assert.deepEqual(await store.acts.waiting(10), []);
    });

    it('a message that is kept current is changed by one delivery after the other', async () => {
      const hook = { url: 'https://x', secrets: [], allowPrivate: false, active: true, created: 0 };
      for (const format of ['slack-app', 'standard'] as const) {
        await store.webhooks.put({ ...hook, name: format, events: ['*'], format });
        for (const [i, hold] of ['h1', 'h1', 'h2', null, null].entries()) {
          const id = `${format}${i}`;
          const what = { webhook: format, event: 'x', hold, body: '{}', created: i };
          await store.webhooks.enqueue({ id, ...what });
        }
      }
      const due = async (now: number) =>
        (await other.webhooks.due(now, 20)).map((d) => d.id).sort();
      const plain = [0, 1, 2, 3, 4].map((i) => `standard${i}`);
      assert.deepEqual(await due(10), [
        'slack-app0',
        'slack-app2',
        'slack-app3',
        'slack-app4',
        ...plain,
      ]);
      const [one] = (await store.webhooks.due(10, 20)).filter((d) => d.id === 'slack-app0');
      assert.ok(one);
      assert.equal(count(await both((s) => s.webhooks.take(one, 1000)), true), 1);
      assert.ok(!(await due(10)).includes('slack-app1'), 'it overtook one under way');
      const end = { attempts: 1, due: 10, status: 200, error: null };
      await store.webhooks.finish('slack-app0', { ...end, state: 'done' });
      assert.ok((await due(10)).includes('slack-app1'));
      const at = { conversation: 'C1', message: '1.1' };
      await store.integrations.keepMessage('slack-app', 'h1', { ...at, message: '1.0' });
      await other.integrations.keepMessage('slack-app', 'h1', at);
      assert.deepEqual(await store.integrations.messageOf('slack-app', 'h1'), at);
      await store.webhooks.remove('slack-app');
      assert.equal(await store.integrations.messageOf('slack-app', 'h1'), null);
    });

    it('a request that came in is taken by one replica', async () => {
      const kept = { kind: 'inbound', signer: null, detail: '', created: 0, expires: 10 } as const;
      assert.equal(count(await both((s) => s.signers.keepSecret('v0=abc', kept)), true), 1);
    });
  });
