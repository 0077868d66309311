// The oracle: tables that were made or changed a moment ago, and are used before the catalog is
// read again.
import { oracleTest } from './suite.ts';

oracleTest('fresh_tables', ['tables made or changed a moment ago']);
