// Named people, their keys, their sessions and one-time secrets at rest.
// Invariant: one key belongs to one person, one name to one person, and no secret is stored but as
// a hash.
import { createHash } from 'node:crypto';
import { ApproverError } from '../errors.ts';
import type { Delegation } from '../routing.ts';
import { type Db, integer, integerOrNull, one, type Row, strings, text, textOrNull } from './db.ts';

export const ROLES = ['signer', 'operator', 'auditor'] as const;
export type Role = (typeof ROLES)[number];

export interface Signer {
  readonly name: string;
  readonly groups: readonly string[];
  readonly roles: readonly Role[];
  /** Other names of the same person: mail addresses, OIDC subjects, Slack ids. */
  readonly identities: readonly string[];
  readonly active: boolean;
}

export interface SignerKey {
  readonly thumbprint: string;
  readonly signer: string;
  readonly method: 'ed25519' | 'passkey';
  readonly jwk: { readonly [name: string]: string };
  /** A passkey's credential id (base64url). */
  readonly credential: string | null;
  /**
   * A passkey's public key as the authenticator gave it (base64url COSE) and its transports, as
   * JSON.
   */
  readonly detail: string;
  readonly counter: number;
  readonly label: string;
  readonly created: number;
  readonly revoked: number | null;
}

export type SecretKind = 'session' | 'invite' | 'challenge' | 'oidc' | 'call' | 'inbound';
export interface Secret {
  readonly kind: SecretKind;
  readonly signer: string | null;
  readonly detail: string;
  readonly created: number;
  readonly expires: number;
}

/**
 * Two names that fold to the same are one person's: case, width and look-alike spaces do not make
 * two people.
 */
export function foldName(name: string): string {
  return name.normalize('NFKC').toLowerCase().replaceAll(/\s+/g, ' ').trim();
}

export class SignerStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async list(): Promise<readonly Signer[]> {
    return (await this.#db.all('SELECT * FROM signers ORDER BY name')).map(toSigner);
  }

