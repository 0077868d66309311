// The oracle's question of numbers: how many rows a statement changes, through whatever it sets
// off, is held against how many the judgement allows for.
// Invariant: the judgement never allows for fewer rows than there were, nor, where rows.txt has a
// number, for more than that.
import { countedTest } from './suite.ts';

countedTest('rows');
countedTest('folding');
