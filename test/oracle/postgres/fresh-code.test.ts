// The oracle: functions, operators, casts, types, views and policies that were made or changed a
// moment ago, and are used before the catalog is read again.
import { oracleTest } from './suite.ts';

oracleTest('fresh_code', ['code made or changed a moment ago']);
