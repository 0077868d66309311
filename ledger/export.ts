// Export: entries as JSON lines, CSV or OCSF events for other people's systems.
// Invariant: every line names its index, so that it can be proven against the log; a cell can't
// become a formula.
import type { Logged } from './canonical.ts';

export const FORMATS = ['jsonl', 'csv', 'ocsf'] as const;
export type ExportFormat = (typeof FORMATS)[number];

const CSV_COLUMNS = [
  'index',
  'time',
  'kind',
  'by',
  'operation',
  'hold',
  'session',
  'agent',
  'target',
  'environment',
  'engine',
  'database',
  'class',
  'verdict',
  'rule',
  'disposition',
  'normalized',
  'rows',
  'outcome',
  'signer',
  'detail',
] as const;

type Row = { readonly [C in (typeof CSV_COLUMNS)[number]]?: string | number | boolean | null };

/** RFC 4180; text that a spreadsheet would run is made text. */
function cell(value: string | number | boolean | null | undefined): string {
  if (value === null || value === undefined) return '';
  const text = String(value);
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** What a kind tells beside the columns that entries share by name. */
function row(index: number, entry: Logged): Row {
  const any: { readonly [name: string]: unknown } = { ...entry };
  const shared: { [name: string]: string | number | boolean | null } = { index };
  for (const name of CSV_COLUMNS) {
    const value = any[name];
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      shared[name] = value;
  }
  switch (entry.kind) {
    case 'decision':
      return {
        ...shared,
        verdict: entry.verdict.kind,
        rule: entry.verdict.rule,
        normalized: entry.statement.normalized,
        detail: entry.verdict.reason,
      };
    case 'reads':
      return { ...shared, rows: null, detail: `${entry.count} reads until ${entry.last}` };
    case 'outcome':
      return { ...shared, detail: entry.answer };
    case 'signature':
      return { ...shared, detail: `${entry.decision} by ${entry.method}` };
    case 'hold':
      return { ...shared, detail: entry.state };
    case 'mode':
      return {
        ...shared,
        signer: entry.who,
        detail: `${entry.scope} ${entry.name ?? ''} ${entry.mode}`,
      };
    case 'policy':
      return { ...shared, detail: `${entry.digest} ${entry.accepted ? 'accepted' : 'rejected'}` };
    case 'drill':
      return {
        ...shared,
        detail: `${entry.name}: ${entry.passed ? 'passed' : 'FAILED'} ${entry.detail}`,
      };
    case 'administration':
      return { ...shared, signer: entry.who, detail: `${entry.act} ${entry.what}` };
  }
}

const OCSF_VERSION = '1.3.0';
type Pair = readonly [id: number, name: string];

/** OCSF activity of Datastore Activity (class 6005) by what an operation would do. */
const ACTIVITY: { readonly [verb: string]: Pair } = {
  select: [4, 'Query'],
  update: [2, 'Update'],
  merge: [2, 'Update'],
  insert: [5, 'Write'],
  copy: [5, 'Write'],
  create: [6, 'Create'],
  delete: [7, 'Delete'],
  truncate: [7, 'Delete'],
  drop: [7, 'Delete'],
};
const OTHER: Pair = [99, 'Other'];
const SEVERITY: { readonly [c: string]: Pair } = {
  read: [1, 'Informational'],
  session: [1, 'Informational'],
  write: [2, 'Low'],
  ddl: [3, 'Medium'],
  destructive: [4, 'High'],
  admin: [4, 'High'],
  unknown: [5, 'Critical'],
};
const DISPOSITION: { readonly [d: string]: Pair } = {
  forward: [1, 'Allowed'],
  redeemed: [1, 'Allowed'],
  refuse: [2, 'Blocked'],
  hold: [99, 'Held'],
  observed: [15, 'Detected'],
};

type About = Extract<Logged, { target: string }>;

/** What OCSF wants of an operation on a database. */
function datastore(entry: About): object {
  const decided = entry.kind === 'decision' ? entry : null;
  const [disposition_id, disposition] = DISPOSITION[decided?.disposition ?? ''] ?? [0, 'Unknown'];
  const { agent, session, target, database, engine } = entry;
  const type =
    engine === 'mongodb' ? { type: 'NoSQL', type_id: 6 } : { type: 'Relational', type_id: 1 };
  const query = decided === null ? null : (decided.statement.text ?? decided.statement.normalized);
  return {
    actor: { user: { name: agent, type: 'Agent', type_id: 99 }, session: { uid: session } },
    src_endpoint: { name: agent },
    dst_endpoint: { name: target },
    database: { name: database, ...type },
    disposition_id,
    disposition,
    ...(query === null ? {} : { query_info: { query_string: query, uid: decided?.operation } }),
  };
}

function activityOf(entry: Logged): Pair {
  if (entry.kind === 'reads') return [4, 'Query'];
  return (entry.kind === 'decision' ? ACTIVITY[entry.effects[0]?.verb ?? ''] : undefined) ?? OTHER;
}

/**
 * An operation as OCSF Datastore Activity; anything about Holdpoint itself as API Activity (class
 * 6003).
 */
function ocsf(index: number, entry: Logged, log: string): object {
  const about = 'target' in entry ? entry : null;
  const [activity_id, activity_name] = activityOf(entry);
  const class_uid = about === null ? 6003 : 6005;
  const [severity_id, severity] = ('class' in entry ? SEVERITY[entry.class] : undefined) ?? [
    1,
    'Informational',
  ];
  const refused = entry.kind === 'decision' && entry.disposition === 'refuse';
  const failed = refused || (entry.kind === 'outcome' && entry.outcome !== 'done');
  const product = { name: 'Holdpoint', vendor_name: 'Holdpoint' };
  const profiles = ['security_control'];
  const own = {
    api: { operation: entry.kind },
    actor: { user: { name: entry.by } },
    src_endpoint: { name: entry.by },
  };
  return {
    metadata: {
      version: OCSF_VERSION,
      product,
      profiles,
      uid: `${log}/${index}`,
      log_name: log,
      sequence: index,
    },
    time: Date.parse(entry.time),
    category_uid: 6,
    category_name: 'Application Activity',
    class_uid,
    class_name: about === null ? 'API Activity' : 'Datastore Activity',
    activity_id,
    activity_name,
    type_uid: class_uid * 100 + activity_id,
    severity_id,
    severity,
    status_id: failed ? 2 : 1,
    status: failed ? 'Failure' : 'Success',
    ...(about === null ? own : datastore(about)),
    unmapped: entry,
  };
}

/** The file's first line, if it has one. */
export function exportHeader(format: ExportFormat): string | null {
  return format === 'csv' ? CSV_COLUMNS.join(',') : null;
}

export function exportLine(
  format: ExportFormat,
  index: number,
  entry: Logged,
  log: string,
): string {
  if (format === 'jsonl') return JSON.stringify({ index, ...entry });
  if (format === 'ocsf') return JSON.stringify(ocsf(index, entry, log));
  const cells = row(index, entry);
  return CSV_COLUMNS.map((column) => cell(cells[column])).join(',');
}
