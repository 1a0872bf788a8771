/* The cases of turns.cases.mjs under `node --test tests/browser/`, for quick work on
 * turns.js. `make test` runs the same ones in Chromium and needs no node. */

import test from 'node:test';

import * as turns from '../../plugins/agent/web/turns.js';
import { cases } from './turns.cases.mjs';

for (const [name, run] of Object.entries(cases)) test(name, () => run(turns));
