// The rules of test/tidy.test.ts: each takes a file and answers complaints that say what to do
// instead.
// Invariant: a rule is a pure function of path and text, so that the test can show it a bad
// example.
import { stripTypeScriptTypes } from 'node:module';
import { basename, dirname, extname, join, normalize } from 'node:path';
import { EXTRA, GENERATED, isCode, LONG, type SourceFile, TWINS } from './files.ts';

export const LINES_PER_FILE = 400;
export const LINES_PER_FUNCTION = 70;
export const COLUMNS = 100;

const DRAWERS = new Set([
  'utils',
  'util',
  'helpers',
  'helper',
  'common',
  'shared',
  'misc',
  'types',
]);
const ENGINES = ['postgres', 'mysql', 'mongodb'];

export type Rule = (file: SourceFile) => string[];

export const fileLength: Rule = ({ path, text }) => {
  if (path in LONG || path in GENERATED) return [];
  const lines = text.trimEnd().split('\n').length;
  if (lines <= LINES_PER_FILE) return [];
  return [
    `${path}: ${lines} lines. Split it at its second thought; ${LINES_PER_FILE} is the most.`,
  ];
};

export const columns: Rule = ({ path, text }) => {
  if (path in GENERATED) return [];
  return text.split('\n').flatMap((line, i) => {
    const width = [...line].length;
    if (width <= COLUMNS || /https?:\/\/\S{40}/.test(line)) return [];
    return [`${path}:${i + 1}: ${width} columns. Break the line; ${COLUMNS} is the most.`];
  });
};

const OPENS = [
  /^(\s*)(?:export )?(?:default )?(?:async )?function\*? ?(\w+)/,
  /^(\s*)(?:export )?const (\w+)\b[^;]*=> \{$/,
  /^(\s*)(?:(?:private|static|override|async|get|set) )*\*?(#?\w+)(?:<[^(]*>)?\(.*$/,
  /^(\s*)(?:test|it)(?:\.\w+)?\((['"`].*?['"`]),/,
];
const NOT_A_FUNCTION = new Set([
  ...[
    'if',
    'for',
    'while',
    'switch',
    'catch',
    'return',
    'await',
    'new',
    'throw',
    'typeof',
    'super',
  ],
  ...['describe', 'suite', 'test', 'it', 'function'],
]);

/** Where the block that opens on this line closes: the code is formatted, so indentation tells. */
function closingLine(lines: readonly string[], from: number, indent: string): number | null {
  const close = new RegExp(`^${indent}\\}[;,)\\]]*$`);
  for (let i = from; i < lines.length; i++) {
    const line = lines[i] ?? '';
    if (close.test(line)) return i;
    if (i > from && line.startsWith(indent) && /^\S/.test(line.slice(indent.length))) {
      // Something else at the same depth: only the rest of a signature may stand here.
      if (!/^[)}\]]/.test(line.slice(indent.length))) return null;
    }
  }
  return null;
}

export const functionLength: Rule = ({ path, text }) => {
  if (path in GENERATED) return [];
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    for (const opens of OPENS) {
      const found = opens.exec(line);
      const name = found?.[2] ?? '';
      if (found === null || NOT_A_FUNCTION.has(name)) continue;
      const end = closingLine(lines, i, found[1] ?? '');
      if (end === null || end - i + 1 <= LINES_PER_FUNCTION) return [];
      const size = end - i + 1;
      return [
        `${path}:${i + 1}: ${name} has ${size} lines. ` +
          `Take a straight-line step out of it; ${LINES_PER_FUNCTION} is the most.`,
      ];
    }
    return [];
  });
};

