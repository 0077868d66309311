// Says that one of some files may have changed, once it has been quiet for a moment.
// Invariant: a change is noticed even when the file system signals nothing, and a watcher never
// keeps the process alive.
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { POLL_MS, SETTLE_MS } from './limits.ts';

export interface Watching {
  close(): void;
}

/**
 * Editors rename a new file over the old one, so folders are watched; mounts may signal nothing, so
 * files are looked at too.
 */
export function watchFiles(paths: readonly string[], changed: () => void): Watching {
  let settle: NodeJS.Timeout | null = null;
  const soon = (): void => {
    if (settle !== null) clearTimeout(settle);
    settle = setTimeout(changed, SETTLE_MS);
    settle.unref();
  };
  const names = new Set(paths.map((path) => basename(path)));
  const watchers: FSWatcher[] = [];
  for (const folder of new Set(paths.map((path) => dirname(path)))) {
    try {
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        if (name === null || names.has(name)) soon();
      });
      watcher.on('error', () => watcher.close());
      watchers.push(watcher);
    } catch {
      // The poll below still sees it.
    }
  }
  let seen: string | null = null;
  const poll = async (): Promise<void> => {
    const now = (await Promise.all(paths.map(stateOf))).join(' ');
    if (seen !== null && now !== seen) soon();
    seen = now;
  };
  void poll();
  const timer = setInterval(() => void poll(), POLL_MS);
  timer.unref();
  return {
    close() {
      clearInterval(timer);
      if (settle !== null) clearTimeout(settle);
      for (const watcher of watchers) watcher.close();
    },
  };
}

async function stateOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs}/${size}/${ino}`;
  } catch {
    return 'gone';
  }
}
