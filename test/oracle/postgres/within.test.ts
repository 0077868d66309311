// The oracle, part of the families: what code makes or sets as it goes on, or may not come to.
import { oracleTest } from './suite.ts';

oracleTest('within', ['made by code that goes on']);
