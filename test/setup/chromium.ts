// A real Chromium for page tests, each person in a context of their own with a virtual
// authenticator.
// Invariant: the browser reaches nothing but the approver under test, and is closed at the end.
import { access, constants } from 'node:fs/promises';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const PLACES = [
  process.env.HOLDPOINT_CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

/** null when the machine has none. */
export async function findChromium(): Promise<string | null> {
  for (const place of PLACES) {
    if (place === undefined) continue;
    const ok = await access(place, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (ok) return place;
  }
  return null;
}

/** What a browser may take on a slow machine with others beside it. */
const PATIENCE_MS = 120_000;

export async function openChromium(executablePath: string): Promise<Browser> {
  return await chromium.launch({
    executablePath,
    headless: true,
    timeout: PATIENCE_MS,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export interface Somebody {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Everything the browser complained about: content policy, errors, failed loads. */
  readonly complaints: string[];
  /** Addresses asked for that are not the approver's. */
  readonly foreign: string[];
}

export async function somebody(
  browser: Browser,
  origin: string,
  size: { readonly width: number; readonly height: number } = { width: 1280, height: 900 },
): Promise<Somebody> {
  const context = await browser.newContext({ viewport: size });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  const foreign: string[] = [];
  page.on('console', (m) => {
    if (m.type() === 'error' || m.type() === 'warning') complaints.push(m.text());
  });
  page.on('pageerror', (e) => complaints.push(e.message));
  page.on('request', (r) => {
    if (!r.url().startsWith(origin) && !r.url().startsWith('data:')) foreign.push(r.url());
  });
  const cdp = await context.newCDPSession(page);
  await cdp.send('WebAuthn.enable', { enableUI: false });
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      ctap2Version: 'ctap2_1',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return { context, page, complaints, foreign };
}