  async get(name: string): Promise<Signer | null> {
    const row = await one(this.#db, 'SELECT * FROM signers WHERE folded = ?', foldName(name));
    return row && toSigner(row);
  }

  async byIdentity(identity: string): Promise<Signer | null> {
    const folded = foldName(identity);
    const all = await this.list();
    return all.find((s) => s.identities.some((i) => foldName(i) === folded)) ?? null;
  }

  /** Adds the person, or gives the one there these groups, roles and identities besides. */
  async put(
    name: string,
    add: {
      readonly groups?: readonly string[];
      readonly roles?: readonly Role[];
      readonly identities?: readonly string[];
    },
    now: number,
  ): Promise<Signer> {
    this.checkName(name);
    return await this.#db.transaction(async (tx) => {
      const row = await one(tx, 'SELECT * FROM signers WHERE folded = ?', foldName(name));
      const old = row && toSigner(row);
      for (const identity of add.identities ?? []) {
        const owner = await new SignerStore(tx).byIdentity(identity);
        if (owner && owner.name !== old?.name) {
          throw new ApproverError('conflict', `${identity} is already a name of ${owner.name}`);
        }
      }
      const signer: Signer = {
        name: old?.name ?? name.trim(),
        groups: union(old?.groups, add.groups),
        roles: union(old?.roles, add.roles ?? ['signer']),
        identities: union(old?.identities, add.identities),
        active: true,
      };
      await tx.run(
        `INSERT INTO signers (name, folded, groups, roles, identities, active, created)
         VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT (name) DO UPDATE
         SET groups = excluded.groups, roles = excluded.roles, identities = excluded.identities,
             active = 1`,
        signer.name,
        foldName(name),
        JSON.stringify(signer.groups),
        JSON.stringify(signer.roles),
        JSON.stringify(signer.identities),
        now,
      );
      return signer;
    });
  }

  /** Throws when nobody could be called so. */
  checkName(name: string): void {
    const folded = foldName(name);
    if (
      folded.length >= 1 &&
      name.length <= 100 &&
      /^[\p{L}\p{N}][\p{L}\p{M}\p{N} .@_+'-]*$/u.test(name)
    )
      return;
    throw new ApproverError(
      'bad-request',
      "a signer's name has 1 to 100 letters, digits, blanks, . @ _ + ' -, and begins with no sign",
    );
  }

  /** An account of theirs on a channel (`slack:U123`); it belongs to one person. */
  async link(name: string, account: string): Promise<void> {
    await this.#db.transaction(async (tx) => {
      // Two that are linked at the same time take turns.
      if (tx.dialect === 'postgres') await tx.all('SELECT pg_advisory_xact_lock(7426838)');
      const people = new SignerStore(tx);
      const person = await people.get(name);
      if (!person) throw new ApproverError('not-found', `there is no signer ${name}`);
      const owner = await people.byIdentity(account);
      if (owner && owner.name !== person.name) {
        throw new ApproverError(
          'conflict',
          `${account} is linked to ${owner.name}: unlink it first`,
        );
      }
      if (!owner) await people.#identities(person.name, [...person.identities, account]);
    });
  }

  /** false when they have no such account. */
  async unlink(name: string, account: string): Promise<boolean> {
    return await this.#db.transaction(async (tx) => {
      const people = new SignerStore(tx);
      const person = await people.get(name);
      const others = person?.identities.filter((i) => foldName(i) !== foldName(account)) ?? [];
      if (!person || others.length === person.identities.length) return false;
      await people.#identities(person.name, others);
      return true;
    });
  }

  async #identities(name: string, identities: readonly string[]): Promise<void> {
    const sql = 'UPDATE signers SET identities = ? WHERE name = ?';
    await this.#db.run(sql, JSON.stringify(identities), name);
  }

  /** Exactly these groups and roles; false when there is no such person. */
  async set(name: string, signer: Pick<Signer, 'groups' | 'roles' | 'active'>): Promise<boolean> {
    const sql = 'UPDATE signers SET groups = ?, roles = ?, active = ? WHERE name = ?';
    const groups = JSON.stringify(signer.groups);
    const roles = JSON.stringify(signer.roles);
    return (await this.#db.run(sql, groups, roles, Number(signer.active), name)) === 1;
  }

  async addKey(key: Omit<SignerKey, 'revoked'>): Promise<void> {
    const added = await this.#db.run(
      `INSERT INTO signer_keys (thumbprint, signer, method, jwk, credential, detail, counter, label,
         created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      key.thumbprint,
      key.signer,
      key.method,
      JSON.stringify(key.jwk),
      key.credential,
      key.detail,
      key.counter,
      key.label,
      key.created,
    );
    if (added === 1) return;
    const there = await this.key(key.thumbprint);
    if (there?.signer === key.signer && there.revoked === null) return;
    throw new ApproverError(
      'conflict',
      'this key is already registered, for somebody else or as a revoked one: make a new key',
    );
  }

  async key(thumbprint: string): Promise<SignerKey | null> {
    const row = await one(this.#db, 'SELECT * FROM signer_keys WHERE thumbprint = ?', thumbprint);
    return row && toKey(row);
  }

  async keyByCredential(credential: string): Promise<SignerKey | null> {
    const sql = 'SELECT * FROM signer_keys WHERE credential = ?';
    const row = await one(this.#db, sql, credential);
    return row && toKey(row);
  }

  async keys(signer: string): Promise<readonly SignerKey[]> {
    const sql = 'SELECT * FROM signer_keys WHERE signer = ? ORDER BY created';
    return (await this.#db.all(sql, signer)).map(toKey);
  }

  async revokeKey(thumbprint: string, now: number): Promise<boolean> {
    const sql = 'UPDATE signer_keys SET revoked = ? WHERE thumbprint = ? AND revoked IS NULL';
    return (await this.#db.run(sql, now, thumbprint)) === 1;
  }

  /**
   * A passkey's counter only grows; a copy shows itself by one that does not. false: it did not.
   * The next write takes it to the disk: nobody waits for that.
   */
  async raiseCounter(thumbprint: string, to: number): Promise<boolean> {
    const sql = 'UPDATE signer_keys SET counter = ? WHERE thumbprint = ? AND counter < ?';
    const { result } = await this.#db.commit((tx) => tx.run(sql, to, thumbprint, to));
    return result === 1;
  }

  async keepSecret(secret: string, kept: Secret): Promise<boolean> {
    const { result, durable } = await this.#db.commit((tx) =>
      tx.run(
        `INSERT INTO secrets (hash, kind, signer, detail, created, expires)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
        hashOf(kept.kind, secret),
        kept.kind,
        kept.signer,
        kept.detail,
        kept.created,
        kept.expires,
      ),
    );
    // A call's token lives a minute, and a decision sent twice is one: no disk is waited for.
    if (kept.kind !== 'call') await durable;
    return result === 1;
  }

  /** An invitation whose token somebody else has. */
  async keepInvite(hash: string, signer: string, now: number, expires: number): Promise<void> {
    await this.#db.run(
      `INSERT INTO secrets (hash, kind, signer, detail, created, expires)
       VALUES (?, 'invite', ?, '', ?, ?) ON CONFLICT DO NOTHING`,
      hash,
      signer,
      now,
      expires,
    );
  }

  async secret(kind: SecretKind, secret: string, now: number): Promise<Secret | null> {
    const sql = 'SELECT * FROM secrets WHERE hash = ? AND expires > ?';
    const row = await one(this.#db, sql, hashOf(kind, secret), now);
    return row && toSecret(row, kind);
  }

  /** Takes a one-time secret: whoever deletes it has it, a second one finds nothing. */
  async takeSecret(kind: SecretKind, secret: string, now: number): Promise<Secret | null> {
    const found = await this.secret(kind, secret, now);
    if (!found) return null;
    const sql = 'DELETE FROM secrets WHERE hash = ?';
    return (await this.#db.run(sql, hashOf(kind, secret))) === 1 ? found : null;
  }

  async updateSecret(kind: SecretKind, secret: string, detail: string): Promise<void> {
    const sql = 'UPDATE secrets SET detail = ? WHERE hash = ?';
    await this.#db.run(sql, detail, hashOf(kind, secret));
  }

  async dropSessions(signer: string): Promise<void> {
    await this.#db.run(`DELETE FROM secrets WHERE signer = ? AND kind = 'session'`, signer);
  }

  async dropExpired(now: number): Promise<void> {
    await this.#db.run('DELETE FROM secrets WHERE expires <= ?', now);
  }

  async delegations(now: number): Promise<readonly Delegation[]> {
    const rows = await this.#db.all('SELECT * FROM delegations WHERE ends > ?', now);
    return rows.map((r) => ({
      id: text(r, 'id'),
      from: text(r, 'lender'),
      to: text(r, 'borrower'),
      until: integer(r, 'ends'),
    }));
  }

  async delegate(d: Delegation): Promise<void> {
    const sql = 'INSERT INTO delegations (id, lender, borrower, ends) VALUES (?, ?, ?, ?)';
    await this.#db.run(sql, d.id, d.from, d.to, d.until);
  }

  async undelegate(id: string, lender: string): Promise<boolean> {
    const sql = 'DELETE FROM delegations WHERE id = ? AND lender = ?';
    return (await this.#db.run(sql, id, lender)) === 1;
  }

  async addApproverKey(kid: string, jwk: string, now: number): Promise<void> {
    const sql =
      'INSERT INTO approver_keys (kid, jwk, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING';
    await this.#db.run(sql, kid, jwk, now);
  }

  /** One of the approvers' own public keys. */
  async approverKey(kid: string): Promise<SignerKey['jwk'] | null> {
    const row = await one(this.#db, 'SELECT jwk FROM approver_keys WHERE kid = ?', kid);
    if (!row) return null;
    const { kty, crv, x } = JSON.parse(text(row, 'jwk')) as { [name: string]: string };
    return { kty: kty ?? '', crv: crv ?? '', x: x ?? '' };
  }

  async approverKeys(): Promise<readonly string[]> {
    const rows = await this.#db.all('SELECT jwk FROM approver_keys ORDER BY created');
    return rows.map((r) => text(r, 'jwk'));
  }
}

export function hashOf(kind: SecretKind, secret: string): string {
  return createHash('sha256').update(`${kind}\n${secret}`).digest('base64url');
}

function union<T extends string>(a: readonly T[] = [], b: readonly T[] = []): readonly T[] {
  return [...new Set([...a, ...b])];
}

function toSigner(row: Row): Signer {
  return {
    name: text(row, 'name'),
    groups: strings(row, 'groups'),
    roles: strings(row, 'roles').filter((r): r is Role => ROLES.some((known) => known === r)),
    identities: strings(row, 'identities'),
    active: integer(row, 'active') === 1,
  };
}

function toKey(row: Row): SignerKey {
  return {
    thumbprint: text(row, 'thumbprint'),
    signer: text(row, 'signer'),
    method: text(row, 'method') === 'passkey' ? 'passkey' : 'ed25519',
    jwk: JSON.parse(text(row, 'jwk')) as SignerKey['jwk'],
    credential: textOrNull(row, 'credential'),
    detail: text(row, 'detail'),
    counter: integer(row, 'counter'),
    label: text(row, 'label'),
    created: integer(row, 'created'),
    revoked: integerOrNull(row, 'revoked'),
  };
}

function toSecret(row: Row, kind: SecretKind): Secret {
  return {
    kind,
    signer: textOrNull(row, 'signer'),
    detail: text(row, 'detail'),
    created: integer(row, 'created'),
    expires: integer(row, 'expires'),
  };
}
