// The oracle, part of the families: changes through something else, calls that delete.
import { oracleTest } from './suite.ts';

oracleTest('through', ['changes through something else', 'calls that delete']);
