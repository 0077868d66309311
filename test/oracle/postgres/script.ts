// Reads a psql script as psql does: statements as they are sent, backslash commands, variables,
// \if, and COPY data between the lines.
// Invariant: what stands in a branch that is not taken is never given out; a statement's text is
// byte for byte what psql would send.
export interface Sent {
  readonly kind: 'statement';
  readonly text: string;
}

export interface Command {
  readonly kind: 'command';
  readonly name: string;
  readonly words: readonly string[];
  /** The rest of the line as it stands, for commands that take it whole. */
  readonly rest: string;
  /** What was typed before it and not sent: the query of \g, \gset, \gexec, … */
  readonly query: string;
}

export type Step = Sent | Command;

/** Commands that send what was typed before them. */
const SENDS = /^(g|gx|gset|gexec|gdesc|crosstabview|watch|bind|bind_named|parse|sendpipeline)$/;

const QUOTED = /'(?:[^']|'')*'|"(?:[^"]|"")*"/y;
/** A backslash escapes nothing in these, whatever the setting. */
const PLAIN = /(?:[uU]&|[bBxX])'(?:[^']|'')*'/y;
const ESCAPED = /[eE]'(?:[^'\\]|''|\\[\s\S])*'/y;
const DOLLAR = /\$(?:[A-Za-z_\x80-\uffff][A-Za-z0-9_\x80-\uffff]*)?\$/y;
const LETTER = /[A-Za-z_\x80-\uffff]/;
const WORD = /[A-Za-z_\x80-\uffff][A-Za-z0-9_$\x80-\uffff]*/y;
const VARIABLE = /:(?:'([A-Za-z0-9_]+)'|"([A-Za-z0-9_]+)"|\{\?([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))/y;
const NUMBER = /[0-9][A-Za-z0-9_.$]*/y;

export class Script {
  readonly variables = new Map<string, string>();
  /** The server's word: without it a backslash in a plain string escapes. */
  standardStrings = true;
  readonly #text: string;
  #at = 0;
  /** Text of the statement so far, variables put in. */
  #typed = '';
  #parens = 0;
  /** BEGIN … END of a function's body, where a semicolon ends nothing. */
  #blocks = 0;
  #words: string[] = [];
  /** One entry an open \if: whether this branch runs, whether one has run. */
  readonly #branches: { active: boolean; done: boolean }[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  get #active(): boolean {
    return this.#branches.every((branch) => branch.active);
  }

  /** The next thing to do; null at the end. */
  next(): Step | null {
    while (this.#at < this.#text.length) {
      const step = this.#step();
      if (step !== null) return step;
    }
    return this.#flush();
  }

  /** Lines up to `\.`, which the server takes after a COPY FROM STDIN. */
  data(): string {
    // The rest of the line with the statement is not data.
    const start = this.#text.indexOf('\n', this.#at) + 1;
    const end = /^\\\.\r?$/m;
    const rest = this.#text.slice(start);
    const found = end.exec(rest);
    const length = found === null ? rest.length : found.index;
    this.#at = start + length + (found?.[0].length ?? 0);
    return rest.slice(0, length);
  }

  #flush(): Sent | null {
    const text = this.#typed.trim();
    this.#typed = '';
    this.#parens = 0;
    this.#blocks = 0;
    this.#words = [];
    return text === '' || !this.#active ? null : { kind: 'statement', text };
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return null;
    this.#at += match[0].length;
    return match;
  }

  #keep(pattern: RegExp): boolean {
    const match = this.#take(pattern);
    if (match === null) return false;
    this.#typed += match[0];
    return true;
  }

  #step(): Step | null {
    const text = this.#text;
    const two = text.slice(this.#at, this.#at + 2);
    if (two === '--') {
      this.#at = endOfLine(text, this.#at);
      return null;
    }
    if (two === '/*') {
      const end = endOfComment(text, this.#at);
      this.#typed += text.slice(this.#at, end);
      this.#at = end;
      return null;
    }
    const char = two[0] ?? '';
    if (char === '\\') return this.#backslash();
    if (this.#keep(PLAIN)) return null;
    if (!this.standardStrings && char === "'") this.#typed += this.#oldString();
    else if (char === '$') this.#dollar();
    else if (this.#keep(ESCAPED) || this.#keep(QUOTED)) return null;
    else if (two === '::' || two === ':=') {
      this.#typed += two;
      this.#at += 2;
    } else if (char === ':') this.#variable();
    else if (this.#keep(NUMBER)) return null;
    else if (LETTER.test(char)) this.#word();
    else return this.#sign(char);
    return null;
  }

  #sign(char: string): Sent | null {
    this.#at += 1;
    this.#typed += char;
    if (char === '(') this.#parens += 1;
    else if (char === ')') this.#parens = Math.max(0, this.#parens - 1);
    else if (char === ';' && this.#parens === 0 && this.#blocks === 0) return this.#flush();
    return null;
  }

  #oldString(): string {
    const string = this.#take(/'(?:[^'\\]|''|\\[\s\S])*'/y)?.[0];
    if (string === undefined) this.#at += 1;
    return string ?? "'";
  }

  #dollar(): void {
    const tag = this.#take(DOLLAR)?.[0];
    if (tag === undefined) {
      this.#at += 1;
      this.#typed += '$';
      return;
    }
    const close = this.#text.indexOf(tag, this.#at);
    const end = close === -1 ? this.#text.length : close + tag.length;
    this.#typed += tag + this.#text.slice(this.#at, end);
    this.#at = end;
  }

  #variable(): void {
    const match = this.#take(VARIABLE);
    if (match === null) {
      this.#at += 1;
      this.#typed += ':';
      return;
    }
    this.#typed += this.#valueOf(match);
  }

  #valueOf(match: RegExpExecArray): string {
    const [whole, quoted, identifier, asked, plain] = match;
    if (asked !== undefined) return this.variables.has(asked) ? 'TRUE' : 'FALSE';
    const value = this.variables.get(quoted ?? identifier ?? plain ?? '');
    if (value === undefined) return whole;
    if (quoted !== undefined) return `'${value.replaceAll("'", "''")}'`;
    return identifier === undefined ? value : `"${value.replaceAll('"', '""')}"`;
  }

  /** Counts BEGIN and CASE of a function's body in SQL, as psql's own scanner does. */
  #word(): void {
    const word = (this.#take(WORD)?.[0] ?? '').toLowerCase();
    this.#typed += this.#text.slice(this.#at - word.length, this.#at);
    if (this.#words.length < 4) this.#words.push(word);
    const [first, ...others] = this.#words;
    const what = others[0] === 'or' && others[1] === 'replace' ? others[2] : others[0];
    if (first !== 'create' || (what !== 'function' && what !== 'procedure')) return;
    if (this.#parens > 0) return;
    if (word === 'begin' || (word === 'case' && this.#blocks > 0)) this.#blocks += 1;
    else if (word === 'end' && this.#blocks > 0) this.#blocks -= 1;
  }

  #backslash(): Step | null {
    const next = this.#text[this.#at + 1] ?? '';
    if (next === ';' || next === ':') {
      this.#typed += next;
      this.#at += 2;
      return null;
    }
    const name = /\\([A-Za-z_]+\+?|[!?.\\])?/y;
    const command = this.#take(name)?.[1] ?? '';
    const { words, rest } = this.#line();
    if (/^(if|elif|else|endif)$/.test(command)) {
      this.#branch(command, words);
      return null;
    }
    if (!this.#active) return null;
    let query = '';
    if (command === 'r' || command === 'reset') this.#flush();
    else if (SENDS.test(command)) query = this.#flush()?.text ?? '';
    return { kind: 'command', name: command, words, rest, query };
  }

  #branch(command: string, words: readonly string[]): void {
    const inner = this.#branches.at(-1);
    const holds = /^(true|on|yes|1|t|y)$/i.test(words[0] ?? '');
    if (command === 'if') this.#branches.push({ active: holds, done: holds });
    else if (command === 'endif') this.#branches.pop();
    else if (inner !== undefined) {
      inner.active = !inner.done && (command === 'else' || holds);
      inner.done ||= inner.active;
    }
    if (!this.#active) this.#typed = '';
  }

  /** A command's words, up to the end of the line or `\\`. */
  #line(): { words: string[]; rest: string } {
    const end = endOfLine(this.#text, this.#at);
    const rest = this.#text.slice(this.#at, end);
    const words: string[] = [];
    let word: string | null = null;
    while (this.#at < end) {
      const char = this.#text[this.#at] ?? '';
      if (char === '\\') {
        // `\\` ends the command; anything else begins the next one.
        if (this.#text[this.#at + 1] === '\\') this.#at += 2;
        break;
      }
      const before: string = word ?? '';
      const string: RegExpExecArray | null = this.#take(
        /'((?:[^'\\]|''|\\.)*)'|"([^"]*)"|`[^`]*`/y,
      );
      if (string !== null) word = before + (string[1]?.replaceAll("''", "'") ?? string[0]);
      else if (char === ':') {
        const match = this.#take(VARIABLE);
        if (match === null) this.#at += 1;
        word = before + (match === null ? char : this.#valueOf(match));
      } else {
        this.#at += 1;
        if (/\s/.test(char)) {
          if (word !== null) words.push(word);
          word = null;
        } else word = before + char;
      }
    }
    if (word !== null) words.push(word);
    return { words, rest };
  }
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end === -1 ? text.length : end;
}

/** Comments nest. */
function endOfComment(text: string, from: number): number {
  const mark = /\/\*|\*\//g;
  mark.lastIndex = from;
  let depth = 0;
  for (let match = mark.exec(text); match !== null; match = mark.exec(text)) {
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return mark.lastIndex;
  }
  return text.length;
}
