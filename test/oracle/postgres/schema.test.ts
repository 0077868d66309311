// The oracle, part of the families: schema changes.
import { oracleTest } from './suite.ts';

oracleTest('schema', ['schema changes']);
