// The oracle: what was made or changed a moment ago, in the same transaction, and is used now.
import { oracleTest } from './suite.ts';

oracleTest('fresh', ['what the catalog does not show yet']);
