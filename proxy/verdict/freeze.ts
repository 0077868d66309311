// Freeze windows of policies.json, and the mode that they make of the one in force.
// Invariant: a window makes the mode stricter, never laxer, and one that can't be read is an error
// when data is loaded.
import type { TargetView } from '../operation.ts';
import type { Mode } from './verdict.ts';

/** `from` is in it, `to` is not. Without targets and environments it is for all. */
export interface FreezeWindow {
  readonly from: number;
  readonly to: number;
  readonly targets: readonly string[] | null;
  readonly environments: readonly string[] | null;
  readonly reason: string;
}

const FIELDS = ['from', 'to', 'targets', 'environments', 'reason'];
/** RFC 3339 with its zone: a time without one would be another moment on another machine. */
const RFC_3339 = /^(\d{4}-\d\d-\d\d)[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

/**
 * The windows of `freeze` in policies.json; throws an error that names the window and what is
 * wrong.
 */
export function freezeWindows(value: unknown): readonly FreezeWindow[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error('`freeze` must be a list of windows');
  return value.map((window: unknown, index) => freezeWindow(window, `freeze[${index}]`));
}

function freezeWindow(value: unknown, where: string): FreezeWindow {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(`${where} must be an object with \`from\`, \`to\` and \`reason\``);
  }
  const window = value as { readonly [name: string]: unknown };
  const odd = Object.keys(window).find((name) => !FIELDS.includes(name));
  if (odd !== undefined) {
    throw new Error(`${where} has an unknown field \`${odd}\`: known are ${FIELDS.join(', ')}`);
  }
  const from = moment(window.from, `${where}.from`);
  const to = moment(window.to, `${where}.to`);
  if (to <= from) throw new Error(`${where} ends before it begins`);
  if (typeof window.reason !== 'string' || window.reason === '') {
    throw new Error(`${where}.reason must say why`);
  }
  return {
    from,
    to,
    targets: names(window.targets, `${where}.targets`),
    environments: names(window.environments, `${where}.environments`),
    reason: window.reason,
  };
}

function moment(value: unknown, where: string): number {
  const day = typeof value === 'string' ? RFC_3339.exec(value)?.[1] : undefined;
  const time = day === undefined ? Number.NaN : Date.parse(String(value));
  // Date.parse takes 30 February for 2 March.
  if (Number.isNaN(time) || day !== new Date(`${day}T00:00:00Z`).toISOString().slice(0, 10)) {
    throw new Error(`${where} must be a time with its zone, like 2026-12-24T18:00:00Z`);
  }
  return time;
}

function names(value: unknown, where: string): readonly string[] | null {
  if (value === undefined) return null;
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value;
  throw new Error(`${where} must be a list of names`);
}

/**
 * The window that is in force for a target, null when there is none. A window that names both needs
 * either to match.
 */
export function windowAt(
  windows: readonly FreezeWindow[],
  target: TargetView,
  now: number,
): FreezeWindow | null {
  for (const window of windows) {
    if (now < window.from || now >= window.to) continue;
    if (window.targets === null && window.environments === null) return window;
    if (window.targets?.includes(target.name)) return window;
    if (window.environments?.includes(target.environment)) return window;
  }
  return null;
}

/**
 * The mode a target is in: an open window freezes what is normal; a stricter mode stays as it is.
 */
export function effectiveMode(
  windows: readonly FreezeWindow[],
  target: TargetView,
  now: number,
  mode: Mode,
): Mode {
  if (mode !== 'normal' || windows.length === 0) return mode;
  return windowAt(windows, target, now) === null ? mode : 'freeze';
}

/** The next moment after `now` at which a window opens or closes; null when none will. */
export function nextBoundary(windows: readonly FreezeWindow[], now: number): number | null {
  const coming = windows.flatMap((w) => [w.from, w.to]).filter((time) => time > now);
  return coming.length === 0 ? null : Math.min(...coming);
}