export const firstComment: Rule = ({ path, text }) => {
  const body = text.replace(/^#!.*\n/, '');
  const comment = /^(?:\/\/.*\n)+|^\/\*[\s\S]*?\*\//.exec(body)?.[0] ?? '';
  if (comment.replace(/[/*\s]/g, '').length >= 30) return [];
  return [`${path}:1: say first, in a comment, what the file is and the one invariant it keeps.`];
};

export const drawers: Rule = ({ path }) => {
  const names = path.split('/').map((part) => part.replace(/\..*$/, ''));
  const found = names.find((name) => DRAWERS.has(name));
  if (found === undefined) return [];
  return [
    `${path}: '${found}' is a drawer. Put each thing beside what uses it, under its own name.`,
  ];
};

const KINDS = new Set(
  `ts js mjs html css svg webmanifest wasm md txt sql jsonl json yaml yml rego py go mod sum
  sh`.split(/\s+/),
);
const NAMES = new Set('LICENSE Dockerfile run .npmrc .gitignore .dockerignore'.split(' '));

/** What a program left behind, and `git add` took along. */
export const kinds: Rule = ({ path }) => {
  const name = basename(path);
  if (NAMES.has(name) || KINDS.has(extname(name).slice(1))) return [];
  return [`${path}: no kind of file that we keep. Remove it, or name its kind in test/tidy.`];
};

/** `any`, `!`, enums and the rest, seen by what node's own type stripper takes away. */
export const types: Rule = ({ path, text }) => {
  if (!path.endsWith('.ts')) return [];
  let stripped: string;
  try {
    stripped = stripTypeScriptTypes(text, { mode: 'strip' });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return [`${path}: node can't strip its types (${why.trim()}). Use erasable syntax, no enum.`];
  }
  const complaints: string[] = [];
  const at = (index: number) => `${path}:${text.slice(0, index).split('\n').length}`;
  const gone = [...text].length === text.length && stripped.length === text.length;
  if (!gone) return complaints.concat(typesByText(path, text));
  let erased = '';
  for (let i = 0; i < text.length; i++) {
    erased += stripped[i] === text[i] && text[i] !== '\n' ? '\u0000' : (text[i] ?? '');
  }
  erased = erased.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, (comment) => ' '.repeat(comment.length));
  erased = erased.replace(/'(?:\\.|[^'\n])*'/g, (literal) => ' '.repeat(literal.length));
  for (const found of erased.matchAll(/\bany\b/g)) {
    complaints.push(`${at(found.index)}: 'any'. Say the type, or 'unknown' and narrow it.`);
  }
  for (const found of erased.matchAll(/!/g)) {
    complaints.push(`${at(found.index)}: non-null '!'. Test it, or throw what is wrong.`);
  }
  return complaints;
};

/** For the rare file with characters beyond the basic plane, where offsets don't line up. */
function typesByText(path: string, text: string): string[] {
  return text.split('\n').flatMap((line, i) => {
    const code = line.replace(/\/\/.*|'[^']*'|`[^`]*`/g, '');
    if (/(?::|\bas|<) ?any\b/.test(code)) {
      return [`${path}:${i + 1}: 'any'. Say the type, or 'unknown' and narrow it.`];
    }
    return [];
  });
}

export const twins: Rule = ({ path }) => {
  const found = /^proxy\/(postgres|mysql|mongodb)\/([^/]+)(\/)?/.exec(path);
  if (found === null) return [];
  const name = (found[2] ?? '').replace(/\.(?:ts|md|json|js)$/, '');
  if (TWINS.includes(name) || `${found[1]}/${name}` in EXTRA) return [];
  return [
    `${path}: not one of the engines' shared names. Use one (${TWINS.join(', ')}), ` +
      'or list it in EXTRA of test/tidy/files.ts with its reason.',
  ];
};

interface Import {
  readonly line: number;
  readonly from: string;
  readonly typeOnly: boolean;
}

export function importsOf({ path, text }: SourceFile): Import[] {
  const found: Import[] = [];
  const pattern =
    /^(?:import|export)\s+(type\s+)?(?:[^'";]*?from\s+)?'([^']+)'|\bimport\(\s*'([^']+)'/gm;
  for (const match of text.matchAll(pattern)) {
    const named = match[2] ?? match[3] ?? '';
    const from = named.startsWith('.') ? normalize(join(dirname(path), named)) : named;
    const line = text.slice(0, match.index).split('\n').length;
    found.push({ line, from, typeOnly: match[1] !== undefined });
  }
  return found;
}

interface Way {
  /** Files that it holds for. */
  readonly of: RegExp;
  /** What they may not import. */
  readonly not: RegExp;
  /** true: not even as a type. */
  readonly types: boolean;
  readonly instead: string;
}

const ENGINE = /^proxy\/(?:postgres|mysql|mongodb)\//;
const WAYS: readonly Way[] = [
  ...ENGINES.map((engine) => ({
    of: new RegExp(`^proxy/${engine}/`),
    not: new RegExp(`^proxy/(?:${ENGINES.filter((e) => e !== engine).join('|')})/`),
    types: true,
    instead: 'Engines never import each other: move what they share behind the Engine interface.',
  })),
  {
    of: ENGINE,
    not: /^proxy\/(?:session\/listen|main|services)\.ts$/,
    types: false,
    instead: 'An engine runs through the spine (session/flow, owed, relay); it starts nothing.',
  },
  {
    of: /^proxy\/session\//,
    not: ENGINE,
    types: true,
    instead: 'The spine knows no engine: the engine calls it, and lends it what it needs.',
  },
  {
    of: /^proxy\/bytes\//,
    not: /^(?!proxy\/(?:bytes\/|limits\.ts|errors\.ts))(?:proxy|approver|ledger|bus|cli)\//,
    types: true,
    instead: 'Bytes know nothing of what they carry.',
  },
  {
    of: /^proxy\/(?:effect|verdict)\//,
    not: /^proxy\/(?:postgres|mysql|mongodb|session)\//,
    types: true,
    instead: 'Effect and verdict know no engine: put it in the effect schema or the operation.',
  },
  {
    of: /^(?:ledger|approver|bus)\//,
    not: /^proxy\/(?:postgres|mysql|mongodb|session|bytes|hold|record)\//,
    types: true,
    instead:
      'A service knows the proxy by its contract files (contract, operation, effect, verdict).',
  },
  {
    of: /^(?:proxy|ledger|approver|bus)\//,
    not: /^(?:cli|test)\//,
    types: true,
    instead: 'cli and test use the services, never the other way round.',
  },
  {
    of: /^bus\//,
    not: /^(?:proxy|approver|ledger)\//,
    types: true,
    instead: 'The bus carries JSON values; it knows no message.',
  },
];

export const oneWay: Rule = (file) => {
  if (!isCode(file)) return [];
  return importsOf(file).flatMap(({ line, from, typeOnly }) =>
    WAYS.filter((way) => way.of.test(file.path) && way.not.test(from))
      .filter((way) => way.types || !typeOnly)
      .map((way) => `${file.path}:${line}: imports ${from}. ${way.instead}`),
  );
};

/** Paths of somebody's machine: they mean nothing in another checkout. */
export const noMachinePaths: Rule = ({ path, text }) => {
  const pattern = /(?<![\w.~}/-])\/(?:work|home\/[a-z]+|Users\/[A-Za-z]+)\/[\w.]/g;
  return [...text.matchAll(pattern)].map((found) => {
    const line = text.slice(0, found.index).split('\n').length;
    return `${path}:${line}: a path of somebody's machine. Take it from an environment variable.`;
  });
};

/** Relative links of a page lead somewhere. */
export function deadLinks(file: SourceFile, exists: (path: string) => boolean): string[] {
  if (!file.path.endsWith('.md')) return [];
  const prose = file.text.replace(/```[\s\S]*?```/g, (block) => block.replace(/[^\n]/g, ' '));
  return [...prose.matchAll(/\]\(([^)\s#]+)(?:#[^)\s]*)?\)/g)].flatMap((found) => {
    const to = found[1] ?? '';
    if (/^[a-z]+:/.test(to) || exists(normalize(join(dirname(file.path), to)))) return [];
    const line = file.text.slice(0, found.index).split('\n').length;
    return [`${file.path}:${line}: links to ${to}, which is not there. Mend or drop the link.`];
  });
}

/** What ships may import what ships: a devDependency is absent after `npm ci --omit=dev`. */
export function devImports(file: SourceFile, dependencies: ReadonlySet<string>): string[] {
  if (!isCode(file) || !/^(?:proxy|approver|ledger|bus|cli|[^/]+\.mjs$)/.test(file.path)) return [];
  if (file.path.startsWith('approver/web/page/')) return [];
  return importsOf(file).flatMap(({ line, from, typeOnly }) => {
    if (typeOnly || from.startsWith('node:') || /^[\w.-]+\/.*\.\w+$/.test(from)) return [];
    const name = from.startsWith('@') ? from.split('/').slice(0, 2).join('/') : from.split('/')[0];
    if (name === undefined || dependencies.has(name) || basename(from).includes('.ts')) return [];
    return [
      `${file.path}:${line}: imports ${name}, not in package.json's dependencies. Add it there.`,
    ];
  });
}
